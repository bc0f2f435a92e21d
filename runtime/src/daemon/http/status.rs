//! `/healthz`, `/metrics`, `/api/version` and `/api/config`.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde_json::json;

use super::Api;
use crate::daemon::Phase;

/// 200 while captions flow or the camera is idle; 503 while starting and without a camera.
pub(super) async fn healthz(State(shared): Api) -> impl IntoResponse {
    let daemon = &shared.daemon;
    let health = daemon.hub.health();
    let phase = health.phase();
    let well = !matches!(phase, Phase::Starting | Phase::NoCamera);
    let body = json!({
        "status": phase,
        "version": daemon.release.version,
        "release": daemon.release.release,
        "bundle": daemon.release.bundle,
        "camera": health.camera,
        "captions": health.captions,
        "captions_per_second": health.rate,
        "temperature_celsius": health.temperature,
        "generation": daemon.hub.head().generation,
    });
    (if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(body))
}

pub(super) async fn metrics(State(shared): Api) -> impl IntoResponse {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], shared.daemon.hub.metrics.text())
}

pub(super) async fn version(State(shared): Api) -> impl IntoResponse {
    Json(shared.daemon.release.clone())
}

/// As it is in use; secrets are named and not shown.
pub(super) async fn config(State(shared): Api) -> impl IntoResponse {
    let mut config = (*shared.daemon.config).clone();
    config.caption = shared.daemon.hub.settings();
    Json(config)
}
