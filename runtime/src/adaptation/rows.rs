//! Where the rows of new words start.
//!
//! A new word w stands at the positions P_w of the support set. Each position is a witness of which known word v could stand
//! there instead, and the witnesses are multiplied; one that stands in a caption of a kind which the head would never say, such as
//! "this is a clamp", says little:
//!
//! ```text
//! m_w,v  proportional to  exp(hint_w,v) product over n in P_w of (softmax(l_n)_v + doubt_n)
//!                         without special tokens and the end
//! doubt_n = 0.003 exp(3 max(0, surprise_n - 3))
//! surprise_n = mean -log p of the caption's known words, or of those before n where that is more
//! W_2[w] = sum_v m_w,v W_2[v]      b_2[w] = sum_v m_w,v b_2[v] + offset
//! ```
//!
//! so that the new word begins as "something like a clamp", and a little more likely than that.

use ndarray::{Array2, ArrayView2, ArrayViewMut1, Axis, concatenate};

use super::BARRED;
use super::head::{Head, softmax};
use super::real::{Real, real};

/// What a witness leaves possible for every word, so that a single one cannot rule a word out.
pub(super) const DOUBT: f64 = 3e-3;
/// In nats: captions like those that the head learned from surprise it less, "this is a" and its like more.
pub(super) const SURPRISING: f64 = 3.0;
const MISTRUST: f64 = 3.0;

/// The doubt of a position.
pub(super) fn doubt<T: Real>(surprise: T) -> T {
    let beyond = (surprise - real(SURPRISING)).max(T::zero());
    real::<T>(DOUBT) * (beyond * real(MISTRUST)).exp()
}

/// The mixtures m `[new words, words]` of the new words, which are the targets from `head.words()` on; `hints` `[new words,
/// words]` tell what else is known of each, in nats; each position has its doubt.
#[must_use]
pub fn mixtures<T: Real>(
    head: &Head<T>,
    z: &ArrayView2<T>,
    targets: &[usize],
    doubts: &[T],
    hints: &Array2<T>,
    end: usize,
) -> Array2<T> {
    let known = head.words();
    let positions: Vec<usize> =
        targets.iter().enumerate().filter(|(_, target)| **target >= known).map(|(n, _)| n).collect();
    let mut witnesses = head.logits(&z.select(Axis(0), &positions).view());
    let mut mixtures = hints.clone();
    for (mut row, &position) in witnesses.rows_mut().into_iter().zip(&positions) {
        row[end] = real(BARRED);
        softmax(&mut row);
        let mut mixture = mixtures.row_mut(targets[position] - known);
        mixture.zip_mut_with(&row, |sum, &p| *sum += (p + doubts[position]).ln());
    }
    for mut mixture in mixtures.rows_mut() {
        bar(&mut mixture, head, end);
        softmax(&mut mixture);
    }
    mixtures
}

/// No new word begins as the end of a caption, or as a word that must not be said.
fn bar<T: Real>(mixture: &mut ArrayViewMut1<T>, head: &Head<T>, end: usize) {
    mixture[end] = real(BARRED);
    for (share, &bias) in mixture.iter_mut().zip(&head.bias_2) {
        if bias <= real(BARRED) {
            *share = real(BARRED);
        }
    }
}

/// The head with a row for each mixture.
#[must_use]
pub fn with_rows<T: Real>(head: &Head<T>, mixtures: &Array2<T>, offset: f64) -> Head<T> {
    let rows = mixtures.dot(&head.weight_2);
    let biases = mixtures.dot(&head.bias_2).mapv(|bias| bias + real(offset));
    let stack = "the rows have the width of the layer";
    Head {
        weight_1: head.weight_1.clone(),
        bias_1: head.bias_1.clone(),
        weight_2: concatenate(Axis(0), &[head.weight_2.view(), rows.view()]).expect(stack),
        bias_2: concatenate(Axis(0), &[head.bias_2.view(), biases.view()]).expect(stack),
    }
}
