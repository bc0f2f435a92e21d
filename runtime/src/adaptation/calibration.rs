//! Calibration: a pure function of the initialization and the support set.
//!
//! It always starts from the initialization, and does not depend on the order of the samples: they are sorted first.

use metalens_models::InnerLoop;
use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate};

use super::BARRED;
use super::familiarity::{Familiarity, Gate};
use super::head::{Head, Tokens};
use super::inner_loop::{Adapted, adapt};
use super::memory::Memory;
use super::predictor::{Logits, Predictor};
use super::real::{Real, real};
use super::references::{Observation, References};
use super::rows::{mixtures, with_rows};

/// Where calibration starts: what a bundle carries for it.
#[derive(Clone, Debug)]
pub struct Initialization<T> {
    /// The head, for the known words.
    pub head: Head<T>,
    /// The token that ends captions.
    pub end: usize,
    /// Ordinary pictures and detectors.
    pub references: References<T>,
    /// The meta-learned numbers.
    pub schedule: InnerLoop,
}

/// A picture of the support set, as the body sees it.
#[derive(Clone, Debug)]
pub struct Shown<T> {
    /// The picture.
    pub observation: Observation<T>,
    /// Its captions; new words are the targets from the number of known words on.
    pub captions: Vec<Read<T>>,
}

/// A caption that the decoder was made to read.
#[derive(Clone, Debug)]
pub struct Read<T> {
    /// z `[words + 1, feature]`.
    pub z: Array2<T>,
    /// The word after each, the end last.
    pub targets: Vec<usize>,
}

/// What calibration makes of a support set.
#[derive(Clone, Debug)]
pub struct Calibrated<T, H> {
    /// The adapted head, with a row for each new word.
    pub head: H,
    /// The support's words.
    pub memory: Memory<T>,
    /// Where it applies.
    pub familiarity: Familiarity<T>,
    /// New words.
    pub new_words: usize,
}

/// Mean losses per token, in nats.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Losses<T> {
    /// Of the initialization.
    pub before: T,
    /// After calibration.
    pub after: T,
}

/// Beyond so many pictures, several are held out at a time.
const MOST_FOLDS: usize = 10;

impl<T: Real> Initialization<T> {
    /// Calibrates on `support`, in which `new_words` words are new.
    #[must_use]
    pub fn calibrate(&self, support: &[Shown<T>], new_words: usize) -> Calibrated<T, Adapted<T>> {
        let mut support: Vec<&Shown<T>> = support.iter().collect();
        support.sort_by(|a, b| order(a, b));
        self.fit(&support, new_words)
    }

    fn fit(&self, support: &[&Shown<T>], new_words: usize) -> Calibrated<T, Adapted<T>> {
        let known = self.head.words();
        let tokens = self.tokens(support);
        let mixtures = mixtures(&self.head, &tokens.z.view(), &tokens.targets, new_words, self.end);
        let shown: Vec<Vec<usize>> = (0..new_words)
            .map(|word| {
                let says = |shown: &Shown<T>| shown.captions.iter().any(|c| c.targets.contains(&(known + word)));
                (0..support.len()).filter(|&picture| says(support[picture])).collect()
            })
            .collect();
        let mut start = with_rows(&self.head, &mixtures, self.schedule.new_words.offset);
        for (word, shown) in shown.iter().enumerate() {
            if shown.is_empty() {
                start.bias_2[known + word] = real(BARRED);
            }
        }
        let observations: Vec<&Observation<T>> = support.iter().map(|shown| &shown.observation).collect();
        let familiarity = Familiarity::new(
            &self.references,
            &self.schedule.familiarity,
            &observations,
            &mixtures,
            &shown,
        );
        Calibrated {
            memory: Memory::new(tokens.z.clone(), tokens.targets.clone()),
            head: adapt(start, &tokens, &self.schedule),
            familiarity,
            new_words,
        }
    }

    /// All tokens of a support set, those of new words weighing more.
    fn tokens(&self, support: &[&Shown<T>]) -> Tokens<T> {
        let captions = || support.iter().flat_map(|shown| &shown.captions);
        let views: Vec<ArrayView2<T>> = captions().map(|caption| caption.z.view()).collect();
        let targets: Vec<usize> = captions().flat_map(|caption| caption.targets.iter().copied()).collect();
        let known = self.head.words();
        let weight = |target: &usize| if *target < known { T::one() } else { real(self.schedule.new_words.weight) };
        let weights: Array1<T> = targets.iter().map(weight).collect();
        let z = match views.as_slice() {
            [] => Array2::zeros((0, self.head.weight_1.ncols())),
            views => concatenate(Axis(0), views).expect("every z has the width of the head's input"),
        };
        let total = weights.sum();
        Tokens { z, targets, weights: weights / total }
    }

    /// The gate of a picture after calibration.
    #[must_use]
    pub fn gate<H>(&self, calibrated: &Calibrated<T, H>, picture: &Observation<T>) -> Gate<T> {
        calibrated.familiarity.gate(&self.references, &self.schedule.familiarity, picture)
    }

    /// Probabilities `[rows, words]` of the words after z `[rows, feature]`, each row with its picture's gate.
    #[must_use]
    pub fn probabilities<H: Logits<T>>(
        &self,
        calibrated: &Calibrated<T, H>,
        z: &ArrayView2<T>,
        gates: &[&Gate<T>],
    ) -> Array2<T> {
        let predictor = Predictor {
            initial: &self.head,
            adapted: &calibrated.head,
            memory: &calibrated.memory,
            blend: self.schedule.memory,
        };
        predictor.probabilities(z, gates, calibrated.new_words)
    }

    /// The losses of a picture's captions before and after a calibration, and how many tokens they are the mean of. A new
    /// word counts, at worst, as guessed among all known words.
    #[must_use]
    pub fn losses<H: Logits<T>>(&self, calibrated: &Calibrated<T, H>, shown: &Shown<T>) -> (Losses<T>, usize) {
        let gate = self.gate(calibrated, &shown.observation);
        let known = self.head.words();
        let guess = T::one() / real(known as f64);
        let (mut before, mut after, mut tokens) = (T::zero(), T::zero(), 0);
        for Read { z, targets } in &shown.captions {
            let initial = self.head.probabilities(&z.view());
            let adapted = self.probabilities(calibrated, &z.view(), &vec![&gate; targets.len()]);
            for (n, &target) in targets.iter().enumerate() {
                let floor = if target < known { T::min_positive_value() } else { guess };
                let was = if target < known { initial[[n, target]] } else { T::zero() };
                before = before - was.max(floor).ln();
                after = after - adapted[[n, target]].max(floor).ln();
                tokens += 1;
            }
        }
        let count = real::<T>(tokens.max(1) as f64);
        (Losses { before: before / count, after: after / count }, tokens)
    }

    /// Mean losses of pictures that were held out, each from a calibration on the others: one at a time, or in ten groups
    /// where there are more. `None` where there is but one picture.
    #[must_use]
    pub fn held_out(&self, support: &[Shown<T>], new_words: usize) -> Option<Losses<T>> {
        let mut support: Vec<&Shown<T>> = support.iter().collect();
        support.sort_by(|a, b| order(a, b));
        let folds = support.len().min(MOST_FOLDS);
        if folds < 2 {
            return None;
        }
        let (mut before, mut after, mut tokens) = (T::zero(), T::zero(), T::zero());
        for fold in 0..folds {
            let part = |out: bool| {
                let chosen = support.iter().enumerate().filter(move |(place, _)| (place % folds == fold) == out);
                chosen.map(|(_, shown)| *shown).collect::<Vec<_>>()
            };
            let calibrated = self.fit(&part(false), new_words);
            for shown in part(true) {
                let (losses, count) = self.losses(&calibrated, shown);
                let count = real::<T>(count as f64);
                before += losses.before * count;
                after += losses.after * count;
                tokens += count;
            }
        }
        Some(Losses { before: before / tokens, after: after / tokens })
    }
}

impl<T: Real> Calibrated<T, Adapted<T>> {
    /// With the head's changes added up.
    #[must_use]
    pub fn finish(self) -> Calibrated<T, Head<T>> {
        let Self { head, memory, familiarity, new_words } = self;
        Calibrated { head: head.into_head(), memory, familiarity, new_words }
    }
}

/// An order of samples that depends on what they are and not on where they stand.
fn order<T: Real>(a: &Shown<T>, b: &Shown<T>) -> std::cmp::Ordering {
    let words = |shown: &Shown<T>| shown.captions.iter().map(|c| c.targets.clone()).collect::<Vec<_>>();
    let numbers = |shown: &Shown<T>| shown.observation.pooled.iter().map(|x| x.to_f64()).collect::<Vec<_>>();
    words(a).cmp(&words(b)).then_with(|| {
        numbers(a).partial_cmp(&numbers(b)).unwrap_or(std::cmp::Ordering::Equal)
    })
}
