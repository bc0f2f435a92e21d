//! The head: two layers from z to logits, and the gradient of its loss.
//!
//! ```text
//! u_n = W_1 z_n + b_1        s_n = silu(u_n) = u_n sigmoid(u_n)     [hidden]
//! l_n = W_2 s_n + b_2                                               [words]
//! L   = - sum_n weight_n log softmax(l_n)[target_n]
//!
//! dL/dl_n = weight_n (softmax(l_n) - onehot(target_n))              e_n
//! dL/dW_2 = sum_n e_n s_n^T      dL/db_2 = sum_n e_n
//! dL/du_n = (W_2^T e_n) silu'(u_n)                                  silu'(u) = sigmoid(u) (1 + u (1 - sigmoid(u)))
//! dL/dW_1 = sum_n dL/du_n z_n^T  dL/db_1 = sum_n dL/du_n
//! ```

use ndarray::{Array1, Array2, ArrayView1, ArrayView2, ArrayViewMut1, Axis, Zip};

use super::product::times;
use super::real::{Real, real};

/// The head's parameters. Row i of the second layer is the word with id i; rows stand for as many words as the head
/// knows, so that words without a row cannot be said.
#[derive(Clone, Debug, PartialEq)]
pub struct Head<T> {
    /// W_1 `[hidden, feature]`.
    pub weight_1: Array2<T>,
    /// b_1 `[hidden]`.
    pub bias_1: Array1<T>,
    /// W_2 `[words, hidden]`.
    pub weight_2: Array2<T>,
    /// b_2 `[words]`; [`super::BARRED`] for words that must not be said.
    pub bias_2: Array1<T>,
}

/// What the first layer makes of some tokens.
#[derive(Clone, Debug)]
pub(super) struct Hidden<T> {
    /// u `[tokens, hidden]`.
    pub sum: Array2<T>,
    /// s `[tokens, hidden]`.
    pub value: Array2<T>,
}

/// Tokens with the words that belong there.
#[derive(Clone, Debug)]
pub struct Tokens<T> {
    /// z `[tokens, feature]`.
    pub z: Array2<T>,
    /// The word after each.
    pub targets: Vec<usize>,
    /// How much each counts; the loss is the weighted sum.
    pub weights: Array1<T>,
}

/// The gradient of the loss, in the head's own shapes.
#[derive(Clone, Debug)]
pub struct Gradient<T> {
    /// dL/dW_1.
    pub weight_1: Array2<T>,
    /// dL/db_1.
    pub bias_1: Array1<T>,
    /// dL/dW_2.
    pub weight_2: Array2<T>,
    /// dL/db_2.
    pub bias_2: Array1<T>,
}

impl<T: Real> Head<T> {
    /// Words that have a row.
    #[must_use]
    pub fn words(&self) -> usize {
        self.bias_2.len()
    }

    pub(super) fn hidden(&self, z: &ArrayView2<T>) -> Hidden<T> {
        hidden(&self.weight_1, &self.bias_1, z)
    }

    pub(super) fn logits_of(&self, hidden: &ArrayView2<T>) -> Array2<T> {
        times(hidden, &self.weight_2) + &self.bias_2
    }

    /// Logits `[tokens, words]` of z `[tokens, feature]`.
    #[must_use]
    pub fn logits(&self, z: &ArrayView2<T>) -> Array2<T> {
        self.logits_of(&self.hidden(z).value.view())
    }

    /// Probabilities `[tokens, words]` after z `[tokens, feature]`.
    #[must_use]
    pub fn probabilities(&self, z: &ArrayView2<T>) -> Array2<T> {
        softmaxes(self.logits(z))
    }

    /// The loss of each token, unweighted.
    #[must_use]
    pub fn losses(&self, tokens: &Tokens<T>) -> Array1<T> {
        cross_entropy(&self.logits(&tokens.z.view()), &tokens.targets)
    }

    /// The weighted loss and its gradient.
    #[must_use]
    pub fn gradient(&self, tokens: &Tokens<T>) -> (T, Gradient<T>) {
        let hidden = self.hidden(&tokens.z.view());
        let logits = self.logits_of(&hidden.value.view());
        let loss = (cross_entropy(&logits, &tokens.targets) * &tokens.weights).sum();
        let error = error(logits, tokens);
        let back = through_silu(error.dot(&self.weight_2), &hidden.sum);
        let gradient = Gradient {
            weight_1: back.t().dot(&tokens.z),
            bias_1: back.sum_axis(Axis(0)),
            weight_2: error.t().dot(&hidden.value),
            bias_2: error.sum_axis(Axis(0)),
        };
        (loss, gradient)
    }

    /// The same head in another precision.
    #[must_use]
    pub fn cast<U: Real>(&self) -> Head<U> {
        let to = |x: T| real::<U>(x.to_f64().expect("a float fits an f64"));
        Head {
            weight_1: self.weight_1.mapv(to),
            bias_1: self.bias_1.mapv(to),
            weight_2: self.weight_2.mapv(to),
            bias_2: self.bias_2.mapv(to),
        }
    }
}

/// The first layer with these parameters.
pub(super) fn hidden<T: Real>(weight: &Array2<T>, bias: &Array1<T>, z: &ArrayView2<T>) -> Hidden<T> {
    let sum = times(z, weight) + bias;
    Hidden { value: sum.mapv(silu), sum }
}

/// e `[tokens, words]`: the loss' gradient by the logits.
pub(super) fn error<T: Real>(mut logits: Array2<T>, tokens: &Tokens<T>) -> Array2<T> {
    let rows = logits.rows_mut().into_iter().zip(&tokens.targets).zip(&tokens.weights);
    for ((mut row, &target), &weight) in rows {
        softmax(&mut row);
        row[target] = row[target] - T::one();
        row.mapv_inplace(|x| x * weight);
    }
    logits
}

/// Turns dL/ds into dL/du.
pub(super) fn through_silu<T: Real>(mut back: Array2<T>, sum: &Array2<T>) -> Array2<T> {
    Zip::from(&mut back).and(sum).for_each(|d, &u| *d = *d * silu_slope(u));
    back
}

/// - log softmax(logits)[target], a token each.
pub(super) fn cross_entropy<T: Real>(logits: &Array2<T>, targets: &[usize]) -> Array1<T> {
    logits.rows().into_iter().zip(targets).map(|(row, &target)| log_sum_exp(&row) - row[target]).collect()
}

/// log sum exp, without overflow.
pub(super) fn log_sum_exp<T: Real>(row: &ArrayView1<T>) -> T {
    let highest = row.fold(T::neg_infinity(), |a, &b| a.max(b));
    highest + row.fold(T::zero(), |sum, &x| sum + (x - highest).exp()).ln()
}

/// Logits to probabilities.
pub(super) fn softmax<T: Real>(row: &mut ArrayViewMut1<T>) {
    let highest = row.fold(T::neg_infinity(), |a, &b| a.max(b));
    row.mapv_inplace(|x| (x - highest).exp());
    let sum = row.sum();
    row.mapv_inplace(|x| x / sum);
}

/// Logits to probabilities, row by row.
pub(super) fn softmaxes<T: Real>(mut logits: Array2<T>) -> Array2<T> {
    logits.rows_mut().into_iter().for_each(|mut row| softmax(&mut row));
    logits
}

pub(super) fn sigmoid<T: Real>(x: T) -> T {
    T::one() / (T::one() + (-x).exp())
}

fn silu<T: Real>(x: T) -> T {
    x * sigmoid(x)
}

fn silu_slope<T: Real>(x: T) -> T {
    let gate = sigmoid(x);
    gate * (T::one() + x * (T::one() - gate))
}
