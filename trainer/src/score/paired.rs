//! Whether one captioner is better than another on the same pictures.

use std::fmt;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

const RESAMPLES: usize = 10_000;
const SEED: u64 = 0;

/// The mean difference of a score that every picture has twice, with its 95 % bootstrap interval over pictures (Efron 1979).
///
/// Pictures are drawn with both of their scores, so what makes a picture hard for both does not widen the interval. The draws
/// are seeded: the same scores have the same interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PairedDifference {
    /// First less second, over all pictures.
    pub mean: f64,
    /// 2.5 and 97.5 percentiles of the means of 10,000 resamples.
    pub interval: [f64; 2],
    /// How many pictures.
    pub pictures: usize,
}

impl PairedDifference {
    /// Of two scores of each picture; none without pictures.
    #[must_use]
    pub fn of(scores: &[(f64, f64)]) -> Option<Self> {
        let differences: Vec<f64> = scores.iter().map(|(first, second)| first - second).collect();
        let pictures = differences.len();
        if pictures == 0 {
            return None;
        }
        let mean = |sum: f64| sum / pictures as f64;
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        let mut means: Vec<f64> = (0..RESAMPLES)
            .map(|_| mean((0..pictures).map(|_| differences[rng.random_range(0..pictures)]).sum()))
            .collect();
        means.sort_by(f64::total_cmp);
        let at = |share: f64| means[((RESAMPLES - 1) as f64 * share).round() as usize];
        Some(Self { mean: mean(differences.iter().sum()), interval: [at(0.025), at(0.975)], pictures })
    }
}

impl fmt::Display for PairedDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mean, interval: [low, high], pictures } = self;
        write!(f, "{mean:+.3} [{low:+.3} {high:+.3}] over {pictures} pictures")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_difference_has_no_width() {
        // Exact in binary: 1.5 - 1.25 and so on.
        let scores = [(1.5, 1.25), (0.25, 0.0), (3.75, 3.5)];
        let difference = PairedDifference::of(&scores).unwrap();
        assert_eq!(difference, PairedDifference { mean: 0.25, interval: [0.25, 0.25], pictures: 3 });
        assert_eq!(difference.to_string(), "+0.250 [+0.250 +0.250] over 3 pictures");
    }

    #[test]
    fn the_interval_is_that_of_the_mean_and_the_same_every_time() {
        // Differences are 1 and 0 in turn, 100 of each: mean 1/2, deviation of the mean 0.5 / sqrt(200), times 1.96 is .0693.
        let scores: Vec<(f64, f64)> = (0..200).map(|i| (f64::from(i % 2) + 5.0, 5.0)).collect();
        let difference = PairedDifference::of(&scores).unwrap();
        assert!((difference.mean - 0.5).abs() < 1e-12);
        assert!((difference.interval[0] - 0.4307).abs() < 0.006, "{difference}");
        assert!((difference.interval[1] - 0.5693).abs() < 0.006, "{difference}");
        assert_eq!(PairedDifference::of(&scores), Some(difference));
        // The other way round it is mirrored, up to which of two neighbours is the percentile.
        let swapped: Vec<(f64, f64)> = scores.iter().map(|&(a, b)| (b, a)).collect();
        assert!((PairedDifference::of(&swapped).unwrap().mean + 0.5).abs() < 1e-12);
        assert_eq!(PairedDifference::of(&[]), None);
    }
}
