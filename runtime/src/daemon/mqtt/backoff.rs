//! How long a lost broker is left alone before it is tried again.

use std::time::Duration;

/// The first wait; each further one is twice as long, up to the longest.
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);

/// A connection that lasted so long was a good one. Two devices with one name push each other out at once.
const GOOD: Duration = Duration::from_secs(10);

/// Waits between attempts.
pub struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Backoff {
    /// The wait after an attempt that lasted so long, until its connection was lost or there was none.
    pub fn after(&mut self, lasted: Duration) -> Duration {
        if lasted >= GOOD {
            *self = Self::default();
        }
        let wait = self.0;
        self.0 = (2 * wait).min(LONGEST);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_half_a_minute_and_begin_anew_after_a_good_connection() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> = [0, 5, 0, 0, 0, 0, 0, 0, 0, 10, 0]
            .map(|lasted| backoff.after(Duration::from_secs(lasted)).as_millis())
            .into();
        assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000, 250, 500]);
    }
}
