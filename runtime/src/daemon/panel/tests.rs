//! A board and a clock that the tests move.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use metalens_firmware_config::Caption;
use metalens_models::Bundle;

use super::*;
use crate::camera::Frame;
use crate::daemon::Hub;
use crate::daemon::health::CameraHealth;
use crate::daemon::metrics::Metrics;
use crate::daemon::workshop::Outcome;

/// What a board's pins are, seen from outside.
#[derive(Default)]
struct Pins {
    down: AtomicBool,
    silent: AtomicBool,
    shown: Mutex<Vec<Light>>,
    asked: AtomicUsize,
}

struct FakeBoard(Arc<Pins>);

impl FakeBoard {
    fn answer(&self) -> Result<(), BoardError> {
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        if self.0.silent.load(Ordering::Relaxed) {
            return Err(BoardError::Silent("they are asleep".to_owned()));
        }
        Ok(())
    }
}

impl Board for FakeBoard {
    fn pressed(&mut self) -> Result<bool, BoardError> {
        self.answer()?;
        Ok(self.0.down.load(Ordering::Relaxed))
    }

    fn show(&mut self, light: Light) -> Result<(), BoardError> {
        self.answer()?;
        self.0.shown.lock().unwrap().push(light);
        Ok(())
    }
}

/// A panel, its pins and its clock.
struct Bench {
    panel: Panel,
    pins: Arc<Pins>,
    now: Instant,
    health: Health,
}

impl Bench {
    fn new() -> Self {
        let pins = Arc::new(Pins::default());
        let now = Instant::now();
        let panel = Panel::new(Box::new(FakeBoard(pins.clone())), now);
        let health = Health { camera: CameraHealth::Open, captions: 1, ..Health::default() };
        let mut bench = Self { panel, pins, now, health };
        assert_eq!(bench.holds(false, 200), []);
        bench
    }

    /// The presses that are told while the button is so for that many milliseconds.
    fn holds(&mut self, down: bool, ms: u128) -> Vec<Press> {
        self.pins.down.store(down, Ordering::Relaxed);
        let polls = 0..ms / EVERY.as_millis();
        polls
            .filter_map(|_| {
                let press = self.panel.look(&self.health, self.now);
                self.now += EVERY;
                press
            })
            .collect()
    }

    /// What was shown since this was asked last.
    fn shown(&self) -> Vec<Light> {
        std::mem::take(&mut self.pins.shown.lock().unwrap())
    }
}

#[test]
fn presses_are_told_and_the_light_counts_their_length_along() {
    for (ms, press, lights) in [
        (300, Press::Short, &[Light::WHITE, Light::GREEN][..]),
        (2000, Press::Long, &[Light::WHITE, Light::YELLOW, Light::GREEN]),
        (6000, Press::VeryLong, &[Light::WHITE, Light::YELLOW, Light::CYAN, Light::GREEN]),
    ] {
        let mut bench = Bench::new();
        assert_eq!(bench.shown(), [Light::GREEN]);
        assert_eq!(bench.holds(true, ms), [], "{press:?}");
        assert_eq!(bench.holds(false, 200), [press]);
        assert_eq!(bench.shown(), lights, "{press:?}");
    }
}

#[test]
fn a_light_is_set_when_it_changes_and_not_at_every_look() {
    let mut bench = Bench::new();
    bench.holds(false, 10_000);
    assert_eq!(bench.shown(), [Light::GREEN]);
    bench.health.camera = CameraHealth::Missing;
    bench.holds(false, 3000);
    let shown = bench.shown();
    assert!((6..=7).contains(&shown.len()), "{shown:?}");
    assert!(shown.iter().all(|light| [Light::RED, Light::OFF].contains(light)));
}

#[test]
fn a_board_that_does_not_answer_is_asked_again_and_its_light_set_anew() {
    let mut bench = Bench::new();
    bench.shown();
    bench.pins.silent.store(true, Ordering::Relaxed);
    bench.health.cooling = true;
    assert_eq!(bench.holds(true, 400), []);
    assert!(bench.panel.told);
    bench.pins.silent.store(false, Ordering::Relaxed);
    assert_eq!(bench.holds(false, 200), []);
    assert_eq!(bench.shown(), [Light::PURPLE]);
    assert_eq!(bench.holds(true, 400), []);
    assert_eq!(bench.holds(false, 200), [Press::Short]);
    assert!(bench.pins.asked.load(Ordering::Relaxed) > 40);
}

/// A hub and a workshop with nothing in it.
fn workshop(state: &Path) -> (Arc<Hub>, Arc<Workshop>) {
    let bundle = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../models/flickr8k-lite0"));
    let bundle = Bundle::open(bundle).unwrap();
    let hub = Arc::new(Hub::new(Metrics::new("0", "bundle"), Caption::default(), 0));
    let workshop = Workshop::open(bundle, crate::Options::default(), state.to_owned(), hub.clone());
    (hub, workshop)
}

fn sees_hopper(hub: &Hub) {
    let data = include_bytes!("../../../../tests/pictures/hopper.jpg").to_vec();
    hub.show(&Frame { data, sequence: 1, ..Frame::default() });
}

#[test]
fn a_short_press_keeps_the_frame_in_sight_with_the_caption_set_last() {
    let state = tempfile::tempdir().unwrap();
    let (hub, workshop) = workshop(state.path());
    let press = |label| act(Press::Short, &workshop, label);
    assert!(matches!(press(Some("a woman")), Err(PressError::Workshop(WorkshopError::NothingSeen))));
    sees_hopper(&hub);
    assert!(matches!(press(None), Err(PressError::NoLabel)));
    assert_eq!(press(Some("a woman")).unwrap(), Answer::Done);

    let seen = hub.seen().unwrap().data;
    let other = workshop.keep("other.jpg", &seen, "grace hopper smiles").unwrap();
    workshop.remove(&other).unwrap();
    assert_eq!(press(Some("a woman")).unwrap(), Answer::Done);
    let samples = workshop.samples().unwrap();
    let captions: Vec<&str> =
        samples.iter().flat_map(|sample| &sample.captions).map(String::as_str).collect();
    assert_eq!(captions, ["a woman", "grace hopper smiles"]);
    for sample in &samples {
        assert_eq!(workshop.picture(&sample.name).unwrap().unwrap(), seen);
    }
}

#[test]
fn a_long_press_adapts_and_a_calibration_of_nothing_is_told_by_the_light() {
    let state = tempfile::tempdir().unwrap();
    let (hub, workshop) = workshop(state.path());
    let mut standing = workshop.watch();
    assert_eq!(act(Press::Long, &workshop, None).unwrap(), Answer::Begun);
    let deadline = Instant::now() + Duration::from_secs(10);
    while standing.borrow_and_update().outcome.is_none() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(workshop.standing().outcome, Some(Outcome::Failed));
    let now = Instant::now();
    assert_eq!(Lights::new(now).at(&hub.health(), None, now), Light::RED);
}

#[test]
fn a_very_long_press_undoes_and_says_so_when_there_is_nothing_to_undo() {
    let state = tempfile::tempdir().unwrap();
    let (_, workshop) = workshop(state.path());
    assert!(matches!(
        act(Press::VeryLong, &workshop, None),
        Err(PressError::Workshop(WorkshopError::State(_)))
    ));
}
