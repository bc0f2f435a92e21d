//! What lights can show: a colour, steady or blinking.

use std::time::Duration;

/// What burns just now. Colours are mixed by one light of three colours; of three single lights, two or three burn together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Light {
    /// Whether red burns.
    pub red: bool,
    /// Whether green burns.
    pub green: bool,
    /// Whether blue burns.
    pub blue: bool,
}

impl Light {
    /// Nothing burns.
    pub const OFF: Self = Self { red: false, green: false, blue: false };
    /// Red alone.
    pub const RED: Self = Self { red: true, ..Self::OFF };
    /// Green alone.
    pub const GREEN: Self = Self { green: true, ..Self::OFF };
    /// Blue alone.
    pub const BLUE: Self = Self { blue: true, ..Self::OFF };
    /// Red and green.
    pub const YELLOW: Self = Self { red: true, green: true, blue: false };
    /// Red and blue.
    pub const PURPLE: Self = Self { red: true, green: false, blue: true };
    /// Green and blue.
    pub const CYAN: Self = Self { red: false, green: true, blue: true };
    /// All three.
    pub const WHITE: Self = Self { red: true, green: true, blue: true };
}

/// How a light blinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blink {
    /// It does not.
    Steady,
    /// Once a second, on for half of it.
    Slow,
    /// Five times a second, on for half of each.
    Fast,
}

/// A light, and how it blinks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// While it burns.
    pub light: Light,
    /// How it blinks.
    pub blink: Blink,
}

impl Signal {
    /// What burns, that long after blinking began.
    #[must_use]
    pub fn at(self, elapsed: Duration) -> Light {
        let period_ms = match self.blink {
            Blink::Steady => return self.light,
            Blink::Slow => 1000,
            Blink::Fast => 200,
        };
        if elapsed.as_millis() % period_ms < period_ms / 2 { self.light } else { Light::OFF }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn burns(blink: Blink, at_ms: &[u64]) -> Vec<bool> {
        let signal = Signal { light: Light::RED, blink };
        at_ms.iter().map(|&ms| signal.at(Duration::from_millis(ms)) == Light::RED).collect()
    }

    #[test]
    fn a_light_that_blinks_burns_for_the_first_half_of_each_period() {
        assert_eq!(burns(Blink::Slow, &[0, 499, 500, 999, 1000]), [true, true, false, false, true]);
        assert_eq!(burns(Blink::Fast, &[0, 99, 100, 199, 200]), [true, true, false, false, true]);
        assert_eq!(burns(Blink::Steady, &[0, 500, 77_777]), [true; 3]);
    }
}
