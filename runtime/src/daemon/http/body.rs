//! Bodies of requests, and work that must not stall the others.

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::de::DeserializeOwned;

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
    serde_json::from_slice(text).map_err(|error| ApiError::Body(format!("the body: {error}")))
}

/// Does what takes a while, such as waiting for the medium, on another thread.
pub(super) async fn aside<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, ApiError> + Send + 'static,
) -> Result<R, ApiError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(ApiError::Internal(format!("the device failed at it: {error}"))))
}
