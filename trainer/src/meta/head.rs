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
    /// Of the second layer, a scalar; without, that layer takes the plain gradient, as the first one does.
    pub damping: Option<Tensor>,
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
            let first = back.t()?.matmul(&support.z)?;
            let second = error.t()?.matmul(&basis(&value, &support.weights, sizes.damping.as_ref())?)?;
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::{DType, Device, Var};
    use serde::Deserialize;

    use super::*;

    /// What `tests/golden/second_order.py` computes with PyTorch's double backward.
    #[derive(Deserialize)]
    struct Golden {
        first: Vec<Vec<f64>>,
        second: Vec<Vec<f64>>,
        support_z: Vec<Vec<f64>>,
        support_targets: Vec<usize>,
        support_weights: Vec<f64>,
        query_z: Vec<Vec<f64>>,
        query_targets: Vec<usize>,
        alpha: Vec<[f64; 2]>,
        cases: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        damping: Option<f64>,
        loss: f64,
        d_first: Vec<Vec<f64>>,
        d_second: Vec<Vec<f64>>,
        d_alpha: Vec<[f64; 2]>,
        d_damping: Option<f64>,
    }

    fn golden() -> Golden {
        serde_json::from_str(include_str!("../../tests/golden/second_order.json")).unwrap()
    }

    fn matrix(rows: &[Vec<f64>]) -> Tensor {
        let flat: Vec<f64> = rows.iter().flatten().copied().collect();
        Tensor::from_vec(flat, (rows.len(), rows[0].len()), &Device::Cpu).unwrap()
    }

    fn tokens(z: &[Vec<f64>], targets: &[usize], weights: &[f64], words: usize) -> Tokens {
        let mut rows = vec![0.0; targets.len() * words];
        targets.iter().enumerate().for_each(|(row, target)| rows[row * words + target] = 1.0);
        Tokens {
            z: with_constant(&matrix(z)).unwrap(),
            targets: Tensor::from_vec(rows, (targets.len(), words), &Device::Cpu).unwrap(),
            weights: Tensor::from_vec(weights.to_vec(), (weights.len(), 1), &Device::Cpu).unwrap(),
        }
    }

    /// Everything that the outer loop learns, as variables.
    struct Learner {
        variables: Vec<Var>,
        damped: bool,
    }

    impl Learner {
        fn new(golden: &Golden, damping: Option<f64>) -> Self {
            let mut variables = vec![
                Var::from_tensor(&matrix(&golden.first)).unwrap(),
                Var::from_tensor(&matrix(&golden.second)).unwrap(),
            ];
            let rows: Vec<Vec<f64>> = golden.alpha.iter().map(|pair| pair.to_vec()).collect();
            variables.push(Var::from_tensor(&matrix(&rows)).unwrap());
            if let Some(damping) = damping {
                variables.push(Var::from_tensor(&Tensor::new(damping, &Device::Cpu).unwrap()).unwrap());
            }
            Self { variables, damped: damping.is_some() }
        }

        fn loss(&self, golden: &Golden, order: Order) -> Tensor {
            let words = golden.second.len();
            let support = tokens(&golden.support_z, &golden.support_targets, &golden.support_weights, words);
            let count = golden.query_targets.len();
            let query =
                tokens(&golden.query_z, &golden.query_targets, &vec![1.0 / count as f64; count], words);
            let alpha = &self.variables[2];
            let sizes = StepSizes {
                alpha: (0..golden.alpha.len())
                    .map(|step| {
                        let row = alpha.get(step).unwrap();
                        [row.get(0).unwrap(), row.get(1).unwrap()]
                    })
                    .collect(),
                damping: self.damped.then(|| self.variables[3].as_tensor().clone()),
            };
            let head = Head {
                first: self.variables[0].as_tensor().clone(),
                second: self.variables[1].as_tensor().clone(),
            };
            head.adapt(&support, &sizes, order).unwrap().loss(&query).unwrap()
        }

        fn gradients(&self, golden: &Golden, order: Order) -> Vec<Vec<f64>> {
            let gradients = self.loss(golden, order).backward().unwrap();
            // To first order nothing depends on the damping's gradient.
            let flat = |var: &Var| match gradients.get(var) {
                Some(gradient) => gradient.flatten_all().unwrap().to_vec1().unwrap(),
                None => vec![0.0; var.elem_count()],
            };
            self.variables.iter().map(flat).collect()
        }
    }

    /// The largest difference, relative to the largest number.
    fn gap(found: &[f64], expected: &[f64]) -> f64 {
        assert_eq!(found.len(), expected.len());
        let scale = expected.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
        found.iter().zip(expected).fold(0.0_f64, |most, (a, b)| most.max((a - b).abs())) / scale
    }

    #[test]
    fn the_outer_gradient_is_that_of_pytorchs_double_backward() {
        let golden = golden();
        for case in &golden.cases {
            let learner = Learner::new(&golden, case.damping);
            let loss = learner.loss(&golden, Order::Second).to_scalar::<f64>().unwrap();
            assert!((loss - case.loss).abs() < 1e-10, "{loss} {}", case.loss);
            let found = learner.gradients(&golden, Order::Second);
            let flat = |rows: &[Vec<f64>]| rows.iter().flatten().copied().collect::<Vec<f64>>();
            assert!(gap(&found[0], &flat(&case.d_first)) < 1e-8);
            assert!(gap(&found[1], &flat(&case.d_second)) < 1e-8);
            assert!(gap(&found[2], case.d_alpha.as_flattened()) < 1e-8);
            if let Some(damping) = case.d_damping {
                assert!(gap(&found[3], &[damping]) < 1e-8);
            }
        }
    }

    #[test]
    fn the_outer_gradient_is_that_of_finite_differences() {
        let golden = golden();
        for case in &golden.cases {
            let learner = Learner::new(&golden, case.damping);
            let found = learner.gradients(&golden, Order::Second);
            let step = 1e-5;
            for (var, found) in learner.variables.iter().zip(&found) {
                let start: Vec<f64> = var.flatten_all().unwrap().to_vec1().unwrap();
                let at = |place: usize, change: f64| {
                    let mut moved = start.clone();
                    moved[place] += change;
                    var.set(&Tensor::from_vec(moved, var.shape(), &Device::Cpu).unwrap()).unwrap();
                    learner.loss(&golden, Order::Second).to_scalar::<f64>().unwrap()
                };
                let numeric: Vec<f64> =
                    (0..start.len()).map(|i| (at(i, step) - at(i, -step)) / (2.0 * step)).collect();
                at(0, 0.0);
                assert!(gap(found, &numeric) < 1e-6, "{}", gap(found, &numeric));
            }
        }
    }

    #[test]
    fn without_the_second_order_term_the_gradient_is_another() {
        let golden = golden();
        for case in &golden.cases {
            let learner = Learner::new(&golden, case.damping);
            let [first, second] =
                [Order::First, Order::Second].map(|order| learner.gradients(&golden, order));
            // The step sizes' gradient needs no second derivative of the last step only.
            assert!(gap(&first[0], &second[0]) > 1e-2 && gap(&first[1], &second[1]) > 1e-2);
        }
    }

    #[test]
    fn the_device_takes_the_same_steps() {
        use metalens::adaptation::{self, adapt};
        use ndarray::{Array1, Array2, s};
        let golden = golden();
        let array =
            |rows: &[Vec<f64>]| Array2::from_shape_fn((rows.len(), rows[0].len()), |(i, j)| rows[i][j]);
        let (first, second) = (array(&golden.first), array(&golden.second));
        let last = |x: &Array2<f64>| x.ncols() - 1;
        let start = adaptation::Head {
            weight_1: first.slice(s![.., ..last(&first)]).to_owned(),
            bias_1: first.column(last(&first)).to_owned(),
            weight_2: second.slice(s![.., ..last(&second)]).to_owned(),
            bias_2: second.column(last(&second)).to_owned(),
        };
        let support = adaptation::Tokens {
            z: array(&golden.support_z),
            targets: golden.support_targets.clone(),
            weights: Array1::from_vec(golden.support_weights.clone()),
        };
        for case in &golden.cases {
            let schedule = metalens_models::InnerLoop::plain(golden.alpha.clone(), case.damping);
            let device = adapt(start.clone(), &support, &schedule).logits(&array(&golden.query_z).view());
            let words = golden.second.len();
            let tokens = tokens(&golden.support_z, &golden.support_targets, &golden.support_weights, words);
            let scalar = |x: f64| Tensor::new(x, &Device::Cpu).unwrap();
            let sizes = StepSizes {
                alpha: golden.alpha.iter().map(|pair| pair.map(scalar)).collect(),
                damping: case.damping.map(scalar),
            };
            let head = Head { first: matrix(&golden.first), second: matrix(&golden.second) };
            let trainer = head.adapt(&tokens, &sizes, Order::Second).unwrap();
            let trainer = trainer.logits(&with_constant(&matrix(&golden.query_z)).unwrap()).unwrap();
            assert_eq!(trainer.dtype(), DType::F64);
            let trainer: Vec<f64> = trainer.flatten_all().unwrap().to_vec1().unwrap();
            assert!(gap(&device.iter().copied().collect::<Vec<f64>>(), &trainer) < 1e-10);
        }
    }
}
