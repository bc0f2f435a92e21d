//! Calibration: a pure function of the initialization and the support set.
//!
//! It always starts from the initialization, and does not depend on the order of the samples: they are sorted first.

use std::collections::BTreeSet;

use metalens_models::{InnerLoop, MemoryBlend};
use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate};

use super::BARRED;
use super::consensus::Consensus;
use super::familiarity::{Familiarity, Gate};
use super::head::{Head, Tokens};
use super::inner_loop::{Adapted, adapt};
use super::memory::Memory;
use super::predictor::{Logits, NEGLIGIBLE, Predictor, Row};
use super::real::{Real, real};
use super::references::{Observation, References};
use super::rows::{DOUBT, SURPRISING, doubt, mixtures, with_rows};
use super::usage::{Usage, usages};

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
    /// The loss of each before calibration, in nats; of a new word, that of a guess among all known words.
    before: Array1<T>,
}

impl<T: Real> Read<T> {
    /// A caption, and how probable `head`, the initialization, finds it.
    #[must_use]
    pub fn new(head: &Head<T>, z: Array2<T>, targets: Vec<usize>) -> Self {
        let known = head.words();
        let probabilities = head.probabilities(&z.view());
        let loss = |(n, &target): (usize, &usize)| {
            let p = if target < known { probabilities[[n, target]] } else { real::<T>(known as f64).recip() };
            -p.max(T::min_positive_value()).ln()
        };
        let before = targets.iter().enumerate().map(loss).collect();
        Self { z, targets, before }
    }

    /// The losses of words before calibration, of those of the `known` ones among the first `count`.
    fn losses(&self, known: usize, count: usize) -> impl Iterator<Item = T> {
        let first = self.targets.iter().zip(&self.before).take(count);
        first.filter(move |(target, _)| **target < known).map(|(_, &loss)| loss)
    }

    /// How little each position says of what could stand there; see `rows`.
    pub(super) fn doubts(&self, known: usize) -> impl Iterator<Item = T> {
        let whole = mean(self.losses(known, self.targets.len()));
        (0..self.targets.len()).map(move |n| doubt(whole.max(mean(self.losses(known, n)))))
    }
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

/// Losses that differ by less, as a share, are the same: where held-out pictures can tell nothing of what was learned.
const ROUNDING: f64 = 1e-4;

impl<T: Real> Losses<T> {
    /// Whether captions are less probable after calibration, beyond what rounding makes of them.
    #[must_use]
    pub fn is_worse(&self) -> bool {
        let least = self.before * real(1.0 + ROUNDING);
        self.after > least || self.after.is_nan()
    }
}

/// How much one picture's detections may speak against a word and for it, in nats.
const LEAST_HINT: f64 = -2.5;
const MOST_HINT: f64 = 6.0;
/// A word that is said of more ordinary pictures is no name for a thing.
const USUAL: f64 = 0.5;
/// Captions that have fewer known words between them, such as "this is a" and a new one, tell of how they are written more than of
/// a place.
const FEWEST_WORDS: usize = 8;
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
        let pictures: Vec<usize> = support
            .iter()
            .enumerate()
            .flat_map(|(picture, shown)| {
                shown.captions.iter().flat_map(move |c| c.targets.iter().map(move |_| picture))
            })
            .collect();
        let memory = Memory::new(&tokens.z, tokens.targets.clone(), pictures);
        let usages = usages(memory.captions(self.end), known, new_words, support.len());
        let observations: Vec<&Observation<T>> = support.iter().map(|shown| &shown.observation).collect();
        let familiarity = Familiarity::new(
            &self.references,
            &self.schedule.familiarity,
            &observations,
            surprise(support, known),
        );
        // The detectors know ordinary things, and of a place every caption is a surprise.
        let (hints, doubts) = if familiarity.is_place() {
            (Array2::zeros((new_words, known)), vec![real(DOUBT); tokens.targets.len()])
        } else {
            let reads = support.iter().flat_map(|shown| &shown.captions);
            (self.hints(support, &usages), reads.flat_map(|read| read.doubts(known)).collect())
        };
        let mixtures = mixtures(&self.head, &tokens.z.view(), &tokens.targets, &doubts, &hints, self.end);
        let mut start = with_rows(&self.head, &mixtures, self.schedule.new_words.offset);
        for (word, usage) in usages.iter().enumerate() {
            if usage.pictures.is_empty() {
                start.bias_2[known + word] = real(BARRED);
            }
        }
        let familiarity = familiarity.with_words(&self.references, &mixtures, usages);
        Calibrated {
            memory,
            head: adapt(start, &tokens, &self.schedule_for(&familiarity)),
            familiarity,
            new_words,
        }
    }

    /// What speaks for a support being a place of its own: alone and surprise.
    #[must_use]
    pub fn place_features(&self, support: &[Shown<T>]) -> [T; 2] {
        let observations: Vec<&Observation<T>> = support.iter().map(|shown| &shown.observation).collect();
        let alone = Familiarity::alone(&self.references, &self.schedule.familiarity, &observations);
        let support: Vec<&Shown<T>> = support.iter().collect();
        [alone, surprise(&support, self.head.words())]
    }

    /// A support set that shows new things among ordinary pictures has less to change than a place of its own, or than one that
    /// says known things in another way: there the first layer rests, and steps are smaller, or none.
    pub(crate) fn schedule_for(&self, familiarity: &Familiarity<T>) -> InnerLoop {
        let mut schedule = self.schedule.clone();
        if !familiarity.is_place() && !familiarity.words.is_empty() {
            let share = schedule.new_words.steps;
            if share == 0.0 {
                schedule.steps = 0;
            }
            for alpha in &mut schedule.alpha {
                *alpha = [0.0, alpha[1] * share];
            }
        }
        schedule
    }

    /// What else is known of the new words `[new words, words]`, in nats, beside the decoder's own guesses: what the detectors
    /// see in their pictures, that a word that stands elsewhere in the same caption is hardly the same, and that nothing is named by
    /// a word that most captions hold.
    fn hints(&self, support: &[&Shown<T>], usages: &[Usage]) -> Array2<T> {
        let known = self.head.words();
        let mut hints = Array2::zeros((usages.len(), known));
        for (word, usage) in usages.iter().enumerate() {
            let mut row = hints.row_mut(word);
            let usual = self.references.said().iter().map(|&share| share > real(USUAL));
            row.iter_mut().zip(usual).filter(|(_, usual)| *usual).for_each(|(hint, _)| *hint = real(BARRED));
            for &picture in &usage.pictures {
                let seen = self.references.hints(&support[picture].observation.detections);
                let says = |c: &&Read<T>| c.targets.contains(&(known + word));
                for caption in support[picture].captions.iter().filter(says) {
                    let weight = real::<T>(self.schedule.new_words.detectors);
                    let clipped = seen.mapv(|hint| weight * hint.max(real(LEAST_HINT)).min(real(MOST_HINT)));
                    row += &clipped;
                    let mut elsewhere: Vec<usize> = caption.targets.clone();
                    elsewhere.sort_unstable();
                    elsewhere.dedup();
                    for other in elsewhere.into_iter().filter(|&other| other < known) {
                        row[other] = row[other] - T::one();
                    }
                }
            }
        }
        hints
    }

    /// All tokens of a support set, those of new words weighing more.
    fn tokens(&self, support: &[&Shown<T>]) -> Tokens<T> {
        let captions = || support.iter().flat_map(|shown| &shown.captions);
        let views: Vec<ArrayView2<T>> = captions().map(|caption| caption.z.view()).collect();
        let targets: Vec<usize> = captions().flat_map(|caption| caption.targets.iter().copied()).collect();
        let known = self.head.words();
        let weight =
            |target: &usize| if *target < known { T::one() } else { real(self.schedule.new_words.weight) };
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
    pub fn gate<H: Logits<T>>(&self, calibrated: &Calibrated<T, H>, picture: &Observation<T>) -> Gate<T> {
        let logits = calibrated.head.logits(&picture.z.view());
        calibrated.familiarity.gate(&self.references, &self.schedule.familiarity, picture, &logits)
    }

    /// Probabilities `[rows, words]` of the words after z `[rows, feature]`.
    #[must_use]
    pub fn probabilities<H: Logits<T>>(
        &self,
        calibrated: &Calibrated<T, H>,
        z: &ArrayView2<T>,
        asked: &[Row<T>],
    ) -> Array2<T> {
        self.predictor(calibrated).probabilities(z, asked)
    }

    fn predictor<'a, H>(&'a self, calibrated: &'a Calibrated<T, H>) -> Predictor<'a, T, H> {
        Predictor {
            initial: &self.head,
            adapted: &calibrated.head,
            memory: &calibrated.memory,
            blend: self.blend(calibrated),
            new_words: calibrated.new_words,
        }
    }

    /// What the support's captions agree on; none where it is no place of its own, or the bundle does not ask for it.
    #[must_use]
    pub fn consensus<H>(&self, calibrated: &Calibrated<T, H>) -> Option<Consensus<T>> {
        let temperature = self.schedule.consensus.filter(|_| calibrated.familiarity.is_place())?;
        Some(Consensus::new(&calibrated.memory, self.end, temperature))
    }

    /// The memory is for places: of new things among ordinary pictures it would repeat whole captions.
    fn blend<H>(&self, calibrated: &Calibrated<T, H>) -> MemoryBlend {
        let blend = self.schedule.memory;
        if calibrated.familiarity.is_place() { blend } else { MemoryBlend { share: 0.0, ..blend } }
    }

    /// The losses of a picture's captions before and after a calibration that has this gate for it, and how many tokens they are
    /// the mean of. A new word counts, at worst, as guessed among all known words; one that is lifted is to be said somewhere
    /// along the caption that is read.
    #[must_use]
    pub fn losses<H: Logits<T>>(
        &self,
        calibrated: &Calibrated<T, H>,
        gate: &Gate<T>,
        shown: &Shown<T>,
    ) -> (Losses<T>, usize) {
        let known = self.head.words();
        let guess = real::<T>(known as f64).recip();
        let (mut before, mut after, mut tokens) = (T::zero(), T::zero(), 0);
        for read in &shown.captions {
            let learned = self.learned(calibrated, gate, read);
            for (n, &target) in read.targets.iter().enumerate() {
                let is_new = target >= known;
                let initial = if is_new { T::zero() } else { (-read.before[n]).exp() };
                let mut p = (T::one() - gate.share) * initial;
                if let Some(learned) = &learned {
                    p += gate.share * learned[[n, target]];
                }
                before += read.before[n];
                after = after - p.max(if is_new { guess } else { T::min_positive_value() }).ln();
                tokens += 1;
            }
        }
        let count = real::<T>(tokens.max(1) as f64);
        (Losses { before: before / count, after: after / count }, tokens)
    }

    /// What a picture's calibration would say `[words + 1, words]` after each word of a caption that is read, without its share;
    /// none where that share is negligible. As when captions are made, a new word that was read already is hardly said again.
    fn learned<H: Logits<T>>(
        &self,
        calibrated: &Calibrated<T, H>,
        gate: &Gate<T>,
        read: &Read<T>,
    ) -> Option<Array2<T>> {
        if gate.share <= real(NEGLIGIBLE) {
            return None;
        }
        let known = self.head.words();
        let logits = calibrated.head.logits(&read.z.view());
        // The word of which there is evidence is to be said somewhere in this caption, not where the one before has room.
        let lifted = gate.lifted.map(|_| gate.along(&logits));
        let gate = lifted.as_ref().unwrap_or(gate);
        let new_words: Vec<usize> =
            read.targets.iter().filter_map(|target| target.checked_sub(known)).collect();
        let mut said = 0;
        let row = |&target: &usize| {
            let row = Row { gate, already: &new_words[..said] };
            said += usize::from(target >= known);
            row
        };
        let asked: Vec<Row<T>> = read.targets.iter().map(row).collect();
        Some(self.predictor(calibrated).learned(logits, &read.z.view(), &asked))
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
                let chosen =
                    support.iter().enumerate().filter(move |(place, _)| (place % folds == fold) == out);
                chosen.map(|(_, shown)| *shown).collect::<Vec<_>>()
            };
            let calibrated = self.fit(&part(false), new_words);
            for shown in part(true) {
                let gate = self.gate(&calibrated, &shown.observation);
                let (losses, count) = self.losses(&calibrated, &gate, shown);
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

/// The mean loss of the known words of a support set's captions before calibration; where these are few, no more than ordinary
/// captions may have.
pub(super) fn surprise<T: Real>(support: &[&Shown<T>], known: usize) -> T {
    let reads = || support.iter().flat_map(|shown| &shown.captions);
    let surprise = mean(reads().flat_map(|read| read.losses(known, read.targets.len())));
    let words: BTreeSet<usize> = reads().flat_map(|read| read.targets.iter().copied()).collect();
    if words.range(..known).count() < FEWEST_WORDS { surprise.min(real(SURPRISING)) } else { surprise }
}

/// 0 of nothing.
fn mean<T: Real>(values: impl Iterator<Item = T>) -> T {
    let (sum, count) = values.fold((T::zero(), 0), |(sum, count), value| (sum + value, count + 1));
    sum / real(f64::from(count.max(1)))
}

/// An order of samples that depends on what they are and not on where they stand.
fn order<T: Real>(a: &Shown<T>, b: &Shown<T>) -> std::cmp::Ordering {
    let words = |shown: &Shown<T>| shown.captions.iter().map(|c| c.targets.clone()).collect::<Vec<_>>();
    let numbers = |shown: &Shown<T>| shown.observation.pooled.iter().map(|x| x.to_f64()).collect::<Vec<_>>();
    words(a)
        .cmp(&words(b))
        .then_with(|| numbers(a).partial_cmp(&numbers(b)).unwrap_or(std::cmp::Ordering::Equal))
}
