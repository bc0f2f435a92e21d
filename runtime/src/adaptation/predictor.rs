//! The next word's distribution after calibration.
//!
//! ```text
//! p(w | z, picture) = g ((1 - mu) softmax(l_adapted(z) + shift)_w + mu p_memory(w | z, picture)) + (1 - g) softmax(l_initial(z))_w
//! ```
//!
//! g is the share that the picture's gate gives to what was learned, `shift` moves the logits of new words by the picture's
//! evidence for each of them, and mu is the memory's share. At g = 0 a picture is captioned as it was before calibration.

use metalens_models::MemoryBlend;
use ndarray::{Array2, ArrayView2, Axis, s};

use super::familiarity::Gate;
use super::head::{Head, softmaxes};
use super::inner_loop::Adapted;
use super::memory::Memory;
use super::real::{Real, real};

/// Something that has logits.
pub trait Logits<T> {
    /// Logits `[tokens, words]` of z `[tokens, feature]`.
    fn logits(&self, z: &ArrayView2<T>) -> Array2<T>;
}

impl<T: Real> Logits<T> for Head<T> {
    fn logits(&self, z: &ArrayView2<T>) -> Array2<T> {
        Self::logits(self, z)
    }
}

impl<T: Real> Logits<T> for Adapted<T> {
    fn logits(&self, z: &ArrayView2<T>) -> Array2<T> {
        Self::logits(self, z)
    }
}

/// Whose next word is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a, T> {
    /// The picture's gate.
    pub gate: &'a Gate<T>,
    /// The new words that the caption has already, counted from the first one.
    pub already: &'a [usize],
}

/// Shares below this are not worth computing a head for.
pub(super) const NEGLIGIBLE: f64 = 1e-4;
/// What a new word loses that stands in the caption already, where it is shifted at all.
const ONCE: f64 = 20.0;

/// What the blend is made of.
pub(super) struct Predictor<'a, T, H> {
    /// The head before calibration; it knows no new word.
    pub initial: &'a Head<T>,
    /// The head after calibration.
    pub adapted: &'a H,
    /// The support's words.
    pub memory: &'a Memory<T>,
    /// How much they count.
    pub blend: MemoryBlend,
    /// How many new words there are.
    pub new_words: usize,
}

impl<T: Real, H: Logits<T>> Predictor<'_, T, H> {
    /// Probabilities `[rows, words]`, new words included, of the words after z `[rows, feature]`.
    pub fn probabilities(&self, z: &ArrayView2<T>, asked: &[Row<T>]) -> Array2<T> {
        let known = self.initial.words();
        let mut total = Array2::zeros((z.nrows(), known + self.new_words));
        let negligible = real::<T>(NEGLIGIBLE);
        let unlearned = |row: usize| T::one() - asked[row].gate.share;
        each(
            z,
            |row| unlearned(row) > negligible,
            |rows, z| {
                for (p, &row) in self.initial.probabilities(z).rows().into_iter().zip(rows) {
                    let mut total = total.row_mut(row);
                    total.slice_mut(s![..known]).scaled_add(unlearned(row), &p);
                }
            },
        );
        each(
            z,
            |row| asked[row].gate.share > negligible,
            |rows, z| {
                let some: Vec<Row<T>> = rows.iter().map(|&row| asked[row]).collect();
                let learned = self.learned(self.adapted.logits(z), z, &some);
                for ((p, &row), Row { gate, .. }) in learned.rows().into_iter().zip(rows).zip(some) {
                    total.row_mut(row).scaled_add(gate.share, &p);
                }
            },
        );
        total
    }

    /// What was learned `[rows, words]`, without its share, from the adapted head's `logits` of z.
    pub fn learned(&self, mut logits: Array2<T>, z: &ArrayView2<T>, asked: &[Row<T>]) -> Array2<T> {
        let known = self.initial.words();
        for (mut logits, Row { gate, already }) in logits.rows_mut().into_iter().zip(asked) {
            for (word, &shift) in gate.shifts.iter().enumerate() {
                let once = if already.contains(&word) { real(ONCE) } else { T::zero() };
                logits[known + word] += shift - once;
            }
        }
        let mut p = softmaxes(logits);
        if self.blend.share > 0.0 {
            let share = real::<T>(self.blend.share);
            let cosines: Vec<_> = asked.iter().map(|row| row.gate.cosines.view()).collect();
            let recalled = self.memory.recall(z, &cosines, self.blend);
            p.mapv_inplace(|p| p * (T::one() - share));
            for (mut p, recalled) in p.rows_mut().into_iter().zip(recalled.rows()) {
                for (&word, &probability) in self.memory.words.iter().zip(recalled) {
                    p[word] += share * probability;
                }
            }
        }
        p
    }
}

/// Calls `work` with the rows that are `wanted`, if there is one.
fn each<T: Real>(
    z: &ArrayView2<T>,
    wanted: impl Fn(usize) -> bool,
    work: impl FnOnce(&[usize], &ArrayView2<T>),
) {
    let rows: Vec<usize> = (0..z.nrows()).filter(|&row| wanted(row)).collect();
    if rows.len() == z.nrows() {
        work(&rows, z);
    } else if !rows.is_empty() {
        work(&rows, &z.select(Axis(0), &rows).view());
    }
}
