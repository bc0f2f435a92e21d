//! Whether a frame shows something new: a still scene is not captioned again and again.

use std::time::Instant;

use metalens_firmware_config::{Caption as Settings, FramesPerSecond};
use ndarray::Array1;

/// The last scene that was captioned.
#[derive(Default)]
pub struct Scene {
    last: Option<(Array1<f32>, Instant)>,
}

impl Scene {
    /// Whether what is seen now, by its pooled visual vector, is to be captioned: it is the first, or more than
    /// `min_change` of cosine distance from the last that was, or that was long ago.
    #[must_use]
    pub fn is_new(&self, pooled: &Array1<f32>, settings: &Settings, now: Instant) -> bool {
        let Some((last, when)) = &self.last else { return true };
        settings.min_change <= 0.0
            || now.duration_since(*when).as_secs_f64() >= settings.max_age_s
            || distance(last, pooled) > settings.min_change
    }

    /// Notes that this scene was captioned.
    pub fn captioned(&mut self, pooled: Array1<f32>, now: Instant) {
        self.last = Some((pooled, now));
    }

    /// The next frame is new, whatever it shows.
    pub fn forget(&mut self) {
        self.last = None;
    }
}

/// 1 - cos.
fn distance(a: &Array1<f32>, b: &Array1<f32>) -> f32 {
    let lengths = (a.dot(a) * b.dot(b)).sqrt();
    if lengths > 0.0 { 1.0 - a.dot(b) / lengths } else { 1.0 }
}

/// Captions per second, at most.
#[derive(Default)]
pub struct Rate {
    last: Option<Instant>,
}

impl Rate {
    /// Whether it is time for the next one.
    pub fn due(&mut self, most: Option<FramesPerSecond>, now: Instant) -> bool {
        let due = match (self.last, most) {
            (Some(last), Some(most)) => now.duration_since(last) >= most.period(),
            _ => true,
        };
        if due {
            self.last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ndarray::array;

    use super::*;

    fn settings(min_change: f32) -> Settings {
        Settings { min_change, max_age_s: 10.0, ..Settings::default() }
    }

    #[test]
    fn a_scene_is_new_when_it_moved_or_when_the_last_caption_is_old() {
        let now = Instant::now();
        let mut scene = Scene::default();
        let seen = array![1.0, 0.0];
        assert!(scene.is_new(&seen, &settings(0.1), now));
        scene.captioned(seen.clone(), now);
        assert!(!scene.is_new(&seen, &settings(0.1), now));
        // cos = 0.8 and 0.6 / 0.8 along the axes: a distance of 0.2.
        assert!(scene.is_new(&array![0.8, 0.6], &settings(0.1), now));
        assert!(!scene.is_new(&array![0.8, 0.6], &settings(0.3), now));
        assert!(scene.is_new(&seen, &settings(0.1), now + Duration::from_secs(10)));
        assert!(scene.is_new(&seen, &settings(0.0), now), "at 0 every frame is new");
        scene.forget();
        assert!(scene.is_new(&seen, &settings(0.1), now));
    }

    #[test]
    fn captions_are_no_more_often_than_the_rate() {
        let (mut rate, now) = (Rate::default(), Instant::now());
        let at = |ms| now + Duration::from_millis(ms);
        assert_eq!(
            [0, 100, 499, 500, 700].map(|ms| rate.due(FramesPerSecond::new(2.0).ok(), at(ms))),
            [true, false, false, true, false]
        );
        assert!(rate.due(None, at(701)));
    }
}
