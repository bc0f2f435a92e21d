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

/// The kind of a stream; its boundary parts the pictures.
const STREAM: &str = "multipart/x-mixed-replace; boundary=metalens-frame";

/// What comes before each picture of a stream.
const HEAD: &[u8] = b"--metalens-frame\r\nContent-Type: image/jpeg\r\n\r\n";

/// A picture's file that no cache keeps.
pub(super) fn picture(bytes: Vec<u8>) -> impl IntoResponse {
    // Samples that were calibrated on from the command line are what they were there.
    let kind = match bytes.get(..4) {
        Some(b"\x89PNG") => "image/png",
        Some(b"RIFF") => "image/webp",
        _ => "image/jpeg",
    };
    ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")], bytes)
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
///
/// Chromium shows a part when it has read the head of the next one: so that is sent with the part before it, and not with
/// the next frame, and has no length.
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
    let parts = tokio_stream::once(Ok(Bytes::from_static(HEAD))).chain(parts);
    ([(header::CONTENT_TYPE, STREAM), (header::CACHE_CONTROL, "no-store")], Body::from_stream(parts))
}

fn part(jpeg: &[u8]) -> Bytes {
    [jpeg, b"\r\n", HEAD].concat().into()
}
