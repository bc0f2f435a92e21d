//! How long a button was pressed, from levels that bounce.
//!
//! Levels are polled, because the edges of a pin are not told everywhere. A level counts once it has stayed for
//! [`DEBOUNCE`]; a press lasts from the first poll that saw the button down to the first that saw it up.

use std::time::{Duration, Instant};

/// Contacts bounce for a few milliseconds; whoever presses and means it does so for longer than this.
pub const DEBOUNCE: Duration = Duration::from_millis(40);

/// A press from here on is long.
pub const LONG: Duration = Duration::from_secs(1);

/// A press from here on is very long.
pub const VERY_LONG: Duration = Duration::from_secs(5);

/// How long a press was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Press {
    /// Less than [`LONG`].
    Short,
    /// Less than [`VERY_LONG`].
    Long,
    /// From [`VERY_LONG`] on.
    VeryLong,
}

impl Press {
    fn lasting(time: Duration) -> Self {
        match time {
            time if time >= VERY_LONG => Self::VeryLong,
            time if time >= LONG => Self::Long,
            _ => Self::Short,
        }
    }
}

/// Tells presses apart.
#[derive(Default)]
pub struct Button {
    /// The last level, and since when it is that; none before the first one.
    level: Option<(bool, Instant)>,
    state: State,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// It was not seen up yet: something may lie on it, and that is no press.
    #[default]
    Unknown,
    Up,
    /// Since then.
    Down(Instant),
}

impl Button {
    /// Takes a level (whether the button is down) at a time; what was pressed, once it is let go.
    pub fn feed(&mut self, down: bool, now: Instant) -> Option<Press> {
        let since = match self.level {
            Some((level, since)) if level == down => since,
            _ => now,
        };
        self.level = Some((down, since));
        if now.saturating_duration_since(since) < DEBOUNCE {
            return None;
        }
        match (self.state, down) {
            (State::Unknown, false) => self.state = State::Up,
            (State::Up, true) => self.state = State::Down(since),
            (State::Down(began), false) => {
                self.state = State::Up;
                return Some(Press::lasting(since.saturating_duration_since(began)));
            }
            _ => {}
        }
        None
    }

    /// What it would be if the button was let go now; none while it is up.
    #[must_use]
    pub fn held(&self, now: Instant) -> Option<Press> {
        match self.state {
            State::Down(began) => Some(Press::lasting(now.saturating_duration_since(began))),
            State::Unknown | State::Up => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLL_MS: u64 = 20;

    /// A button that is polled, and its clock.
    struct Polled {
        button: Button,
        now: Instant,
    }

    impl Polled {
        /// It was seen up.
        fn new() -> Self {
            let mut polled = Self { button: Button::default(), now: Instant::now() };
            assert_eq!(polled.stays(false, 100), []);
            polled
        }

        /// What is told while the level stays that for so many milliseconds.
        fn stays(&mut self, down: bool, ms: u64) -> Vec<Press> {
            let polls = 0..ms / POLL_MS;
            polls.filter_map(|_| self.poll(down)).collect()
        }

        fn poll(&mut self, down: bool) -> Option<Press> {
            let press = self.button.feed(down, self.now);
            self.now += Duration::from_millis(POLL_MS);
            press
        }
    }

    #[test]
    fn a_press_is_told_by_its_length_when_it_ends() {
        for (ms, expected) in [
            (60, Press::Short),
            (980, Press::Short),
            (1000, Press::Long),
            (4980, Press::Long),
            (5000, Press::VeryLong),
            (60_000, Press::VeryLong),
        ] {
            let mut polled = Polled::new();
            assert_eq!(polled.stays(true, ms), [], "{ms} ms: told before it ended");
            assert_eq!(polled.stays(false, 200), [expected], "{ms} ms");
        }
    }

    #[test]
    fn a_contact_that_bounces_makes_one_press() {
        let mut polled = Polled::new();
        let bounce = [true, false, true, false];
        assert!(bounce.iter().all(|&down| polled.poll(down).is_none()));
        assert_eq!(polled.stays(true, 300), []);
        assert!(bounce.iter().all(|&down| polled.poll(!down).is_none()));
        assert_eq!(polled.stays(false, 300), [Press::Short]);
    }

    #[test]
    fn a_touch_shorter_than_a_bounce_is_nothing() {
        let mut polled = Polled::new();
        assert_eq!(polled.stays(true, 40), []);
        assert_eq!(polled.stays(false, 300), []);
    }

    #[test]
    fn a_gap_in_a_long_press_does_not_end_it() {
        let mut polled = Polled::new();
        assert_eq!(polled.stays(true, 2000), []);
        assert_eq!(polled.poll(false), None);
        assert_eq!(polled.stays(true, 3500), []);
        assert_eq!(polled.stays(false, 100), [Press::VeryLong]);
    }

    #[test]
    fn what_is_held_is_known_before_it_is_let_go() {
        let mut polled = Polled::new();
        assert_eq!(polled.button.held(polled.now), None);
        let mut held = Vec::new();
        for _ in 0..(6000 / POLL_MS) {
            polled.poll(true);
            held.push(polled.button.held(polled.now));
        }
        held.dedup();
        assert_eq!(held, [None, Some(Press::Short), Some(Press::Long), Some(Press::VeryLong)]);
        polled.stays(false, 100);
        assert_eq!(polled.button.held(polled.now), None);
    }

    #[test]
    fn a_button_that_is_down_from_the_start_is_not_pressed() {
        let mut polled = Polled { button: Button::default(), now: Instant::now() };
        assert_eq!(polled.stays(true, 9000), []);
        assert_eq!(polled.button.held(polled.now), None);
        assert_eq!(polled.stays(false, 200), []);
        assert_eq!(polled.stays(true, 200), []);
        assert_eq!(polled.stays(false, 200), [Press::Short]);
    }

    #[test]
    fn a_poll_that_comes_late_makes_no_press_of_its_own() {
        let mut polled = Polled::new();
        polled.now += Duration::from_secs(9);
        assert_eq!(polled.stays(true, 100), []);
        assert_eq!(polled.stays(false, 100), [Press::Short]);
    }
}
