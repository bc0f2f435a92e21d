//! Frames that the driver had no buffer for: it counts every frame, so that a gap tells how many.

/// Looks for gaps in the numbers of a camera's frames.
#[derive(Default)]
pub(super) struct Sequence {
    last: Option<u32>,
}

impl Sequence {
    /// How many frames are missing between the last one and this one.
    pub fn missed(&mut self, number: u32) -> u64 {
        let step = self.last.map_or(1, |last| number.wrapping_sub(last));
        self.last = Some(number);
        // A step back is a driver that counts anew.
        if step <= u32::MAX / 2 { u64::from(step.saturating_sub(1)) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missed(numbers: &[u32]) -> Vec<u64> {
        let mut sequence = Sequence::default();
        numbers.iter().map(|&number| sequence.missed(number)).collect()
    }

    #[test]
    fn a_gap_is_as_many_frames_as_it_skips() {
        assert_eq!(missed(&[0, 1, 2, 5, 6]), [0, 0, 0, 2, 0]);
    }

    #[test]
    fn the_first_frame_may_have_any_number_and_the_count_goes_round() {
        assert_eq!(missed(&[u32::MAX - 1, u32::MAX, 0, 2]), [0, 0, 0, 1]);
    }

    #[test]
    fn a_driver_that_counts_anew_or_not_at_all_misses_nothing() {
        assert_eq!(missed(&[900, 0, 1]), [0, 0, 0]);
        assert_eq!(missed(&[0, 0, 0]), [0, 0, 0]);
    }
}
