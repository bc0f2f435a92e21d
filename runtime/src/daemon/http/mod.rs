//! The page and the API.
//!
//! Whatever changes something needs the token and, from a browser, the page's own origin (`access`); one rule for every
//! method but GET, HEAD and OPTIONS, so that no route can be forgotten. `openapi.json` describes every route; a test holds
//! the two together.

mod access;
mod body;
mod calibration;
mod captions;
mod error;
mod frames;
mod listener;
mod page;
mod pictures;
mod samples;
mod status;
mod suggestions;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, get, post};
use metalens_firmware_config::Http;

pub use listener::Listener;

use super::Daemon;
use access::Access;
use error::ApiError;
use frames::Held;

/// What the handlers share.
struct Shared {
    daemon: Daemon,
    access: Access,
    held: Held,
}

type Api = axum::extract::State<Arc<Shared>>;

/// Serves the page and the API.
pub struct Server {
    listener: Listener,
    router: Router,
}

impl Server {
    /// With the token of the daemon's state.
    ///
    /// # Errors
    /// When no token can be made, or the listener has no address.
    pub fn new(daemon: &Daemon, listener: Listener) -> anyhow::Result<Self> {
        let settings = daemon.config.http.clone().unwrap_or_default();
        let access = Access::open(&daemon.config.state, settings.origins.clone())?;
        tracing::info!("http://{} shows what the camera sees", listener.address()?);
        Ok(Self { router: router(daemon.clone(), access, &settings), listener })
    }

    /// Serves until the process ends.
    pub async fn serve(self) {
        if let Err(error) = self.listener.serve(self.router).await {
            tracing::error!("the page is gone: {error}");
        }
    }
}

/// A path, and what answers there.
type Route = (&'static str, fn() -> MethodRouter<Arc<Shared>>);

/// Every route.
const ROUTES: [Route; 20] = [
    ("/", || get(page::index)),
    ("/page/{file}", || get(page::file)),
    ("/healthz", || get(status::healthz)),
    ("/metrics", || get(status::metrics)),
    ("/api/openapi.json", || get(page::openapi)),
    ("/api/version", || get(status::version)),
    ("/api/config", || get(status::config)),
    ("/api/token", || post(access::known)),
    ("/api/captions", || get(captions::events)),
    ("/api/history", || get(captions::history)),
    ("/api/snapshot.jpg", || get(pictures::snapshot)),
    ("/api/stream.mjpg", || get(pictures::stream)),
    ("/api/frames", || post(frames::hold)),
    ("/api/frames/{frame}", || get(frames::picture)),
    ("/api/samples", || get(samples::list).post(samples::keep)),
    ("/api/samples/{name}", || get(samples::picture).delete(samples::remove)),
    ("/api/suggestions", || get(suggestions::list)),
    ("/api/suggestions/{id}", || get(suggestions::picture).delete(suggestions::dismiss)),
    ("/api/calibration", || get(calibration::standing).post(calibration::adapt)),
    ("/api/calibration/undo", || post(calibration::undo)),
];

fn router(daemon: Daemon, access: Access, settings: &Http) -> Router {
    let shared = Arc::new(Shared { daemon, access, held: Held::default() });
    ROUTES
        .iter()
        .fold(Router::new(), |router, (path, handlers)| router.route(path, handlers()))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(from_fn_with_state(shared.clone(), access::guard))
        .layer(DefaultBodyLimit::max(settings.max_body_bytes))
        .layer(from_fn(page::headers))
        .with_state(shared)
}
