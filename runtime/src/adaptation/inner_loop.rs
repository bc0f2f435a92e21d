//! The inner loop: a few preconditioned gradient steps on the head.
//!
//! ```text
//! s' = [s; 1]   W_2' = [W_2 b_2]   and the same for z, W_1
//! step t:  W_1' <- W_1' - alpha[t, 1] dL/dW_1'
//!          W_2' <- W_2' - alpha[t, 2] dL/dW_2' (A + lambda I)^-1      A = sum_n weight_n s'_n s'_n^T
//! ```
//!
//! alpha is the schedule's, and smaller for a small support set (`InnerLoop::size_of_steps`). A is the second moment of the
//! second layer's inputs: the input side of the Kronecker-factored curvature (Martens and Grosse 2015, section 3), damped;
//! lambda is `damping` times the mean of A's diagonal. Without damping the layer takes the plain gradient, which is MAML's inner
//! loop (Finn et al. 2017, equation 1) with meta-learned step sizes.
//!
//! A support set has fewer tokens than the layer has inputs, so that the update is computed from it by the push-through
//! identity, with X = diag(sqrt weight) s' `[tokens, hidden + 1]` and E the loss' gradient by the logits:
//!
//! ```text
//! dL/dW_2' (A + lambda I)^-1 = E^T B      B = diag(1 / sqrt weight) (X X^T + lambda I)^-1 X
//! ```
//!
//! The second layer's change is kept as that product of two thin matrices: no step costs more than products
//! `[tokens, tokens] x [tokens, words]`, and as long as the first layer rests, nothing is as wide as the whole layer.

use metalens_models::InnerLoop;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis, s};

use super::head::{Head, Tokens, error, through_silu};
use super::inverse::positive_inverse;
use super::real::{Real, real};

/// A head after the inner loop, as its start and what changed.
#[derive(Clone, Debug)]
pub struct Adapted<T> {
    start: Head<T>,
    /// The first layer, where it moved; its second layer is not used.
    first: Option<(Array2<T>, Array1<T>)>,
    second: Vec<Change<T>>,
}

/// W_2' changes by - coefficients^T basis.
#[derive(Clone, Debug)]
struct Change<T> {
    /// `[tokens, words]`.
    coefficients: Array2<T>,
    /// `[tokens, hidden + 1]`.
    basis: Array2<T>,
}

/// Runs the inner loop on `support`, whose weights must all be positive, from `start`.
#[must_use]
pub fn adapt<T: Real>(start: Head<T>, support: &Tokens<T>, schedule: &InnerLoop) -> Adapted<T> {
    let z = support.z.view();
    let mut adapted = Adapted { start, first: None, second: Vec::new() };
    if schedule.steps == 0 {
        return adapted;
    }
    let mut hidden = adapted.hidden(&z);
    let mut from_start = adapted.start.logits_of(&hidden.value.view());
    let mut second_basis_is_stale = true;
    let size = schedule.size_of_steps(support.targets.len());
    for alpha in schedule.alpha.iter().take(schedule.steps) {
        let [alpha_1, alpha_2] = alpha.map(|alpha| alpha * size);
        let logits = &from_start - &adapted.second_change(&hidden.value.view());
        let error = error(logits, support);
        let back = (alpha_1 != 0.0).then(|| through_silu(adapted.through_second(&error), &hidden.sum));
        if alpha_2 != 0.0 {
            if std::mem::take(&mut second_basis_is_stale) {
                adapted.second.push(Change {
                    coefficients: Array2::zeros(error.dim()),
                    basis: basis(&hidden.value.view(), &support.weights.view(), schedule.damping),
                });
            }
            if let Some(change) = adapted.second.last_mut() {
                change.coefficients.scaled_add(real(alpha_2), &error);
            }
        }
        if let Some(back) = back {
            adapted.move_first(&back.t().dot(&z), &back.sum_axis(Axis(0)), real(alpha_1));
            hidden = adapted.hidden(&z);
            from_start = adapted.start.logits_of(&hidden.value.view());
            second_basis_is_stale = true;
        }
    }
    adapted
}

impl<T: Real> Adapted<T> {
    fn hidden(&self, z: &ArrayView2<T>) -> super::head::Hidden<T> {
        match &self.first {
            Some((weight, bias)) => super::head::hidden(weight, bias, z),
            None => self.start.hidden(z),
        }
    }

    /// What the second layer's change takes from the logits of hidden values `[tokens, hidden]`.
    fn second_change(&self, hidden: &ArrayView2<T>) -> Array2<T> {
        let mut total = Array2::zeros((hidden.nrows(), self.start.words()));
        for Change { coefficients, basis } in &self.second {
            let (weights, bias) = split(basis);
            total = total + (hidden.dot(&weights.t()) + bias).dot(coefficients);
        }
        total
    }

    /// W_2^T e, for the second layer as it is now.
    fn through_second(&self, error: &Array2<T>) -> Array2<T> {
        let mut back = error.dot(&self.start.weight_2);
        for Change { coefficients, basis } in &self.second {
            back = back - error.dot(&coefficients.t()).dot(&split(basis).0);
        }
        back
    }

    fn move_first(&mut self, weight_gradient: &Array2<T>, bias_gradient: &Array1<T>, alpha: T) {
        let (weight, bias) =
            self.first.get_or_insert_with(|| (self.start.weight_1.clone(), self.start.bias_1.clone()));
        weight.scaled_add(-alpha, weight_gradient);
        bias.scaled_add(-alpha, bias_gradient);
    }

    /// Logits `[tokens, words]` of z `[tokens, feature]`.
    #[must_use]
    pub fn logits(&self, z: &ArrayView2<T>) -> Array2<T> {
        let hidden = self.hidden(z).value;
        self.start.logits_of(&hidden.view()) - self.second_change(&hidden.view())
    }

    /// The head with the changes added up.
    #[must_use]
    pub fn into_head(self) -> Head<T> {
        let mut head = self.start;
        for Change { coefficients, basis } in &self.second {
            let (weights, bias) = split(basis);
            head.weight_2 = head.weight_2 - coefficients.t().dot(&weights);
            head.bias_2 = head.bias_2 - coefficients.t().dot(&bias);
        }
        if let Some((weight, bias)) = self.first {
            head.weight_1 = weight;
            head.bias_1 = bias;
        }
        head
    }
}

/// The columns of the inputs, and the last one, of the constant.
fn split<T>(with_constant: &Array2<T>) -> (ArrayView2<'_, T>, ArrayView1<'_, T>) {
    let last = with_constant.ncols() - 1;
    (with_constant.slice(s![.., ..last]), with_constant.column(last))
}

/// B `[tokens, inputs + 1]` of the module's documentation; x' itself without damping.
fn basis<T: Real>(x: &ArrayView2<T>, weights: &ArrayView1<T>, damping: Option<f64>) -> Array2<T> {
    let (tokens, inputs) = x.dim();
    let mut with_constant = Array2::ones((tokens, inputs + 1));
    with_constant.slice_mut(s![.., ..inputs]).assign(x);
    let Some(damping) = damping else { return with_constant };
    let root = weights.mapv(T::sqrt).insert_axis(Axis(1));
    let scaled = with_constant * &root;
    let inverse = damped_inverse(&scaled.dot(&scaled.t()), damping, inputs + 1);
    inverse.dot(&scaled) / root
}

/// (G + lambda I)^-1 for a Gram matrix G, lambda being `damping` times the mean of the `inputs` eigenvalues that X^T X has
/// where G = X X^T. In f64: G is nearly singular where two tokens are nearly the same.
fn damped_inverse<T: Real>(gram: &Array2<T>, damping: f64, inputs: usize) -> Array2<T> {
    let mut wide = gram.mapv(|x| x.to_f64().expect("a float fits an f64"));
    let lambda = damping * wide.diag().sum() / inputs as f64;
    wide.diag_mut().mapv_inplace(|x| x + lambda);
    let inverse = positive_inverse(&wide).expect("a Gram matrix is positive definite once damped");
    inverse.mapv(real)
}
