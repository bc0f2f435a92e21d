//! How it goes, for `stats`.

use serde::Serialize;

use super::json;
use crate::daemon::{Daemon, Phase};
use crate::store::Generation;

/// How it goes.
#[derive(Serialize)]
struct Stats<'a> {
    phase: Phase,
    captions: u64,
    captions_per_second: f32,
    frames_captured: u64,
    frames_dropped: u64,
    temperature_celsius: Option<f32>,
    generation: Option<Generation>,
    version: &'a str,
}

/// How the daemon goes, as JSON.
#[must_use]
pub fn stats(daemon: &Daemon) -> String {
    let (health, metrics) = (daemon.hub.health(), &daemon.hub.metrics);
    json(&Stats {
        phase: health.phase(),
        captions: health.captions,
        captions_per_second: health.rate,
        frames_captured: metrics.captured.get(),
        frames_dropped: metrics.dropped.get(),
        temperature_celsius: health.temperature,
        generation: daemon.hub.head().generation,
        version: &daemon.release.version,
    })
}
