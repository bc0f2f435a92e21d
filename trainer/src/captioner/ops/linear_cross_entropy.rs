//! The last layer and its cross-entropy in one, so that no table of logits for all words of a batch ever stands in memory.

use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

use super::cross_entropy::{cross_entropy, softmax, sum};
use super::math::{sigmoid, vectorised};
use super::matrix::{Matrix, add_product, repeat_row};
use super::pointing::{Pointing, gate, point, softplus};
use super::{fusible, slice};

/// Rows whose logits stand in memory at a time.
const ROWS: usize = 256;

/// A layer that makes logits of rows, and what points at some of them.
#[derive(Clone, Copy)]
pub struct Layer<'a> {
    /// `[vocabulary, in]`.
    pub weight: &'a Tensor,
    /// `[vocabulary]`.
    pub bias: &'a Tensor,
    /// `[rows, 2]` as [`point`] takes it, and where it points, row by row; none where nothing is pointed at.
    pub pointing: Option<(&'a Tensor, &'a [Pointing])>,
}

/// What the rows should have said.
#[derive(Clone, Copy)]
pub struct Targets<'a> {
    /// The word of each row.
    pub words: &'a [u32],
    /// How much each row counts; a row of weight 0 teaches nothing.
    pub weights: &'a [f32],
    /// The share of the target that is spread over all words.
    pub smoothing: f32,
}

/// [`cross_entropy`] of the logits that `layer` makes of `x` `[rows, in]`: a scalar tensor.
///
/// Logits are made, judged and led back some rows at a time. The gradient is worked out as the loss is, for a loss that counts once
/// (as in Hsu et al. 2024, "Liger Kernel", section 3.2), so whoever wants the loss alone is served better by [`cross_entropy`].
///
/// # Errors
/// When shapes do not fit.
pub fn linear_cross_entropy(x: &Tensor, layer: Layer, targets: Targets) -> Result<Tensor> {
    let Layer { weight, bias, pointing } = layer;
    let Targets { words, weights, smoothing } = targets;
    let (rows, width) = x.dims2()?;
    let vocabulary = bias.dim(0)?;
    if weight.dims() != [vocabulary, width] || words.len() != rows || weights.len() != rows {
        candle_core::bail!(
            "cross-entropy: {rows} rows of {width}, weights {:?}, {} targets, {} weights of rows",
            weight.dims(),
            words.len(),
            weights.len()
        );
    }
    if !fusible(&[x, weight]) {
        let logits = x.matmul(&weight.t()?)?.broadcast_add(bias)?;
        let logits = pointing.map_or(Ok(logits.clone()), |(pointer, at)| point(&logits, pointer, at))?;
        return cross_entropy(&logits, words, weights, smoothing);
    }
    let (pointer, at) = match pointing {
        Some((pointer, at)) => (pointer.contiguous()?, at.to_vec()),
        None => (Tensor::zeros((rows, 2), x.dtype(), x.device())?, Vec::new()),
    };
    let at_is_good = at.iter().all(|at| at.row < rows && (at.word as usize) < vocabulary);
    if pointer.dims() != [rows, 2] || !at_is_good || !at.is_sorted_by_key(|at| at.row) {
        candle_core::bail!("pointing: {rows} rows of {vocabulary} words, and a pointer {:?}", pointer.dims());
    }
    if words.iter().any(|&word| word as usize >= vocabulary) {
        candle_core::bail!("cross-entropy: a target is none of {vocabulary} words");
    }
    // A candle operation takes three inputs at most: weight and bias travel as one.
    let layer = Tensor::cat(&[&weight.flatten_all()?, bias], 0)?;
    let op = LinearCrossEntropy {
        at,
        targets: words.to_vec(),
        weights: weights.to_vec(),
        smoothing,
        vocabulary,
        saved: Mutex::new(None),
    };
    x.contiguous()?.apply_op3(&layer, &pointer, op)
}

struct LinearCrossEntropy {
    at: Vec<Pointing>,
    targets: Vec<u32>,
    weights: Vec<f32>,
    smoothing: f32,
    vocabulary: usize,
    saved: Mutex<Option<Gradients>>,
}

/// Gradients of the loss.
struct Gradients {
    /// `[rows, in]`.
    x: Vec<f32>,
    /// `[vocabulary, in]`, and the bias behind.
    layer: Vec<f32>,
    /// `[rows, 2]`.
    pointer: Vec<f32>,
}

impl LinearCrossEntropy {
    fn loss(&self, x: &[f32], layer: &[f32], pointer: &[f32]) -> (f64, Gradients) {
        let (rows, vocabulary) = (self.targets.len(), self.vocabulary);
        let width = layer.len() / vocabulary - 1;
        let (weight, bias) = layer.split_at(vocabulary * width);
        let weight = Matrix::new(weight, vocabulary, width);
        let mut gradients = Gradients {
            x: vec![0.0; x.len()],
            layer: vec![0.0; layer.len()],
            pointer: vec![0.0; pointer.len()],
        };
        let (d_weight, d_bias) = gradients.layer.split_at_mut(vocabulary * width);
        let mut loss = 0.0;
        let mut at = self.at.as_slice();
        for first in (0..rows).step_by(ROWS) {
            let rows = first..rows.min(first + ROWS);
            let x = Matrix::new(&x[rows.start * width..rows.end * width], rows.len(), width);
            let mut logits = repeat_row(bias, rows.len());
            add_product(&mut logits, x, weight.t());
            let here;
            (here, at) = at.split_at(at.partition_point(|at| at.row < rows.end));
            let place = |at: &Pointing| (at.row - rows.start) * vocabulary + at.word as usize;
            here.iter().for_each(|at| logits[place(at)] += softplus(gate(pointer, at)));
            vectorised(|| {
                for (row, logits) in rows.clone().zip(logits.chunks_exact_mut(vocabulary)) {
                    loss += self.judge(row, logits);
                    d_bias.iter_mut().zip(logits.iter()).for_each(|(sum, d)| *sum += d);
                }
            });
            for at in here {
                let d = logits[place(at)] * sigmoid(gate(pointer, at));
                gradients.pointer[2 * at.row] += d;
                gradients.pointer[2 * at.row + 1] += d * at.confidence;
            }
            let d = Matrix::new(&logits, rows.len(), vocabulary);
            add_product(&mut gradients.x[rows.start * width..rows.end * width], d, weight);
            add_product(d_weight, d.t(), x);
        }
        (loss, gradients)
    }

    /// The loss of a row, in whose place its gradient comes.
    #[inline(always)]
    fn judge(&self, row: usize, logits: &mut [f32]) -> f64 {
        let (weight, target) = (self.weights[row], self.targets[row] as usize);
        if weight == 0.0 {
            logits.fill(0.0);
            return 0.0;
        }
        let mean = sum(logits) / logits.len() as f32;
        let of_target = logits[target];
        let log_sum = softmax(logits);
        let uniform = self.smoothing / logits.len() as f32;
        logits.iter_mut().for_each(|p| *p = weight * (*p - uniform));
        logits[target] -= weight * (1.0 - self.smoothing);
        f64::from(weight * (log_sum - (1.0 - self.smoothing) * of_target - self.smoothing * mean))
    }
}

impl CustomOp3 for LinearCrossEntropy {
    fn name(&self) -> &'static str {
        "linear-cross-entropy"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        layer: &CpuStorage,
        layer_layout: &Layout,
        pointer: &CpuStorage,
        pointer_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (loss, gradients) =
            self.loss(slice(x, x_layout)?, slice(layer, layer_layout)?, slice(pointer, pointer_layout)?);
        if let Ok(mut slot) = self.saved.lock() {
            *slot = Some(gradients);
        }
        Ok((CpuStorage::F32(vec![loss as f32]), Shape::from(())))
    }

    fn bwd(
        &self,
        x: &Tensor,
        layer: &Tensor,
        pointer: &Tensor,
        _loss: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Some(gradients) = self.saved.lock().ok().and_then(|mut slot| slot.take()) else {
            candle_core::bail!("cross-entropy: the gradient was asked for twice");
        };
        let grad = grad.to_scalar::<f32>()?;
        let scaled = |mut data: Vec<f32>, like: &Tensor| {
            data.iter_mut().for_each(|d| *d *= grad);
            Tensor::from_vec(data, like.shape(), like.device()).map(Some)
        };
        Ok((scaled(gradients.x, x)?, scaled(gradients.layer, layer)?, scaled(gradients.pointer, pointer)?))
    }
}
