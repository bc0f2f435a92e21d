//! How far a calibration applies to a picture, and how much speaks for each new word.
//!
//! The evidence for a new word w, with m its mixture of known words (`rows`), q the picture and r the ordinary pictures:
//!
//! ```text
//! said     = log(sum_v m_v said_q,v + eps) - log(sum_v m_v said_r,v + eps)    would the caption say what w begins as?
//! detected = sum_d m_d (l_d(q) - mean_r l_d(r))                               do the detectors see it?
//! alike    = (cos(q, s) - mean_r cos(r, s)) / std_r cos(r, s)                 s: mean of w's support pictures
//! c        = max_v m_v                                                         is w a name for one known word?
//! evidence = c known . [said detected alike 1] + (1 - c) unknown . [said detected alike 1]
//! ```
//!
//! cos is taken of pooled visual vectors less their mean over the ordinary pictures. A support set may also be a place of its
//! own (aerial pictures, a workshop). How near a picture is to it is measured by its nearest support picture, on the scale of
//! how near ordinary pictures are:
//!
//! ```text
//! near(q)     = (max_s cos(q, s) - mean_r max_s cos(r, s)) / std_r max_s cos(r, s)
//! place(q)    = sigmoid(slope (near(q) - threshold))
//! apart       = mean over the support of place(s), s held out
//! familiarity = apart place(q) + (1 - apart) max(place(q), max_w sigmoid(gate (evidence_w - gate_threshold)))
//! shift_w     = (1 - apart) clamp(gain evidence_w + offset, -most, most)
//! ```

use metalens_models::Familiarity as Settings;
use ndarray::{Array1, Array2, Axis};

use super::references::{Observation, References, normalise};
use super::real::{Real, real};

/// How far a calibration applies to a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate<T> {
    /// From 0, as before calibration, to 1.
    pub familiarity: T,
    /// What is added to the logit of each new word.
    pub shifts: Vec<T>,
}

/// What a support set makes familiar.
#[derive(Clone, Debug, PartialEq)]
pub struct Familiarity<T> {
    /// Directions of the support's pictures `[pictures, token]`.
    pub support: Array2<T>,
    /// Mean and standard deviation of ordinary pictures' nearness.
    pub usual: [T; 2],
    /// How much the support is a place of its own.
    pub apart: T,
    /// The new words.
    pub words: Vec<Word<T>>,
}

/// A new word.
#[derive(Clone, Debug, PartialEq)]
pub struct Word<T> {
    /// m `[words]`.
    pub mixture: Array1<T>,
    /// Direction of the mean of its support pictures `[token]`.
    pub prototype: Array1<T>,
    /// Mean and standard deviation of ordinary pictures' cosines with it.
    pub usual: [T; 2],
}

/// Keeps logarithms finite.
const EPSILON: f64 = 1e-4;

impl<T: Real> Familiarity<T> {
    /// What `support` makes familiar. Row w of `mixtures` `[new words, words]` is new word w's, and `shown[w]` are the places
    /// in `support` of the pictures whose captions have it.
    #[must_use]
    pub fn new(
        references: &References<T>,
        settings: &Settings,
        support: &[&Observation<T>],
        mixtures: &Array2<T>,
        shown: &[Vec<usize>],
    ) -> Self {
        let directions: Vec<Array1<T>> =
            support.iter().map(|shown| references.direction(&shown.pooled.view())).collect();
        let mut matrix = Array2::zeros((directions.len(), references.width()));
        matrix.rows_mut().into_iter().zip(&directions).for_each(|(mut row, direction)| row.assign(direction));
        let nearness = references.cosines(&matrix.view());
        let usual = mean_and_deviation(nearness.rows().into_iter().map(|row| highest(row.iter().copied())));
        let held_out = |picture: usize| {
            let others = directions.iter().enumerate().filter(|(other, _)| *other != picture);
            let nearest = highest(others.map(|(_, other)| other.dot(&directions[picture])));
            place(settings, nearest, usual)
        };
        let apart = match directions.len() {
            0 | 1 => T::zero(),
            n => (0..n).map(held_out).fold(T::zero(), |a, b| a + b) / real(n as f64),
        };
        let words = mixtures.rows().into_iter().zip(shown).map(|(mixture, shown)| {
            let mut prototype = Array1::zeros(references.width());
            shown.iter().for_each(|&picture| prototype += &directions[picture]);
            normalise(&mut prototype.view_mut());
            let cosines = references.cosines(&prototype.view().insert_axis(Axis(0)));
            let usual = mean_and_deviation(cosines.iter().copied());
            Word { mixture: mixture.to_owned(), prototype, usual }
        });
        Self { words: words.collect(), support: matrix, usual, apart }
    }

    /// The evidence for each new word in a picture.
    #[must_use]
    pub fn evidence(&self, references: &References<T>, settings: &Settings, q: &Observation<T>) -> Vec<T> {
        let direction = references.direction(&q.pooled.view());
        self.words.iter().map(|word| word.evidence(references, settings, q, &direction)).collect()
    }

    /// The gate of a picture.
    #[must_use]
    pub fn gate(&self, references: &References<T>, settings: &Settings, q: &Observation<T>) -> Gate<T> {
        let direction = references.direction(&q.pooled.view());
        let place = place(settings, highest(self.support.dot(&direction)), self.usual);
        let evidence: Vec<T> =
            self.words.iter().map(|word| word.evidence(references, settings, q, &direction)).collect();
        let open = |&e: &T| sigmoid(real::<T>(settings.gate) * (e - real(settings.gate_threshold)));
        let thing = highest(evidence.iter().map(open).chain([place]));
        let most = real::<T>(settings.most);
        let shift = |&e: &T| {
            let shift = real::<T>(settings.gain) * e + real(settings.offset);
            (T::one() - self.apart) * shift.max(-most).min(most)
        };
        Gate {
            familiarity: self.apart * place + (T::one() - self.apart) * thing,
            shifts: evidence.iter().map(shift).collect(),
        }
    }
}

impl<T: Real> Word<T> {
    /// said, detected, alike and 1 of a picture in the direction `direction`.
    fn features(&self, references: &References<T>, q: &Observation<T>, direction: &Array1<T>) -> [T; 4] {
        let log = |share: T| (share + real(EPSILON)).ln();
        let said = log(self.mixture.dot(&q.said)) - log(references.usually_said(&self.mixture));
        let detected = references.detected(&self.mixture, &q.detections);
        let alike = (self.prototype.dot(direction) - self.usual[0]) / self.usual[1];
        [said, detected, alike, T::one()]
    }

    /// c, the largest share of a known word in the mixture.
    pub fn concentration(&self) -> T {
        highest(self.mixture.iter().copied())
    }

    fn evidence(
        &self,
        references: &References<T>,
        settings: &Settings,
        q: &Observation<T>,
        direction: &Array1<T>,
    ) -> T {
        let features = self.features(references, q, direction);
        let sum = |weights: &[f64; 4]| {
            features.iter().zip(weights).fold(T::zero(), |sum, (&x, &weight)| sum + x * real(weight))
        };
        let known = self.concentration();
        known * sum(&settings.known) + (T::one() - known) * sum(&settings.unknown)
    }
}

fn place<T: Real>(settings: &Settings, nearest: T, [mean, deviation]: [T; 2]) -> T {
    sigmoid(real::<T>(settings.slope) * ((nearest - mean) / deviation - real(settings.threshold)))
}

fn sigmoid<T: Real>(x: T) -> T {
    T::one() / (T::one() + (-x).exp())
}

fn highest<T: Real>(values: impl IntoIterator<Item = T>) -> T {
    values.into_iter().fold(T::neg_infinity(), T::max)
}

/// Of a population; a deviation of 0 is counted as 1, since nothing can then be compared.
fn mean_and_deviation<T: Real>(values: impl Iterator<Item = T> + Clone) -> [T; 2] {
    let count = real::<T>(values.clone().count().max(1) as f64);
    let mean = values.clone().fold(T::zero(), |a, b| a + b) / count;
    let variance = values.fold(T::zero(), |a, b| a + (b - mean) * (b - mean)) / count;
    [mean, if variance > T::zero() { variance.sqrt() } else { T::one() }]
}
