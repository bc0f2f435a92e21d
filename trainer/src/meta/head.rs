//! The head and its inner loop as differentiable tensor operations: the same formulas as `metalens::adaptation`, written
//! so that backpropagation through the inner steps gives the exact second-order gradient (Finn et al. 2017, section 2.2)
//! without a double backward.

use candle_core::{D, Result, Tensor};

use super::inverse::{inverse, scaled_identity};

/// The head's parameters as tensors; a value of the computation, not a variable.
#[derive(Clone, Debug)]
pub struct Head {
    /// [W_1 b_1] `[hidden, feature + 1]`.
    pub first: Tensor,
    /// [W_2 b_2] `[words, hidden + 1]`.
    pub second: Tensor,
}

/// Tokens of a support or query set.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// [z; 1] `[tokens, feature + 1]`.
    pub z: Tensor,
    /// One-hot rows of the words that belong there `[tokens, words]`.
    pub targets: Tensor,
    /// `[tokens, 1]`; sums to one.
    pub weights: Tensor,
}

/// Whether the outer gradient goes through the inner steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// It does not: the inner gradients are constants (FOMAML; Finn et al. 2017, section 5.2).
    First,
    /// It does (MAML).
    Second,
}

/// The inner loop's step sizes and damping.
#[derive(Clone, Debug)]
pub struct StepSizes {
    /// Of each step, for the first and the second layer; each a scalar or of the layer's shape (Meta-SGD; Li et al. 2017,
    /// equation 2).
    pub alpha: Vec<[Tensor; 2]>,
    /// Scalars; a layer without takes the plain gradient.
    pub damping: [Option<Tensor>; 2],
}

/// x with a last column of ones.
pub(super) fn with_constant(x: &Tensor) -> Result<Tensor> {
    let ones = Tensor::ones((x.dim(0)?, 1), x.dtype(), x.device())?;
    Tensor::cat(&[x, &ones], 1)
}

impl Head {
    /// u and [s; 1] of [z; 1].
    fn hidden(&self, z: &Tensor) -> Result<(Tensor, Tensor)> {
        let sum = z.matmul(&self.first.t()?)?;
        let value = with_constant(&sum.silu()?)?;
        Ok((sum, value))
    }

    /// Logits `[tokens, words]` of [z; 1].
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn logits(&self, z: &Tensor) -> Result<Tensor> {
        self.hidden(z)?.1.matmul(&self.second.t()?)
    }

    /// The weighted loss of `tokens`.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn loss(&self, tokens: &Tokens) -> Result<Tensor> {
        let log_p = log_softmax(&self.logits(&tokens.z)?)?;
        ((log_p * &tokens.targets)?.sum_keepdim(1)? * &tokens.weights)?.sum_all()?.neg()
    }

    /// The head after one step for each of `sizes.alpha` on `support`.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn adapt(&self, support: &Tokens, sizes: &StepSizes, order: Order) -> Result<Self> {
        let constant = |x: Tensor| if order == Order::First { x.detach() } else { x };
        let mut head = self.clone();
        for [alpha_1, alpha_2] in &sizes.alpha {
            let (sum, value) = head.hidden(&support.z)?;
            let logits = value.matmul(&head.second.t()?)?;
            let p = log_softmax(&logits)?.exp()?;
            let error = (p - &support.targets)?.broadcast_mul(&support.weights)?;
            let hidden = sum.dim(1)?;
            let through = error.matmul(&head.second.narrow(1, 0, hidden)?.contiguous()?)?;
            let gate = candle_sigmoid(&sum)?;
            // silu'(u) = sigmoid(u) (1 + u (1 - sigmoid(u)))
            let slope = (&gate * ((&sum * (1.0 - &gate)?)? + 1.0)?)?;
            let back = (through * slope)?;
            let first = back.t()?.matmul(&basis(&support.z, &support.weights, sizes.damping[0].as_ref())?)?;
            let second =
                error.t()?.matmul(&basis(&value, &support.weights, sizes.damping[1].as_ref())?)?;
            head = Self {
                first: (&head.first - constant(first).broadcast_mul(alpha_1)?)?,
                second: (&head.second - constant(second).broadcast_mul(alpha_2)?)?,
            };
        }
        Ok(head)
    }
}

/// B of `metalens::adaptation::inner_loop`.
fn basis(x: &Tensor, weights: &Tensor, damping: Option<&Tensor>) -> Result<Tensor> {
    let Some(damping) = damping else { return Ok(x.clone()) };
    let root = weights.sqrt()?;
    let scaled = x.broadcast_mul(&root)?;
    let gram = scaled.matmul(&scaled.t()?)?;
    let tokens = gram.dim(0)?;
    let trace = scaled.sqr()?.sum_all()?;
    let lambda = ((trace / x.dim(1)? as f64)? * damping)?;
    let damped = (gram + scaled_identity(tokens, &lambda, x.dtype())?)?;
    inverse(&damped)?.matmul(&scaled)?.broadcast_div(&root)
}

fn candle_sigmoid(x: &Tensor) -> Result<Tensor> {
    (x.neg()?.exp()? + 1.0)?.recip()
}

/// Log-probabilities of logits, row by row.
pub(super) fn log_softmax(logits: &Tensor) -> Result<Tensor> {
    // The maximum only keeps the exponentials in range: no gradient goes through it.
    let centred = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    let log_sum = centred.exp()?.sum_keepdim(D::Minus1)?.log()?;
    centred.broadcast_sub(&log_sum)
}
