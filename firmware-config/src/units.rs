//! Numbers whose unit or range is part of their type.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Frames, or captions, a second: more than 0.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "f64")]
#[schemars(extend("exclusiveMinimum" = 0, "maximum" = 1000))]
pub struct FramesPerSecond(f64);

impl FramesPerSecond {
    /// The highest rate that is believed: a faster one is a slip of the pen.
    pub const MAX: f64 = 1000.0;

    /// One a second.
    pub const ONE: Self = Self(1.0);

    /// A rate.
    ///
    /// # Errors
    /// When it is not more than 0, or more than [`Self::MAX`].
    pub fn new(rate: f64) -> Result<Self, OutOfRange> {
        if rate > 0.0 && rate <= Self::MAX { Ok(Self(rate)) } else { Err(OutOfRange::Rate(rate)) }
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }

    /// The time from one frame to the next; never 0, and at most an hour, so that no clock overflows.
    #[must_use]
    pub fn period(self) -> Duration {
        Duration::from_secs_f64((1.0 / self.0).min(3600.0))
    }
}

impl TryFrom<f64> for FramesPerSecond {
    type Error = OutOfRange;

    fn try_from(rate: f64) -> Result<Self, OutOfRange> {
        Self::new(rate)
    }
}

/// How likely something is: from 0, never, to 1, always.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "f64")]
#[schemars(extend("minimum" = 0, "maximum" = 1))]
pub struct Probability(f64);

impl Probability {
    /// A probability.
    ///
    /// # Errors
    /// When it is not in 0 … 1.
    pub fn new(probability: f64) -> Result<Self, OutOfRange> {
        if (0.0..=1.0).contains(&probability) {
            Ok(Self(probability))
        } else {
            Err(OutOfRange::Probability(probability))
        }
    }

    /// The number.
    #[must_use]
    pub fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Probability {
    type Error = OutOfRange;

    fn try_from(probability: f64) -> Result<Self, OutOfRange> {
        Self::new(probability)
    }
}

/// A temperature.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Celsius(pub f32);

/// Why a number is none of its type.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum OutOfRange {
    /// A rate at which nothing would ever come, or more than anything can give.
    #[error("{0} a second is no rate; give a number above 0, at most {max}", max = FramesPerSecond::MAX)]
    Rate(f64),
    /// No probability.
    #[error("{0} is no probability; give a number from 0, never, to 1, always")]
    Probability(f64),
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_above_zero_and_finite() {
        for refused in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            assert!(FramesPerSecond::new(refused).is_err(), "{refused}");
        }
        assert_eq!(FramesPerSecond::new(4.0).unwrap().period(), Duration::from_millis(250));
    }

    #[test]
    fn the_slowest_rate_has_a_period_that_clocks_can_add() {
        assert_eq!(FramesPerSecond::new(f64::MIN_POSITIVE).unwrap().period(), Duration::from_secs(3600));
    }

    #[test]
    fn a_probability_is_from_zero_to_one() {
        for refused in [-0.1, 1.1, f64::NAN] {
            assert!(Probability::new(refused).is_err(), "{refused}");
        }
        assert_eq!(Probability::new(1.0).map(Probability::get), Ok(1.0));
    }
}
