//! The thread that captions: it looks at the latest frame, and publishes what is new.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::change::{Rate, Scene};
use super::hub::Hub;
use super::metrics::{Kind, Stage};
use super::published::{FrameOf, Published};
use super::slot::{Latest, Looker};
use super::suggestions::Suggestions;
use crate::Captioner;
use crate::camera::{Decoder, Pace};
use crate::captioner::milliseconds;
use crate::store::Generation;

/// For how long nothing else is looked at, such as a stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// For how long a replay waits before it is asked again whether its next picture is due.
const PAUSE: Duration = Duration::from_millis(5);

/// How often one who says the same error again is heard.
const AGAIN: Duration = Duration::from_secs(10);

/// Says what frames show.
pub struct Narrator {
    captioner: Captioner,
    decoder: Decoder,
    scene: Scene,
    rate: Rate,
    pace: Pace,
    suggestions: Suggestions,
    /// Which of the hub's heads is in use.
    heads: Option<u64>,
    generation: Option<Generation>,
    complained: Option<Instant>,
}

impl Narrator {
    /// Nothing was seen yet of a source that goes at that pace.
    #[must_use]
    pub fn new(captioner: Captioner, pace: Pace, suggestions: Suggestions) -> Self {
        Self {
            captioner,
            decoder: Decoder::default(),
            scene: Scene::default(),
            rate: Rate::default(),
            pace,
            suggestions,
            heads: None,
            generation: None,
            complained: None,
        }
    }

    /// Captions until the daemon stops or no more frames come; `tell` is given every caption that is published.
    pub fn run(mut self, mut looker: Looker, hub: &Hub, mut tell: impl FnMut(&Arc<Published>)) {
        while !hub.stopping() {
            hub.pulse.caption();
            match looker.latest(PATIENCE) {
                Latest::Closed => break,
                Latest::NotYet => {}
                Latest::Frame(frame) => {
                    if let Some(published) = self.look(&frame, hub) {
                        let published = Arc::new(published);
                        tell(&published);
                        hub.publish(published);
                    }
                }
            }
        }
    }

    /// Whether it is time to look at another frame; a replay waits for it.
    fn is_due(&mut self, hub: &Hub) -> bool {
        loop {
            let due = !hub.health().cooling && self.rate.due(hub.settings().max_rate, Instant::now());
            if due || self.pace == Pace::Live || hub.stopping() {
                return due;
            }
            hub.pulse.caption();
            std::thread::sleep(PAUSE);
        }
    }

    fn look(&mut self, frame: &crate::camera::Frame, hub: &Hub) -> Option<Published> {
        hub.metrics.queue_age.set(frame.captured.elapsed().as_secs_f64());
        if !self.is_due(hub) {
            hub.metrics.dropped.inc();
            return None;
        }
        let settings = hub.settings();
        let now = Instant::now();
        self.follow(hub);
        let picture = match self.decoder.decode(frame) {
            Ok(picture) => picture,
            Err(error) => {
                hub.metrics.error(Kind::frame);
                self.complain(&name(frame), &error);
                return None;
            }
        };
        hub.metrics.took(Stage::decode, now.elapsed());
        hub.show(frame);

        let began = Instant::now();
        let seen = self.captioner.look(picture).and_then(|()| self.captioner.pooled());
        hub.metrics.took(Stage::encode, began.elapsed());
        let pooled = match seen {
            Ok(pooled) => pooled,
            Err(error) => return self.fail(frame, &error, hub),
        };
        if !self.scene.is_new(&pooled, &settings, now) {
            hub.metrics.unchanged.inc();
            return None;
        }
        let began = Instant::now();
        let caption = match self.captioner.describe() {
            Ok(caption) => caption,
            Err(error) => return self.fail(frame, &error, hub),
        };
        hub.metrics.took(Stage::describe, began.elapsed());
        hub.metrics.took(Stage::total, frame.captured.elapsed());
        let file = (!frame.file.is_empty()).then(|| frame.file.clone());
        let of = FrameOf { sequence: frame.sequence, time: frame.time, file };
        let published = Published::new(caption, &of, self.generation, milliseconds(frame.captured));
        self.suggestions.consider(frame, &pooled, &published, hub.head().learned.as_deref());
        self.scene.captioned(pooled, now);
        Some(published)
    }

    /// Takes the head that the hub has, between two captions.
    fn follow(&mut self, hub: &Hub) {
        let heads = hub.heads();
        if self.heads != Some(heads) {
            let head = hub.head();
            self.captioner.learn(head.learned);
            self.generation = head.generation;
            // What is in sight is to be said in the new words.
            self.scene.forget();
            self.heads = Some(heads);
        }
    }

    fn fail(
        &mut self,
        frame: &crate::camera::Frame,
        error: &crate::CaptionerError,
        hub: &Hub,
    ) -> Option<Published> {
        hub.metrics.error(Kind::caption);
        self.complain(&name(frame), error);
        None
    }

    fn complain(&mut self, name: &str, error: &dyn std::error::Error) {
        if self.complained.is_none_or(|last| last.elapsed() > AGAIN) || !name.starts_with("frame ") {
            tracing::warn!("{name}: {error}");
            self.complained = Some(Instant::now());
        }
    }
}

fn name(frame: &crate::camera::Frame) -> String {
    if frame.file.is_empty() { format!("frame {}", frame.sequence) } else { frame.file.clone() }
}
