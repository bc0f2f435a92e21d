//! The page and the API.
//!
//! Whatever changes something needs the token and, from a browser, the page's own origin ([`access`]); one rule for every
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
use axum::routing::{get, post};
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
    /// When no token can be made.
    pub fn new(daemon: &Daemon, listener: Listener) -> anyhow::Result<Self> {
        let settings = daemon.config.http.clone().unwrap_or_default();
        let access = Access::open(&daemon.config.state, settings.origins.clone())?;
        tracing::info!("http://{} shows what the camera sees", settings.listen);
        Ok(Self { router: router(daemon.clone(), access, &settings), listener })
    }

    /// Serves until the process ends.
    pub async fn serve(self) {
        let serving = match self.listener.into_async() {
            Ok(listener) => axum::serve(listener, self.router).await,
            Err(error) => Err(error),
        };
        if let Err(error) = serving {
            tracing::error!("the page is gone: {error}");
        }
    }
}

fn router(daemon: Daemon, access: Access, settings: &Http) -> Router {
    let shared = Arc::new(Shared { daemon, access, held: Held::default() });
    Router::new()
        .route("/", get(page::index))
        .route("/app.js", get(page::script))
        .route("/style.css", get(page::style))
        .route("/healthz", get(status::healthz))
        .route("/metrics", get(status::metrics))
        .route("/api/openapi.json", get(page::openapi))
        .route("/api/version", get(status::version))
        .route("/api/config", get(status::config))
        .route("/api/captions", get(captions::events))
        .route("/api/history", get(captions::history))
        .route("/api/snapshot.jpg", get(pictures::snapshot))
        .route("/api/stream.mjpg", get(pictures::stream))
        .route("/api/frames", post(frames::hold))
        .route("/api/frames/{frame}", get(frames::picture))
        .route("/api/samples", get(samples::list).post(samples::keep))
        .route("/api/samples/{name}", get(samples::picture).delete(samples::remove))
        .route("/api/suggestions", get(suggestions::list))
        .route("/api/suggestions/{id}", get(suggestions::picture).delete(suggestions::dismiss))
        .route("/api/calibration", get(calibration::standing).post(calibration::adapt))
        .route("/api/calibration/undo", post(calibration::undo))
        .fallback(error::not_found)
        .method_not_allowed_fallback(error::method_not_allowed)
        .layer(from_fn_with_state(shared.clone(), access::guard))
        .layer(DefaultBodyLimit::max(settings.max_body_bytes))
        .layer(from_fn(page::headers))
        .with_state(shared)
}
