//! What the bundle carries to compare pictures with: ordinary pictures, and detectors of words.
//!
//! ```text
//! l_d(v) = log mean_i exp(A_d v_i + b_d) + G_d mean_i v_i + M_d max_i v_i       for each word d that has a detector
//! ```

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut1, Axis, s};

use super::head::log_sum_exp;
use super::real::{Real, real};

/// Ordinary pictures and word detectors.
#[derive(Clone, Debug, PartialEq)]
pub struct References<T> {
    /// Mean of the pooled visual vectors of ordinary pictures `[token]`.
    mean: Array1<T>,
    /// The ordinary pictures' directions from there `[references, token]`.
    directions: Array2<T>,
    said: Array1<T>,
    detected: Vec<usize>,
    detectors: Array2<T>,
    usual: Array1<T>,
}

/// What [`References`] are made of.
#[derive(Clone, Debug, PartialEq)]
pub struct ReferenceParts<T> {
    /// Pooled visual vectors of ordinary pictures `[references, token]`.
    pub pooled: Array2<T>,
    /// How probably each known word is said of an ordinary picture `[words]`.
    pub said: Array1<T>,
    /// The words that have detectors.
    pub detected: Vec<usize>,
    /// [A b G M] `[detected, 3 token + 1]`.
    pub detectors: Array2<T>,
    /// Mean output of each detector on ordinary pictures `[detected]`.
    pub usual: Array1<T>,
}

/// A picture, as far as familiarity looks at it.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation<T> {
    /// mean_i v_i `[token]`.
    pub pooled: Array1<T>,
    /// The detectors' outputs l `[detected]`, less the usual ones.
    pub detections: Array1<T>,
    /// How probably each known word stands in the caption before calibration `[words]`: 1 - prod_t (1 - p_t).
    pub said: Array1<T>,
}

impl<T: Real> References<T> {
    /// Looks at the ordinary pictures once.
    #[must_use]
    pub fn new(parts: ReferenceParts<T>) -> Self {
        let ReferenceParts { pooled, said, detected, detectors, usual } = parts;
        let mean = pooled.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(pooled.ncols()));
        let mut directions = &pooled - &mean;
        for mut row in directions.rows_mut() {
            normalise(&mut row);
        }
        Self { mean, directions, said, detected, detectors, usual }
    }

    /// The direction `[token]` of a pooled visual vector from the ordinary pictures' mean.
    #[must_use]
    pub(super) fn direction(&self, pooled: &ArrayView1<T>) -> Array1<T> {
        let mut direction = pooled - &self.mean;
        normalise(&mut direction.view_mut());
        direction
    }

    /// Cosines `[references, columns]` of the ordinary pictures with directions `[columns, token]`.
    pub(super) fn cosines(&self, directions: &ArrayView2<T>) -> Array2<T> {
        self.directions.dot(&directions.t())
    }

    /// How probably a word of the mixture is said of an ordinary picture.
    pub(super) fn usually_said(&self, mixture: &Array1<T>) -> T {
        mixture.dot(&self.said)
    }

    /// What the detectors of the mixture's words see, weighed by their shares.
    pub(super) fn detected(&self, mixture: &Array1<T>, detections: &Array1<T>) -> T {
        let shares = self.detected.iter().map(|&word| mixture[word]);
        shares.zip(detections).fold(T::zero(), |sum, (share, &detection)| sum + share * detection)
    }

    /// Width of the visual vectors.
    pub(super) fn width(&self) -> usize {
        self.mean.len()
    }
    /// Observes a picture from its visual tokens v `[positions, token]` and the probabilities `[steps, words]` along its
    /// caption before calibration.
    #[must_use]
    pub fn observe(&self, tokens: &ArrayView2<T>, probabilities: &ArrayView2<T>) -> Observation<T> {
        let pooled = tokens.mean_axis(Axis(0)).expect("a picture has positions");
        Observation {
            detections: self.detect(tokens) - &self.usual,
            said: said(probabilities),
            pooled,
        }
    }

    /// The detectors' outputs.
    #[must_use]
    pub fn detect(&self, tokens: &ArrayView2<T>) -> Array1<T> {
        let width = tokens.ncols();
        let pooled = tokens.mean_axis(Axis(0)).expect("a picture has positions");
        let highest = tokens.fold_axis(Axis(0), T::neg_infinity(), |a, &b| a.max(b));
        let part = |from: usize, to: usize| self.detectors.slice(s![.., from..to]);
        // [detected, positions]
        let local = part(0, width).dot(&tokens.t());
        let positions = real::<T>((tokens.nrows() as f64).ln());
        let local: Array1<T> = local.rows().into_iter().map(|row| log_sum_exp(&row) - positions).collect();
        local
            + self.detectors.column(width)
            + part(width + 1, 2 * width + 1).dot(&pooled)
            + part(2 * width + 1, 3 * width + 1).dot(&highest)
    }
}

/// How probably each word is said at least once `[words]`, from its probability at each step `[steps, words]`.
#[must_use]
pub fn said<T: Real>(probabilities: &ArrayView2<T>) -> Array1<T> {
    let unsaid = probabilities.fold_axis(Axis(0), T::one(), |unsaid, &p| *unsaid * (T::one() - p));
    unsaid.mapv(|unsaid| T::one() - unsaid)
}

/// To length 1; what has no direction stays as it is.
pub(super) fn normalise<T: Real>(x: &mut ArrayViewMut1<T>) {
    let length = x.dot(x).sqrt();
    if length > T::zero() {
        x.mapv_inplace(|x| x / length);
    }
}
