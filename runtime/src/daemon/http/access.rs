//! Who may change something: who has the token, and is no page of somebody else's.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

use super::{ApiError, Shared};

/// The token's file in the state's folder.
const FILE: &str = "token";
/// Random bytes of a token.
const BYTES: usize = 24;

/// Who may change something.
pub(super) struct Access {
    token: String,
    /// Origins that are as good as the page's own.
    origins: Vec<String>,
}

impl Access {
    /// Reads the token of a state, or makes one, which is then told once. Where it cannot be kept it is one for this run.
    pub fn open(state: &Path, origins: Vec<String>) -> anyhow::Result<Self> {
        let path = state.join(FILE);
        let token = match std::fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => text.trim().to_owned(),
            _ => {
                let token = new_token()?;
                match keep(&path, &token) {
                    Ok(()) => tracing::info!("the token for changes is {token}, kept in {}", path.display()),
                    Err(error) => {
                        tracing::warn!(
                            "the token for changes is {token} until the end of this run: {}: {error}",
                            path.display()
                        );
                    }
                }
                token
            }
        };
        Ok(Self { token, origins })
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), ApiError> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let given = text(AUTHORIZATION).and_then(|value| {
            let (scheme, token) = value.split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
        });
        if !given.is_some_and(|given| same(given.as_bytes(), self.token.as_bytes())) {
            return Err(ApiError::Unauthorised);
        }
        let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
        let origin = origin.to_str().unwrap_or_default().to_ascii_lowercase();
        let own = text(HOST).is_some_and(|host| {
            origin.split_once("://").is_some_and(|(_, own)| own.eq_ignore_ascii_case(host))
        });
        if own || self.origins.contains(&origin) { Ok(()) } else { Err(ApiError::Origin(origin)) }
    }
}

/// Lets pass what changes nothing, and who may change something.
pub(super) async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS)
        && let Err(error) = shared.access.check(request.headers())
    {
        return error.into_response();
    }
    next.run(request).await
}

/// That the token is right: [`guard`] has looked at it.
pub(super) async fn known() -> StatusCode {
    StatusCode::NO_CONTENT
}

fn new_token() -> anyhow::Result<String> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).context("the system has no random numbers for a token")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Only the owner may read it.
fn keep(path: &Path, token: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    // An empty one, of whatever mode, may have been there.
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
    file.write_all(format!("{token}\n").as_bytes())?;
    file.sync_all()
}

/// Takes the same time wherever they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}
