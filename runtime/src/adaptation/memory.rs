//! A memory of the support set's words: the nearest-neighbour half of a kNN language model (Khandelwal et al. 2020,
//! equations 2 and 3), with all tokens of the support as neighbours, and the pictures' likeness beside the tokens'.
//!
//! ```text
//! d_n = |(z - z_n) / scale|^2 / usual + picture (1 - cos(q, s_n))        s_n: the picture of token n
//! p_memory(w | z, q) = sum over n with target_n = w of  softmax_n(- d_n / temperature)
//! ```
//!
//! `scale` is the spread of each number of z over the support, and a tenth of the mean spread, so that numbers that hardly vary
//! do not rule; `usual` is the mean squared distance between two tokens of the support.

use metalens_models::MemoryBlend;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};

use super::head::softmax;
use super::real::{Real, real};

/// Added to every spread, as a share of the mean one.
const LEAST_SPREAD: f64 = 0.1;

/// What was said where, in the support set.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory<T> {
    /// What z is divided by `[feature]`.
    pub scale: Array1<T>,
    /// z / scale of every token `[tokens, feature]`.
    pub keys: Array2<T>,
    /// Squared length of each key.
    lengths: Array1<T>,
    /// Mean squared distance between two tokens.
    usual: T,
    /// The word after each.
    pub words: Vec<usize>,
    /// The picture of each.
    pub pictures: Vec<usize>,
}

impl<T: Real> Memory<T> {
    /// Remembers tokens z `[tokens, feature]`.
    #[must_use]
    pub fn new(z: &Array2<T>, words: Vec<usize>, pictures: Vec<usize>) -> Self {
        let spread = z.std_axis(Axis(0), T::zero());
        let mean = spread.mean().unwrap_or_else(T::zero);
        let scale = if mean > T::zero() {
            spread.mapv(|spread| spread + mean * real(LEAST_SPREAD))
        } else {
            Array1::ones(z.ncols())
        };
        Self::of_keys(z / &scale, scale, words, pictures)
    }

    /// The memory with these keys, such as one that was kept.
    #[must_use]
    pub fn of_keys(keys: Array2<T>, scale: Array1<T>, words: Vec<usize>, pictures: Vec<usize>) -> Self {
        let lengths = keys.rows().into_iter().map(|key| key.dot(&key)).collect();
        Self { usual: usual(&keys), lengths, keys, scale, words, pictures }
    }

    /// The remembered captions without the word `end` that ends them, each with its picture.
    pub fn captions(&self, end: usize) -> impl Iterator<Item = (&[usize], usize)> {
        let mut from = 0;
        // A caption that was cut has no end; it is over where the next picture's begin, and else runs into the next one.
        std::iter::from_fn(move || {
            let picture = *self.pictures.get(from)?;
            let rest = self.words[from..].iter().zip(&self.pictures[from..]);
            let length = rest.take_while(|(word, other)| **word != end && **other == picture).count();
            let words = &self.words[from..][..length];
            from += length + usize::from(self.words.get(from + length) == Some(&end));
            Some((words, picture))
        })
    }

    /// Probabilities `[rows, tokens]` of the remembered tokens after z `[rows, feature]`; `cosines[r]` are those of row r's
    /// picture with the support's pictures.
    #[must_use]
    pub fn recall(&self, z: &ArrayView2<T>, cosines: &[ArrayView1<T>], blend: MemoryBlend) -> Array2<T> {
        let queries = z / &self.scale;
        // |q - k|^2 = |q|^2 - 2 q k + |k|^2; |q|^2 is the same for every key.
        let mut scores = queries.dot(&self.keys.t());
        let two = real::<T>(2.0);
        let (picture, temperature) = (real::<T>(blend.picture), real::<T>(blend.temperature));
        for (mut row, cosines) in scores.rows_mut().into_iter().zip(cosines) {
            for (n, score) in row.iter_mut().enumerate() {
                let unlike = T::one() - cosines[self.pictures[n]];
                *score = ((two * *score - self.lengths[n]) / self.usual - picture * unlike) / temperature;
            }
            softmax(&mut row);
        }
        scores
    }
}

/// Mean squared distance between two tokens, each with itself included; 1 where all are the same.
fn usual<T: Real>(keys: &Array2<T>) -> T {
    let count = real::<T>(keys.nrows().max(1) as f64);
    let mean = keys.sum_axis(Axis(0)) / count;
    let second = keys.iter().fold(T::zero(), |sum, &x| sum + x * x) / count;
    let usual = real::<T>(2.0) * (second - mean.dot(&mean));
    if usual > T::zero() { usual } else { T::one() }
}
