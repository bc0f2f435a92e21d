//! A memory of the support set's words: the nearest-neighbour half of a kNN language model (Khandelwal et al. 2020,
//! equations 2 and 3), with all tokens of the support as neighbours.
//!
//! ```text
//! p_memory(w | z) = sum over n with target_n = w of  softmax_n(- |scale (z - z_n)|^2 / temperature)
//! ```

use ndarray::{Array1, Array2, ArrayView1, ArrayView2};

use super::head::softmax;
use super::real::{Real, real};

/// What was said where, in the support set.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory<T> {
    /// `[tokens, feature]`.
    keys: Array2<T>,
    /// Squared length of each key.
    lengths: Array1<T>,
    /// The word after each.
    words: Vec<usize>,
}

impl<T: Real> Memory<T> {
    /// Remembers tokens.
    #[must_use]
    pub fn new(keys: Array2<T>, words: Vec<usize>) -> Self {
        let lengths = keys.rows().into_iter().map(|key| key.dot(&key)).collect();
        Self { keys, lengths, words }
    }

    /// Calls `add` with row, word and probability, for every token that is remembered and every row of z
    /// `[rows, feature]`.
    pub fn recall(&self, z: &ArrayView2<T>, temperature: f64, mut add: impl FnMut(usize, usize, T)) {
        // |z - k|^2 = |z|^2 - 2 z k + |k|^2; |z|^2 is the same for every key.
        let products = z.dot(&self.keys.t());
        for (row, products) in products.rows().into_iter().enumerate() {
            let mut scores = self.scores(&products, temperature);
            softmax(&mut scores.view_mut());
            for (&word, &score) in self.words.iter().zip(&scores) {
                add(row, word, score);
            }
        }
    }

    fn scores(&self, products: &ArrayView1<T>, temperature: f64) -> Array1<T> {
        let two = real::<T>(2.0);
        let temperature = real::<T>(temperature);
        products.iter().zip(&self.lengths).map(|(&p, &length)| (two * p - length) / temperature).collect()
    }
}
