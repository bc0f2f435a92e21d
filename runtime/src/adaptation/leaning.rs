//! Which pictures a new word's row leans on.
//!
//! ```text
//! leaning(w, s) = |W_2[w] - W_2^{-s}[w]| / sum over s' of |W_2[w] - W_2^{-s'}[w]|
//! ```
//!
//! with W_2^{-s} of a calibration without the picture s: how far the row moves when the picture is left out, as a share.

use ndarray::{Array1, Array2};

use super::calibration::{Initialization, Shown};
use super::real::Real;

impl<T: Real> Initialization<T> {
    /// How much each new word's row leans on each picture of the support `[new words, pictures]`; a row's sum is 1. Of a
    /// single picture, all leans on it.
    #[must_use]
    pub fn leaning(&self, support: &[Shown<T>], new_words: usize) -> Array2<T> {
        let rows = |support: &[Shown<T>]| -> Vec<Array1<T>> {
            let head = self.calibrate(support, new_words).finish().head;
            (0..new_words).map(|word| head.weight_2.row(self.head.words() + word).to_owned()).collect()
        };
        let whole = rows(support);
        let mut leaning = Array2::from_elem((new_words, support.len()), T::one());
        if support.len() < 2 {
            return leaning;
        }
        for picture in 0..support.len() {
            let mut others = support.to_vec();
            others.remove(picture);
            for (word, (with, without)) in whole.iter().zip(rows(&others)).enumerate() {
                let moved = with - &without;
                leaning[[word, picture]] = moved.dot(&moved).sqrt();
            }
        }
        for mut row in leaning.rows_mut() {
            let sum = row.sum();
            if sum > T::zero() {
                row.mapv_inplace(|moved| moved / sum);
            }
        }
        leaning
    }
}
