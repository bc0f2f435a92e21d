//! What a request gives: its body, a part of its path; and work that must not stall the others.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::IntoResponse;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{ApiError, Shared};

/// A body, as far as it could be read.
pub(super) type Body = Result<Bytes, BytesRejection>;

/// The body as JSON; an empty one is `{}`.
pub(super) fn parse<T: DeserializeOwned>(shared: &Shared, body: Body) -> Result<T, ApiError> {
    let body = body.map_err(|rejection| {
        let message = rejection.to_string();
        if rejection.into_response().status() == StatusCode::PAYLOAD_TOO_LARGE {
            let http = shared.daemon.config.http.clone().unwrap_or_default();
            return ApiError::TooLarge(http.max_body_bytes);
        }
        ApiError::Body(message)
    })?;
    let text: &[u8] = if body.is_empty() { b"{}" } else { &body };
    // A list would do as well for serde, which takes it for the fields in their order.
    serde_json::from_slice::<Map<String, Value>>(text)
        .and_then(|object| T::deserialize(Value::Object(object)))
        .map_err(|error| ApiError::Body(format!("the body: {error}")))
}

/// The last part of a path: which sample, frame or suggestion.
pub(super) struct Name(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(name)| Self(name))
            .map_err(|rejection| ApiError::Body(format!("the path: {}", rejection.body_text())))
    }
}

/// Does what takes a while, such as waiting for the medium, on another thread.
pub(super) async fn aside<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, ApiError> + Send + 'static,
) -> Result<R, ApiError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(ApiError::Internal(format!("the device failed at it: {error}"))))
}
