//! `/api/calibration`: adapts the head to the samples, and undoes that.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::json;

use super::body::{self, Body, aside};
use super::{Api, ApiError};
use crate::calibrator::Proof;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Adapt {
    /// Keep what was learned even where held-out samples are captioned worse.
    #[serde(default)]
    force: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

pub(super) async fn standing(State(shared): Api) -> impl IntoResponse {
    Json(shared.daemon.workshop.standing())
}

/// Starts it; how it ends stands in [`standing`].
pub(super) async fn adapt(State(shared): Api, body: Body) -> Result<impl IntoResponse, ApiError> {
    let Adapt { force } = body::parse(&shared, body)?;
    shared.daemon.workshop.adapt(if force { Proof::Waived } else { Proof::Required })?;
    Ok((StatusCode::ACCEPTED, Json(shared.daemon.workshop.standing())))
}

pub(super) async fn undo(State(shared): Api, body: Body) -> Result<impl IntoResponse, ApiError> {
    let Nothing {} = body::parse(&shared, body)?;
    let generation = aside(move || Ok(shared.daemon.workshop.undo()?)).await?;
    Ok(Json(json!({ "generation": generation })))
}
