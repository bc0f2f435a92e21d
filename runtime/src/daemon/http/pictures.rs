//! `/api/snapshot.jpg` and `/api/stream.mjpg`: what the camera sees.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::WatchStream;

use super::body::aside;
use super::{Api, ApiError, Shared};
use crate::daemon::jpeg::jpeg;

/// What parts the pictures of a stream.
const BOUNDARY: &str = "metalens-frame";

/// A JPEG file that no cache keeps.
pub(super) fn picture(bytes: Vec<u8>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "image/jpeg"), (header::CACHE_CONTROL, "no-store")], bytes)
}

/// The frame that was looked at last.
pub(super) async fn snapshot(State(shared): Api) -> Result<impl IntoResponse, ApiError> {
    seen(&shared).await.map(picture)
}

/// The frame that was looked at last, as a JPEG file.
pub(super) async fn seen(shared: &Shared) -> Result<Vec<u8>, ApiError> {
    let frame = shared.daemon.hub.seen().ok_or(ApiError::NothingSeen)?;
    aside(move || jpeg(&frame).map_err(|error| ApiError::Internal(error.to_string()))).await
}

/// Every frame that is looked at, for as long as somebody reads; whoever is slow misses some.
pub(super) async fn stream(State(shared): Api) -> impl IntoResponse {
    let views = WatchStream::new(shared.daemon.hub.views());
    let parts = views.then(move |_| {
        let shared = shared.clone();
        async move {
            // Before the first frame there is nothing to show.
            let bytes = seen(&shared).await.unwrap_or_default();
            Ok::<_, Infallible>(if bytes.is_empty() { Bytes::new() } else { part(&bytes) })
        }
    });
    let kind = format!("multipart/x-mixed-replace; boundary={BOUNDARY}");
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store".to_owned())], Body::from_stream(parts))
}

fn part(jpeg: &[u8]) -> Bytes {
    let head = format!("--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", jpeg.len());
    [head.as_bytes(), jpeg, b"\r\n"].concat().into()
}
