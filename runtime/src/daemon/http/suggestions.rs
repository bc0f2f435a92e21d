//! `/api/suggestions`: what the device asks about.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::body::{Name, aside};
use super::{Api, ApiError, pictures};

pub(super) async fn list(State(shared): Api) -> impl IntoResponse {
    let offers = shared.daemon.suggestions.offers();
    let shown = offers.into_iter().map(
        |offer| json!({ "id": offer.id, "time": offer.time, "score": offer.score, "caption": offer.caption }),
    );
    Json(shown.collect::<Vec<Value>>())
}

fn missing(id: &str) -> ApiError {
    ApiError::Missing { what: "suggestion", name: id.to_owned() }
}

pub(super) async fn picture(State(shared): Api, Name(id): Name) -> Result<impl IntoResponse, ApiError> {
    let none = missing(&id);
    let found = aside(move || Ok(shared.daemon.suggestions.picture(&id))).await?;
    found.map(pictures::picture).ok_or(none)
}

pub(super) async fn dismiss(State(shared): Api, Name(id): Name) -> Result<impl IntoResponse, ApiError> {
    if shared.daemon.suggestions.take(&id, false) { Ok(StatusCode::NO_CONTENT) } else { Err(missing(&id)) }
}
