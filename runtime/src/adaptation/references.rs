//! What the bundle carries to compare pictures with: ordinary pictures, and detectors of words.
//!
//! ```text
//! l_d(v) = log mean_i exp(A_d v_i + b_d) + G_d mean_i v_i + M_d max_i v_i       for each word d that has a detector
//! ```

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut1, Axis, s};

use super::head::{log_sum_exp, sigmoid};
use super::real::{Real, real};

/// A mixture whose words with detectors have less than this share is not seen by them.
const NO_DETECTOR: f64 = 1e-3;

/// Ordinary pictures and word detectors.
#[derive(Clone, Debug, PartialEq)]
pub struct References<T> {
    /// Mean of the pooled visual vectors of ordinary pictures `[token]`.
    mean: Array1<T>,
    /// The ordinary pictures' directions from there `[references, token]`.
    directions: Array2<T>,
    /// Mean of the detectors' sigmoids on ordinary pictures `[detected]`.
    usual: Array1<T>,
    /// Their log-odds `[detected]`.
    usual_odds: Array1<T>,
    parts: ReferenceParts<T>,
}

/// What [`References`] are made of.
#[derive(Clone, Debug, PartialEq)]
pub struct ReferenceParts<T> {
    /// Pooled visual vectors of ordinary pictures `[references, token]`.
    pub pooled: Array2<T>,
    /// What the detectors make of them `[references, detected]`.
    pub detections: Array2<T>,
    /// How probably each known word is said of an ordinary picture `[words]`.
    pub said: Array1<T>,
    /// The words that have detectors.
    pub detected: Vec<usize>,
    /// [A b G M] `[detected, 3 token + 1]`.
    pub detectors: Array2<T>,
}

/// A picture, as far as familiarity looks at it.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation<T> {
    /// mean_i v_i `[token]`.
    pub pooled: Array1<T>,
    /// The detectors' outputs l `[detected]`.
    pub detections: Array1<T>,
    /// How probably each known word stands in the caption before calibration `[words]`: 1 - prod_t (1 - p_t).
    pub said: Array1<T>,
    /// z along that caption `[steps, feature]`.
    pub z: Array2<T>,
}

impl<T: Real> References<T> {
    /// Looks at the ordinary pictures once.
    #[must_use]
    pub fn new(parts: ReferenceParts<T>) -> Self {
        let pooled = &parts.pooled;
        let mean = pooled.mean_axis(Axis(0)).unwrap_or_else(|| Array1::zeros(pooled.ncols()));
        let mut directions = pooled - &mean;
        for mut row in directions.rows_mut() {
            normalise(&mut row);
        }
        let count = real::<T>(pooled.nrows().max(1) as f64);
        let usual = parts.detections.mapv(sigmoid).sum_axis(Axis(0)).mapv(|sum| sum / count);
        let usual_odds = usual.mapv(|usual| (usual / (T::one() - usual)).ln());
        Self { mean, directions, usual, usual_odds, parts }
    }

    /// The direction `[token]` of a pooled visual vector from the ordinary pictures' mean.
    #[must_use]
    pub fn direction(&self, pooled: &ArrayView1<T>) -> Array1<T> {
        let mut direction = pooled - &self.mean;
        normalise(&mut direction.view_mut());
        direction
    }

    /// The cosine of a direction with that of the ordinary picture that is most like it.
    #[must_use]
    pub fn nearest(&self, direction: &Array1<T>) -> T {
        self.directions.dot(direction).fold(-T::one(), |nearest, &cosine| nearest.max(cosine))
    }

    /// Cosines `[references, columns]` of the ordinary pictures with directions `[columns, token]`.
    pub(super) fn cosines(&self, directions: &ArrayView2<T>) -> Array2<T> {
        self.directions.dot(&directions.t())
    }

    /// How probably each known word is said of an ordinary picture `[words]`.
    pub(super) fn said(&self) -> &Array1<T> {
        &self.parts.said
    }

    /// How probably a word of the mixture is said of an ordinary picture.
    pub(super) fn usually_said(&self, mixture: &Array1<T>) -> T {
        mixture.dot(&self.parts.said)
    }

    /// How much more surely the detectors see a mixture of words than in an ordinary picture, in nats: the mean over the
    /// mixture's words that have one of its output, less the log-odds of how often it sees the word. 0 where no word has one.
    pub(super) fn detected(&self, mixture: &ArrayView1<T>, detections: &Array1<T>) -> T {
        let mut shares: Array1<T> = self.parts.detected.iter().map(|&word| mixture[word]).collect();
        let total = shares.sum();
        if total < real(NO_DETECTOR) {
            return T::zero();
        }
        shares.mapv_inplace(|share| share / total);
        shares.dot(&(detections - &self.usual_odds))
    }

    /// How much more surely the detectors see each word in a picture than in an ordinary one `[words]`, in nats; 0 for words
    /// without a detector.
    pub(super) fn hints(&self, detections: &Array1<T>) -> Array1<T> {
        let mut hints = Array1::zeros(self.parts.said.len());
        for (place, &word) in self.parts.detected.iter().enumerate() {
            hints[word] = sigmoid(detections[place]).ln() - self.usual[place].ln();
        }
        hints
    }

    /// Width of the visual vectors.
    #[must_use]
    pub fn width(&self) -> usize {
        self.mean.len()
    }

    /// Cosine of two pictures' directions from the ordinary pictures' mean: 1 where they look the same.
    #[must_use]
    pub fn likeness(&self, a: &Observation<T>, b: &Observation<T>) -> T {
        self.direction(&a.pooled.view()).dot(&self.direction(&b.pooled.view()))
    }

    /// Observes a picture from its visual tokens v `[positions, token]` and the probabilities `[steps, words]` along its
    /// caption before calibration, where the decoder made z `[steps, feature]`.
    #[must_use]
    pub fn observe(
        &self,
        tokens: &ArrayView2<T>,
        probabilities: &ArrayView2<T>,
        z: Array2<T>,
    ) -> Observation<T> {
        Observation {
            pooled: tokens.mean_axis(Axis(0)).expect("a picture has positions"),
            detections: detect(&self.parts.detectors, tokens),
            said: said(probabilities),
            z,
        }
    }
}

/// The outputs l `[detected]` of detectors [A b G M] for a picture's visual tokens v `[positions, token]`.
#[must_use]
pub fn detect<T: Real>(detectors: &Array2<T>, tokens: &ArrayView2<T>) -> Array1<T> {
    let width = tokens.ncols();
    let pooled = tokens.mean_axis(Axis(0)).expect("a picture has positions");
    let highest = tokens.fold_axis(Axis(0), T::neg_infinity(), |a, &b| a.max(b));
    let part = |from: usize, to: usize| detectors.slice(s![.., from..to]);
    // [detected, positions]
    let local = part(0, width).dot(&tokens.t());
    let positions = real::<T>((tokens.nrows() as f64).ln());
    let local: Array1<T> = local.rows().into_iter().map(|row| log_sum_exp(&row) - positions).collect();
    local
        + detectors.column(width)
        + part(width + 1, 2 * width + 1).dot(&pooled)
        + part(2 * width + 1, 3 * width + 1).dot(&highest)
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

/// Of a population; a deviation of 0 is counted as 1, since nothing can then be compared.
pub(super) fn mean_and_deviation<T: Real>(values: impl Iterator<Item = T> + Clone) -> [T; 2] {
    let count = real::<T>(values.clone().count().max(1) as f64);
    let mean = values.clone().fold(T::zero(), |a, b| a + b) / count;
    let variance = values.fold(T::zero(), |a, b| a + (b - mean) * (b - mean)) / count;
    [mean, if variance > T::zero() { variance.sqrt() } else { T::one() }]
}
