//! What the lights say.
//!
//! | light | blinks | what it says |
//! |---|---|---|
//! | blue | slowly | the daemon starts; no caption yet |
//! | green | | it captions |
//! | yellow | slowly | it captions, and adapts the head beside that |
//! | purple | | the board is too hot; no captions until it has cooled down |
//! | red | slowly | no frames come |
//! | red | | for [`SORRY`]: a calibration was refused, or what the button asked for was not done |
//! | white | fast | for [`DONE`]: what the button asked for is done |
//! | white | | the button is down; let go, the frame in sight is kept |
//! | yellow | | the button is down; let go, the head is adapted |
//! | cyan | | the button is down; let go, the last calibration is undone |
//!
//! Of several, the last in the table is shown. Three single lights burn together for a mixed colour; a board with fewer tells
//! less.

use std::time::{Duration, Instant};

use crate::board::{Blink, Light, Press, Signal};
use crate::daemon::health::{Health, Phase};

/// For how long what was not done is shown.
pub const SORRY: Duration = Duration::from_secs(3);

/// For how long what was done is shown.
pub const DONE: Duration = Duration::from_millis(600);

/// What a phase looks like.
fn of_phase(phase: Phase) -> Signal {
    let (light, blink) = match phase {
        Phase::Starting => (Light::BLUE, Blink::Slow),
        Phase::Captioning => (Light::GREEN, Blink::Steady),
        Phase::Calibrating => (Light::YELLOW, Blink::Slow),
        Phase::Cooling => (Light::PURPLE, Blink::Steady),
        Phase::NoCamera => (Light::RED, Blink::Slow),
    };
    Signal { light, blink }
}

/// What a button that is down looks like.
fn of_press(press: Press) -> Signal {
    let light = match press {
        Press::Short => Light::WHITE,
        Press::Long => Light::YELLOW,
        Press::VeryLong => Light::CYAN,
    };
    Signal { light, blink: Blink::Steady }
}

/// Decides what burns.
pub struct Lights {
    began: Instant,
    /// Since when a refusal is known; told for a while, and not again.
    refused: Option<Instant>,
    /// What was said last of a press, and when.
    answer: Option<(Answer, Instant)>,
}

/// What became of a press.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is done.
    Done,
    /// It is under way; the phase tells.
    Begun,
    /// It was not done.
    Sorry,
}

impl Lights {
    /// Lights of a daemon that starts now.
    pub fn new(now: Instant) -> Self {
        Self { began: now, refused: None, answer: None }
    }

    /// Tells what became of a press.
    pub fn answer(&mut self, answer: Answer, now: Instant) {
        // A calibration that is refused at once is refused anew.
        self.refused = None;
        self.answer = Some((answer, now));
    }

    /// What burns now, while the button is held for so long.
    pub fn at(&mut self, health: &Health, held: Option<Press>, now: Instant) -> Light {
        self.refused = if health.refused { self.refused.or(Some(now)) } else { None };
        let within = |since: Instant, time| now.saturating_duration_since(since) < time;
        let (signal, began) = match (held, self.answer) {
            (Some(press), _) => (of_press(press), now),
            (None, Some((Answer::Done, at))) if within(at, DONE) => {
                (Signal { light: Light::WHITE, blink: Blink::Fast }, at)
            }
            (None, answer) => {
                let sorry = matches!(answer, Some((Answer::Sorry, at)) if within(at, SORRY));
                if sorry || self.refused.is_some_and(|at| within(at, SORRY)) {
                    (Signal { light: Light::RED, blink: Blink::Steady }, now)
                } else {
                    (of_phase(health.phase()), self.began)
                }
            }
        };
        signal.at(now.saturating_duration_since(began))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::health::CameraHealth;

    fn captioning() -> Health {
        Health { camera: CameraHealth::Open, captions: 1, ..Health::default() }
    }

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn each_phase_has_a_light_of_its_own() {
        let start = Instant::now();
        for (health, first_half, second_half) in [
            (Health::default(), Light::BLUE, Light::OFF),
            (captioning(), Light::GREEN, Light::GREEN),
            (Health { calibrating: true, ..captioning() }, Light::YELLOW, Light::OFF),
            (Health { cooling: true, ..captioning() }, Light::PURPLE, Light::PURPLE),
            (Health { camera: CameraHealth::Missing, ..captioning() }, Light::RED, Light::OFF),
        ] {
            let mut lights = Lights::new(start);
            assert_eq!(lights.at(&health, None, after(start, 7100)), first_half, "{:?}", health.phase());
            assert_eq!(lights.at(&health, None, after(start, 7600)), second_half, "{:?}", health.phase());
        }
    }

    #[test]
    fn a_refusal_is_shown_for_a_while_and_once() {
        let start = Instant::now();
        let mut lights = Lights::new(start);
        let refused = Health { refused: true, ..captioning() };
        for (ms, expected) in
            [(0, Light::RED), (2999, Light::RED), (3000, Light::GREEN), (90_000, Light::GREEN)]
        {
            assert_eq!(lights.at(&refused, None, after(start, ms)), expected, "{ms} ms");
        }
        assert_eq!(lights.at(&captioning(), None, after(start, 91_000)), Light::GREEN);
        assert_eq!(lights.at(&refused, None, after(start, 92_000)), Light::RED);
    }

    #[test]
    fn a_calibration_that_is_refused_at_once_is_shown_although_the_one_before_it_was_refused() {
        let start = Instant::now();
        let mut lights = Lights::new(start);
        let refused = Health { refused: true, ..captioning() };
        lights.at(&refused, None, start);
        lights.answer(Answer::Begun, after(start, 9000));
        assert_eq!(lights.at(&refused, None, after(start, 9020)), Light::RED);
    }

    #[test]
    fn what_a_press_did_is_answered() {
        let start = Instant::now();
        let mut lights = Lights::new(start);
        lights.answer(Answer::Done, start);
        let seen: Vec<Light> =
            [0, 100, 200, 599, 600].map(|ms| lights.at(&captioning(), None, after(start, ms))).into();
        assert_eq!(seen, [Light::WHITE, Light::OFF, Light::WHITE, Light::OFF, Light::GREEN]);
        lights.answer(Answer::Sorry, start);
        assert_eq!(lights.at(&captioning(), None, after(start, 2999)), Light::RED);
        assert_eq!(lights.at(&captioning(), None, after(start, 3000)), Light::GREEN);
    }

    #[test]
    fn a_button_that_is_down_is_shown_before_everything_else() {
        let start = Instant::now();
        let mut lights = Lights::new(start);
        lights.answer(Answer::Sorry, start);
        let missing = Health { camera: CameraHealth::Missing, refused: true, ..captioning() };
        for (press, expected) in
            [(Press::Short, Light::WHITE), (Press::Long, Light::YELLOW), (Press::VeryLong, Light::CYAN)]
        {
            assert_eq!(lights.at(&missing, Some(press), after(start, 500)), expected);
        }
    }
}
