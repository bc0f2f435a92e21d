//! The next word's distribution after calibration.
//!
//! ```text
//! p(w | z, picture) = g ((1 - mu) softmax(l_adapted(z) + shift)_w + mu p_memory(w | z)) + (1 - g) softmax(l_initial(z))_w
//! ```
//!
//! g is the picture's familiarity, `shift` moves the logits of new words by the picture's evidence for each of them, and mu is
//! the memory's share. At g = 0 a picture is captioned as it was before calibration.

use metalens_models::MemoryBlend;
use ndarray::{Array2, ArrayView2, Axis};

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

/// Shares below this are not worth computing a head for.
const NEGLIGIBLE: f64 = 1e-4;

/// What the blend is made of.
pub struct Predictor<'a, T, H> {
    /// The head before calibration; it knows no new word.
    pub initial: &'a Head<T>,
    /// The head after calibration.
    pub adapted: &'a H,
    /// The support's words.
    pub memory: &'a Memory<T>,
    /// How much they count.
    pub blend: MemoryBlend,
}

impl<T: Real, H: Logits<T>> Predictor<'_, T, H> {
    /// Probabilities `[rows, words]`, new words included, of the words after z `[rows, feature]`; `gates` has the gate of
    /// each row's picture.
    #[must_use]
    pub fn probabilities(&self, z: &ArrayView2<T>, gates: &[&Gate<T>], new_words: usize) -> Array2<T> {
        let known = self.initial.words();
        let mut total = Array2::zeros((z.nrows(), known + new_words));
        let negligible = real::<T>(NEGLIGIBLE);
        let unfamiliar = |row: usize| T::one() - gates[row].familiarity;
        self.each(z, |row| unfamiliar(row) > negligible, |rows, z| {
            for (p, &row) in self.initial.probabilities(z).rows().into_iter().zip(rows) {
                let mut total = total.row_mut(row);
                total.slice_mut(ndarray::s![..known]).scaled_add(unfamiliar(row), &p);
            }
        });
        let share = real::<T>(self.blend.share);
        self.each(z, |row| gates[row].familiarity > negligible, |rows, z| {
            let mut logits = self.adapted.logits(z);
            for (mut logits, &row) in logits.rows_mut().into_iter().zip(rows) {
                for (logit, &shift) in logits.iter_mut().skip(known).zip(&gates[row].shifts) {
                    *logit += shift;
                }
            }
            for (p, &row) in softmaxes(logits).rows().into_iter().zip(rows) {
                total.row_mut(row).scaled_add(gates[row].familiarity * (T::one() - share), &p);
            }
            if self.blend.share > 0.0 {
                self.memory.recall(z, self.blend.temperature, |row, word, p| {
                    total[[rows[row], word]] += gates[rows[row]].familiarity * share * p;
                });
            }
        });
        total
    }

    /// Calls `work` with the rows that are `wanted`, if there is one.
    fn each(
        &self,
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
}
