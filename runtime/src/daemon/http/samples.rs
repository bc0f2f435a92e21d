//! `/api/samples`: what was kept to learn from.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::json;

use super::body::{self, Body, Name, aside};
use super::{Api, ApiError, pictures};
use crate::daemon::workshop::sample_name;

/// A sample that is to be kept: a frame that was held, an offer of the device's, or else the frame in sight.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct New {
    caption: String,
    frame: Option<String>,
    suggestion: Option<String>,
}

pub(super) async fn list(State(shared): Api) -> Result<impl IntoResponse, ApiError> {
    aside(move || Ok(shared.daemon.workshop.samples()?)).await.map(Json)
}

pub(super) async fn keep(State(shared): Api, body: Body) -> Result<impl IntoResponse, ApiError> {
    let New { caption, frame, suggestion } = body::parse(&shared, body)?;
    let picture = match (&frame, &suggestion) {
        (Some(_), Some(_)) => return Err(ApiError::Body("give frame or suggestion, not both".to_owned())),
        (Some(frame), None) => shared.held.get(frame)?,
        (None, Some(id)) => shared
            .daemon
            .suggestions
            .picture(id)
            .ok_or_else(|| ApiError::Missing { what: "suggestion", name: id.clone() })?,
        (None, None) => pictures::seen(&shared).await?,
    };
    let name = aside(move || {
        let name = shared.daemon.workshop.keep(&sample_name(), &picture, &caption)?;
        if let Some(id) = suggestion {
            shared.daemon.suggestions.take(&id, true);
        }
        Ok(name)
    })
    .await?;
    Ok((StatusCode::CREATED, Json(json!({ "name": name }))))
}

pub(super) async fn picture(State(shared): Api, Name(name): Name) -> Result<impl IntoResponse, ApiError> {
    let missing = ApiError::Missing { what: "sample", name: name.clone() };
    let found = aside(move || Ok(shared.daemon.workshop.picture(&name)?)).await?;
    found.map(pictures::picture).ok_or(missing)
}

pub(super) async fn remove(State(shared): Api, Name(name): Name) -> Result<impl IntoResponse, ApiError> {
    aside(move || Ok(shared.daemon.workshop.remove(&name)?)).await.map(|()| StatusCode::NO_CONTENT)
}
