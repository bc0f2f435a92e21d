//! How far a calibration applies to a picture, and how much speaks for each new word.
//!
//! A support set may be a place of its own, such as aerial pictures or a workshop. How near a picture q is to it is measured
//! by the support picture s that it is most like, on the scale of how near the ordinary pictures r of the bundle are; cos is
//! taken of pooled visual vectors less their mean over the ordinary pictures:
//!
//! ```text
//! near(q)  = (max_s cos(q, s) - mean_r max_s cos(r, s)) / std_r max_s cos(r, s)
//! place(q) = sigmoid(slope (near(q) - threshold))
//! alone    = mean over the support of place(s) [max_s' cos(s, s') > max_r cos(s, r)], s held out
//! surprise = mean of -log p(word) over the known words of the support's captions, p of the head before calibration
//!            3 at most, where these are fewer than 8 different words: "this is a" is no place
//! apart    = sigmoid(place . [alone surprise 1])       0 where alone < 0.1: captions alone make no place
//! ```
//!
//! Pictures of one thing, of water or of crowds, are alike as well; but the bundle's ordinary pictures show such things too, and
//! one of those is more like each of them than the rest of the support is; and what people say of them is no surprise. Where
//! `apart` is more than one half, the share of what was learned is `place(q)`, and new words are said where the head says them.
//! Else the support shows new things among ordinary pictures, and each new word w is a question of its own, with m its mixture
//! of known words (`rows`):
//!
//! ```text
//! said     = logit(sum_v m_v said_q,v) - logit(sum_v m_v said_r,v)     would the caption say what w begins as?
//! detected = sum_d m_d (l_d(q) - logit(mean_r sigmoid(l_d(r))))        do the detectors see it?
//! alike    = (cos(q, s) - mean_r cos(r, s)) / std_r cos(r, s)          s: mean of w's support pictures
//! c        = max_v m_v                                                 is w a name for one known word?
//! evidence = c known . [said detected alike 1] + (1 - c) unknown . [said detected alike 1] + log(frequency) / 2     (`usage`)
//!            and 1 at least, where cos(q, s) > 0.95 for one of w's support pictures s: the scene is seen again
//! ```
//!
//! Of the new words whose evidence is above 0, the most frequent one, of those the one of the lowest rank, and of those the
//! one with the most evidence, is lifted so that it would just be said once along the caption before calibration. (Where there are concepts, it is
//! one of them as well, and pointed at: then it is said more surely than that.) The
//! others are said where the head itself says them: a caption that has to hold several words which it did not plan for
//! falls apart. What there is no evidence for is not said.
//! With n_t the word's adapted logit at step t of that caption and o_t the highest logit of a known word:
//!
//! ```text
//! shift = - max_t (n_t - o_t) + clamp(evidence, 0.05, 1)    of that word
//!         0                                                 of others whose evidence is above 0
//!         - 50                                              of all others
//! ```

use std::cmp::Ordering;

use metalens_models::Familiarity as Settings;
use ndarray::{Array1, Array2, ArrayView1, Axis, s};

use super::head::sigmoid;
use super::real::{Real, real};
use super::references::{Observation, References, mean_and_deviation, normalise};
use super::usage::Usage;

/// How far a calibration applies to a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Gate<T> {
    /// From 0, where nothing of the support is in the picture, to 1.
    pub familiarity: T,
    /// The share of what was learned in the next word's distribution.
    pub share: T,
    /// The evidence for each new word.
    pub evidence: Vec<T>,
    /// What is added to the logit of each new word; empty where nothing is.
    pub shifts: Vec<T>,
    /// The new word that the caption should hold, counted from the first one.
    pub lifted: Option<usize>,
    /// Cosines with the support's pictures.
    pub cosines: Array1<T>,
}

/// What a support set makes familiar.
#[derive(Clone, Debug, PartialEq)]
pub struct Familiarity<T> {
    /// Directions of the support's pictures `[pictures, token]`.
    pub support: Array2<T>,
    /// Mean and standard deviation of ordinary pictures' nearness.
    pub usual: [T; 2],
    /// How surely the support is a place of its own, from 0 to 1.
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
    /// How the support's captions use it.
    pub usage: Usage,
}

/// A new word that the caption of a picture should hold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lifted {
    /// Which one, counted from the first.
    pub word: usize,
    /// The known word that it is most like, however little that is.
    pub like: usize,
    /// How surely the picture shows it, from 0 to 1.
    pub confidence: f32,
}

/// Pictures that are less alone show an ordinary scene, whatever is said of them.
const LEAST_ALONE: f64 = 0.1;
/// Keeps log-odds finite.
const EPSILON: f64 = 1e-3;
/// How clearly a word is said of which there is evidence, in nats.
const CLEARLY: [f64; 2] = [0.05, 1.0];
/// A picture that is so like one of the support shows the same scene again: there is no doubt about its words.
const AGAIN: f64 = 0.95;
/// How much it counts that a word is rare in the support.
const RARE: f64 = 0.5;
/// What keeps a word from being said.
const UNSAID: f64 = -50.0;

impl<T: Real> Familiarity<T> {
    /// Where `support` is, without its new words; `surprise` is what its captions are to the head before calibration, in nats.
    #[must_use]
    pub fn new(
        references: &References<T>,
        settings: &Settings,
        support: &[&Observation<T>],
        surprise: T,
    ) -> Self {
        let (matrix, usual, alone) = look(references, settings, support);
        // One picture is no place of its own.
        let apart = if support.len() < 2 { T::zero() } else { Self::apart(settings, [alone, surprise]) };
        Self { words: Vec::new(), support: matrix, usual, apart }
    }

    /// alone of a support.
    #[must_use]
    pub fn alone(references: &References<T>, settings: &Settings, support: &[&Observation<T>]) -> T {
        look(references, settings, support).2
    }

    /// apart of a support, from its alone and surprise.
    #[must_use]
    pub fn apart(settings: &Settings, [alone, surprise]: [T; 2]) -> T {
        let [by_alone, by_surprise, constant] = settings.place.map(real::<T>);
        if alone < real(LEAST_ALONE) {
            return T::zero();
        }
        sigmoid(by_alone * alone + by_surprise * surprise + constant)
    }

    /// With new words: row w of `mixtures` `[new words, words]` is new word w's, and captions use it as `usages[w]` says.
    #[must_use]
    pub fn with_words(self, references: &References<T>, mixtures: &Array2<T>, usages: Vec<Usage>) -> Self {
        let words = mixtures.rows().into_iter().zip(usages).map(|(mixture, usage)| {
            let mut prototype = Array1::zeros(references.width());
            usage.pictures.iter().for_each(|&picture| prototype += &self.support.row(picture));
            normalise(&mut prototype.view_mut());
            let cosines = references.cosines(&prototype.view().insert_axis(Axis(0)));
            let usual = mean_and_deviation(cosines.iter().copied());
            Word { mixture: mixture.to_owned(), prototype, usual, usage }
        });
        Self { words: words.collect(), ..self }
    }

    /// The new word that the caption of a picture with this gate should hold.
    #[must_use]
    pub fn lifted(&self, gate: &Gate<T>) -> Option<Lifted> {
        let word = gate.lifted?;
        let mixture = self.words[word].mixture.iter().enumerate();
        let (like, _) = mixture.max_by(|a, b| a.1.partial_cmp(b.1).unwrap_or(Ordering::Equal))?;
        Some(Lifted { word, like, confidence: sigmoid(gate.evidence[word]).to_f32().unwrap_or(0.0) })
    }

    /// Whether the support is a place of its own.
    #[must_use]
    pub fn is_place(&self) -> bool {
        self.apart > real(0.5)
    }

    /// near(q) of a pooled visual vector.
    #[must_use]
    pub fn near(&self, references: &References<T>, pooled: &ArrayView1<T>) -> T {
        let nearest = highest(self.support.dot(&references.direction(pooled)));
        (nearest - self.usual[0]) / self.usual[1]
    }

    /// The gate of a picture. `logits` `[steps, words]` are the adapted head's along the caption before calibration.
    #[must_use]
    pub fn gate(
        &self,
        references: &References<T>,
        settings: &Settings,
        q: &Observation<T>,
        logits: &Array2<T>,
    ) -> Gate<T> {
        let direction = references.direction(&q.pooled.view());
        let cosines = self.support.dot(&direction);
        let place = place(settings, highest(cosines.iter().copied()), self.usual);
        let evidence: Vec<T> = self
            .words
            .iter()
            .map(|word| word.evidence(references, settings, q, &direction, &cosines))
            .collect();
        if self.is_place() {
            return Gate {
                familiarity: place,
                share: place,
                evidence,
                shifts: Vec::new(),
                lifted: None,
                cosines,
            };
        }
        let seen = highest(evidence.iter().copied());
        // Of words with the same evidence, the last one.
        let order = |&a: &usize, &b: &usize| {
            let [one, other] = [a, b].map(|word| &self.words[word].usage);
            let usage = one.frequency.total_cmp(&other.frequency).then(other.rank.total_cmp(&one.rank));
            usage.then(evidence[a].partial_cmp(&evidence[b]).unwrap_or(Ordering::Equal))
        };
        let first = (0..evidence.len()).filter(|&word| evidence[word] > T::zero()).max_by(order);
        let shifts = shifts(&evidence, first, logits);
        let familiarity = place.max(sigmoid(seen));
        let share = if seen > T::zero() { T::one() } else { place };
        Gate { familiarity, share, shifts, lifted: first, evidence, cosines }
    }
}

impl<T: Real> Gate<T> {
    /// The gate of the same picture where the word that is lifted is to be said along another caption than that before
    /// calibration: `logits` `[steps, words]` are the adapted head's along that one.
    #[must_use]
    pub fn along(&self, logits: &Array2<T>) -> Self {
        Self { shifts: shifts(&self.evidence, self.lifted, logits), ..self.clone() }
    }
}

/// What is added to the logits of new words along a caption, of which the one that is `lifted` is just said.
fn shifts<T: Real>(evidence: &[T], lifted: Option<usize>, logits: &Array2<T>) -> Vec<T> {
    let known = logits.ncols() - evidence.len();
    let shift = |(word, &evidence): (usize, &T)| {
        if evidence <= T::zero() {
            return real(UNSAID);
        }
        if Some(word) != lifted {
            return T::zero();
        }
        let clearly = evidence.max(real(CLEARLY[0])).min(real(CLEARLY[1]));
        clearly - margin(logits, known, known + word)
    };
    evidence.iter().enumerate().map(shift).collect()
}

/// Directions of a support's pictures, the usual nearness to them, and alone.
fn look<T: Real>(
    references: &References<T>,
    settings: &Settings,
    support: &[&Observation<T>],
) -> (Array2<T>, [T; 2], T) {
    let directions: Vec<Array1<T>> =
        support.iter().map(|shown| references.direction(&shown.pooled.view())).collect();
    let mut matrix = Array2::zeros((directions.len(), references.width()));
    matrix.rows_mut().into_iter().zip(&directions).for_each(|(mut row, direction)| row.assign(direction));
    let cosines = references.cosines(&matrix.view());
    let nearness: Vec<T> = cosines.rows().into_iter().map(|row| highest(row.iter().copied())).collect();
    let usual = mean_and_deviation(nearness.into_iter());
    let held_out = |picture: usize| {
        let others = directions.iter().enumerate().filter(|(other, _)| *other != picture);
        let nearest = highest(others.map(|(_, other)| other.dot(&directions[picture])));
        let ordinary = references.nearest(&directions[picture]);
        if nearest > ordinary { place(settings, nearest, usual) } else { T::zero() }
    };
    let count = directions.len();
    let sum = (0..count).map(held_out).fold(T::zero(), |a, b| a + b);
    (matrix, usual, sum / real(count.max(1) as f64))
}

/// The largest lead of a new word over the known words along a caption.
fn margin<T: Real>(logits: &Array2<T>, known: usize, word: usize) -> T {
    highest(logits.rows().into_iter().map(|row| row[word] - highest(row.slice(s![..known]).iter().copied())))
}

impl<T: Real> Word<T> {
    /// said, detected, alike and 1 of a picture.
    #[must_use]
    pub fn features(&self, references: &References<T>, q: &Observation<T>) -> [T; 4] {
        self.features_in(references, q, &references.direction(&q.pooled.view()))
    }

    fn features_in(&self, references: &References<T>, q: &Observation<T>, direction: &Array1<T>) -> [T; 4] {
        let logit = |share: T| ((share + real(EPSILON)) / (T::one() - share + real(EPSILON))).ln();
        let said = logit(self.mixture.dot(&q.said)) - logit(references.usually_said(&self.mixture));
        let detected = references.detected(&self.mixture.view(), &q.detections);
        let alike = (self.prototype.dot(direction) - self.usual[0]) / self.usual[1];
        [said, detected, alike, T::one()]
    }

    /// c, the largest share of a known word in the mixture.
    #[must_use]
    pub fn concentration(&self) -> T {
        highest(self.mixture.iter().copied())
    }

    fn evidence(
        &self,
        references: &References<T>,
        settings: &Settings,
        q: &Observation<T>,
        direction: &Array1<T>,
        cosines: &Array1<T>,
    ) -> T {
        let features = self.features_in(references, q, direction);
        let sum = |weights: &[f64; 4]| {
            features.iter().zip(weights).fold(T::zero(), |sum, (&x, &weight)| sum + x * real(weight))
        };
        let known = self.concentration();
        let rare = real::<T>(RARE * self.usage.frequency.ln());
        let evidence = known * sum(&settings.known) + (T::one() - known) * sum(&settings.unknown) + rare;
        let is_again = self.usage.pictures.iter().any(|&picture| cosines[picture] > real(AGAIN));
        if is_again { evidence.max(real(CLEARLY[1])) } else { evidence }
    }
}

fn place<T: Real>(settings: &Settings, nearest: T, [mean, deviation]: [T; 2]) -> T {
    sigmoid(real::<T>(settings.slope) * ((nearest - mean) / deviation - real(settings.threshold)))
}

fn highest<T: Real>(values: impl IntoIterator<Item = T>) -> T {
    values.into_iter().fold(T::neg_infinity(), T::max)
}
