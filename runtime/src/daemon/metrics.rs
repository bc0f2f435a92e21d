//! Counts and times, for Prometheus.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::prometheus_text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// What went wrong.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
#[allow(non_camel_case_types)]
pub enum Kind {
    /// The camera was lost, or did not open.
    camera,
    /// A frame was no whole picture.
    frame,
    /// A graph failed.
    caption,
    /// The state or the log could not be written.
    disk,
    /// The broker was lost.
    mqtt,
}

/// Part of the way from a frame to its caption.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq, EncodeLabelValue)]
#[allow(non_camel_case_types)]
pub enum Stage {
    /// From bytes to a picture.
    decode,
    /// From a picture to visual tokens.
    encode,
    /// From visual tokens to words.
    describe,
    /// From the frame's arrival to its caption.
    total,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfKind {
    kind: Kind,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfStage {
    stage: Stage,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Build {
    version: String,
    bundle: String,
}

/// What is counted.
pub struct Metrics {
    registry: Registry,
    /// Frames that came from the source.
    pub captured: Counter,
    /// Frames that nobody had time for.
    pub dropped: Counter,
    /// Frames that the source itself lost.
    pub lost: Counter,
    /// Frames that showed nothing new.
    pub unchanged: Counter,
    /// Captions.
    pub captioned: Counter,
    /// How old the frame was that was looked at last, in seconds.
    pub queue_age: Gauge<f64, AtomicU64>,
    /// Of the board, in degrees Celsius; not a number where it is not known.
    pub temperature: Gauge<f64, AtomicU64>,
    /// Of the head in use; 0 is the bundle's own.
    pub generation: Gauge,
    errors: Family<OfKind, Counter>,
    stages: Family<OfStage, Histogram, fn() -> Histogram>,
}

fn stage_histogram() -> Histogram {
    // From an encoder on a workstation to a whole caption on a slow board.
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0])
}

impl Metrics {
    /// Everything at 0.
    #[must_use]
    pub fn new(version: &str, bundle: &str) -> Self {
        let mut registry = Registry::with_prefix("metalens");
        let new = Self {
            captured: Counter::default(),
            dropped: Counter::default(),
            lost: Counter::default(),
            unchanged: Counter::default(),
            captioned: Counter::default(),
            queue_age: Gauge::default(),
            temperature: Gauge::default(),
            generation: Gauge::default(),
            errors: Family::default(),
            stages: Family::new_with_constructor(stage_histogram),
            registry: Registry::default(),
        };
        for kind in [Kind::camera, Kind::frame, Kind::caption, Kind::disk, Kind::mqtt] {
            // So that a rate can be taken of what has not happened yet.
            drop(new.errors.get_or_create(&OfKind { kind }));
        }
        new.temperature.set(f64::NAN);
        let build: Family<Build, Gauge> = Family::default();
        build.get_or_create(&Build { version: version.to_owned(), bundle: bundle.to_owned() }).set(1);
        registry.register("build_info", "Version of the program and id of its bundle", build);
        registry.register("frames_captured", "Frames that came from the source", new.captured.clone());
        registry.register("frames_dropped", "Frames that nobody had time for", new.dropped.clone());
        registry.register("frames_lost", "Frames that the source itself lost", new.lost.clone());
        registry.register("frames_unchanged", "Frames that showed nothing new", new.unchanged.clone());
        registry.register("frames_captioned", "Frames that were captioned", new.captioned.clone());
        registry.register("errors", "What went wrong, by kind", new.errors.clone());
        registry.register_with_unit(
            "stage_duration",
            "Time of each stage from a frame to its caption",
            Unit::Seconds,
            new.stages.clone(),
        );
        registry.register_with_unit(
            "queue_age",
            "How old the frame was that was looked at last",
            Unit::Seconds,
            new.queue_age.clone(),
        );
        registry.register_with_unit(
            "temperature",
            "Temperature of the board",
            Unit::Celsius,
            new.temperature.clone(),
        );
        registry.register(
            "head_generation",
            "The calibration in use; 0 is the bundle's own head",
            new.generation.clone(),
        );
        Self { registry, ..new }
    }

    /// Counts what went wrong.
    pub fn error(&self, kind: Kind) {
        self.errors.get_or_create(&OfKind { kind }).inc();
    }

    /// How often it went wrong.
    #[must_use]
    pub fn errors(&self, kind: Kind) -> u64 {
        self.errors.get_or_create(&OfKind { kind }).get()
    }

    /// Notes how long a stage took.
    pub fn took(&self, stage: Stage, time: Duration) {
        self.stages.get_or_create(&OfStage { stage }).observe(time.as_secs_f64());
    }

    /// Everything, in Prometheus' text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("text can be written to memory");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_stands_in_the_text() {
        let metrics = Metrics::new("1.2.3", "abc");
        metrics.captured.inc();
        metrics.error(Kind::frame);
        metrics.took(Stage::total, Duration::from_millis(30));
        let text = metrics.text();
        for line in [
            "metalens_build_info{version=\"1.2.3\",bundle=\"abc\"} 1",
            "metalens_frames_captured_total 1",
            "metalens_errors_total{kind=\"frame\"} 1",
            "metalens_errors_total{kind=\"disk\"} 0",
            "metalens_stage_duration_seconds_bucket{stage=\"total\",le=\"0.025\"} 0",
            "metalens_stage_duration_seconds_bucket{stage=\"total\",le=\"0.05\"} 1",
            "metalens_temperature_celsius NaN",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
