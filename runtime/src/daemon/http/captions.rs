//! `/api/captions` and `/api/history`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use serde_json::value::RawValue;
use tokio_stream::wrappers::BroadcastStream;
use tokio_stream::{Stream, StreamExt};

use super::{Api, ApiError};
use crate::daemon::Published;

/// So that whoever reads notices a connection that is gone.
const ALIVE: Duration = Duration::from_secs(15);

/// Every caption as it is published, the last one first. Whoever is slow misses some.
pub(super) async fn events(State(shared): Api) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let hub = &shared.daemon.hub;
    let (news, last) = (hub.captions(), hub.history().pop());
    let news = BroadcastStream::new(news).filter_map(Result::ok);
    let events = tokio_stream::iter(last).chain(news).map(|published| Ok(event(&published)));
    Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE))
}

fn event(published: &Arc<Published>) -> Event {
    Event::default().event("caption").id(published.sequence.to_string()).data(published.event())
}

/// The last captions, the newest last.
pub(super) async fn history(State(shared): Api) -> Result<impl IntoResponse, ApiError> {
    let lines =
        shared.daemon.hub.history().into_iter().map(|published| RawValue::from_string(published.event()));
    let lines =
        lines.collect::<Result<Vec<_>, _>>().map_err(|error| ApiError::Internal(error.to_string()))?;
    Ok(Json(lines))
}
