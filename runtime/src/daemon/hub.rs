//! What the daemon's threads share: the captions, the picture that was looked at last, the head in use, and how it goes.
//!
//! Nobody who captions waits for anybody here: outputs are told through channels that lose what a slow one has no time for.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metalens_firmware_config::Caption as CaptionSettings;
use tokio::sync::{broadcast, watch};

use super::health::{CameraHealth, Health, Phase};
use super::metrics::Metrics;
use super::published::Published;
use crate::adaptation::Learned;
use crate::camera::Frame;
use crate::store::Generation;

/// Captions that an output may be behind before it loses some.
const BEHIND: usize = 32;

/// What is captioned with.
#[derive(Clone, Default)]
pub struct Head {
    /// The calibration; none is the bundle's own head.
    pub learned: Option<Arc<Learned>>,
    /// Its number.
    pub generation: Option<Generation>,
}

/// What the daemon's threads share.
pub struct Hub {
    /// What is counted.
    pub metrics: Metrics,
    /// When the threads that must not hang went round last.
    pub pulse: Pulse,
    captions: broadcast::Sender<Arc<Published>>,
    history: Mutex<VecDeque<Arc<Published>>>,
    history_length: usize,
    seen: Mutex<Frame>,
    views: watch::Sender<u64>,
    head: Mutex<Head>,
    /// Counted up whenever the head changes.
    heads: AtomicU64,
    health: Mutex<Health>,
    settings: Mutex<CaptionSettings>,
    stopping: AtomicBool,
}

impl Hub {
    /// A daemon that is starting.
    #[must_use]
    pub fn new(metrics: Metrics, settings: CaptionSettings, history_length: usize) -> Self {
        Self {
            metrics,
            pulse: Pulse::new(),
            captions: broadcast::Sender::new(BEHIND),
            history: Mutex::new(VecDeque::with_capacity(history_length)),
            history_length,
            seen: Mutex::default(),
            views: watch::Sender::new(0),
            head: Mutex::default(),
            heads: AtomicU64::new(0),
            health: Mutex::default(),
            settings: Mutex::new(settings),
            stopping: AtomicBool::new(false),
        }
    }

    /// Publishes a caption.
    pub fn publish(&self, published: Arc<Published>) {
        let mut history = lock(&self.history);
        if history.len() >= self.history_length {
            history.pop_front();
        }
        if self.history_length > 0 {
            history.push_back(published.clone());
        }
        drop(history);
        self.health_mut(|health| health.captions += 1);
        self.metrics.captioned.inc();
        // Nobody need be listening.
        let _ = self.captions.send(published);
    }

    /// The captions from now on. Whoever is too slow misses some.
    #[must_use]
    pub fn captions(&self) -> broadcast::Receiver<Arc<Published>> {
        self.captions.subscribe()
    }

    /// The last captions, the newest last.
    #[must_use]
    pub fn history(&self) -> Vec<Arc<Published>> {
        lock(&self.history).iter().cloned().collect()
    }

    /// Shows the frame that is being looked at.
    pub fn show(&self, frame: &Frame) {
        lock(&self.seen).copy_from(frame);
        self.views.send_replace(frame.sequence);
    }

    /// A copy of the frame that was looked at last; none before the first one.
    #[must_use]
    pub fn seen(&self) -> Option<Frame> {
        let seen = lock(&self.seen);
        (seen.sequence > 0).then(|| seen.clone())
    }

    /// The number of the frame that was looked at last, as it changes.
    #[must_use]
    pub fn views(&self) -> watch::Receiver<u64> {
        self.views.subscribe()
    }

    /// What is captioned with.
    #[must_use]
    pub fn head(&self) -> Head {
        lock(&self.head).clone()
    }

    /// From the next caption on, captions with this head.
    pub fn use_head(&self, head: Head) {
        self.metrics.generation.set(head.generation.map_or(0, |generation| i64::from(generation.number())));
        *lock(&self.head) = head;
        self.heads.fetch_add(1, Ordering::Release);
    }

    /// How often the head has changed.
    #[must_use]
    pub fn heads(&self) -> u64 {
        self.heads.load(Ordering::Acquire)
    }

    /// How it goes.
    #[must_use]
    pub fn health(&self) -> Health {
        lock(&self.health).clone()
    }

    /// Notes how it goes.
    pub fn health_mut(&self, change: impl FnOnce(&mut Health)) {
        change(&mut lock(&self.health));
    }

    /// Notes how the camera goes; whether that is news.
    pub fn camera(&self, camera: CameraHealth) -> bool {
        let mut health = lock(&self.health);
        std::mem::replace(&mut health.camera, camera) != camera
    }

    /// What the daemon does, in one word.
    #[must_use]
    pub fn phase(&self) -> Phase {
        lock(&self.health).phase()
    }

    /// How captions are published.
    #[must_use]
    pub fn settings(&self) -> CaptionSettings {
        lock(&self.settings).clone()
    }

    /// From now on publishes captions so.
    pub fn set_settings(&self, settings: CaptionSettings) {
        *lock(&self.settings) = settings;
    }

    /// Asks all threads to end.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Whether they were asked to.
    #[must_use]
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }
}

/// A panic elsewhere leaves values that are whole: each is replaced at once.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// When the threads that must not hang went round last.
pub struct Pulse {
    began: Instant,
    capture: AtomicU64,
    caption: AtomicU64,
}

impl Pulse {
    fn new() -> Self {
        Self { began: Instant::now(), capture: AtomicU64::new(0), caption: AtomicU64::new(0) }
    }

    fn now(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// The capturing thread goes round.
    pub fn capture(&self) {
        self.capture.store(self.now(), Ordering::Relaxed);
    }

    /// The captioning thread goes round.
    pub fn caption(&self) {
        self.caption.store(self.now(), Ordering::Relaxed);
    }

    /// Whether both did within the time.
    #[must_use]
    pub fn beats_within(&self, time: Duration) -> bool {
        let oldest = self.capture.load(Ordering::Relaxed).min(self.caption.load(Ordering::Relaxed));
        self.now().saturating_sub(oldest) <= time.as_millis() as u64
    }
}
