//! Cross-entropy with label smoothing, over rows of logits.

use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor};

use super::math::{exp, vectorised};
use super::{fusible, slice, with_slices};

/// sum over rows of weight · H(q, softmax(logits)), with q = (1 - ε) one-hot(target) + ε uniform (Szegedy et al. 2016,
/// section 7): a scalar tensor.
///
/// `logits` `[rows, vocabulary]`; a row of weight 0 teaches nothing.
///
/// # Errors
/// When there are not as many targets and weights as rows.
pub fn cross_entropy(logits: &Tensor, targets: &[u32], weights: &[f32], smoothing: f32) -> Result<Tensor> {
    let (rows, vocabulary) = logits.dims2()?;
    if targets.len() != rows || weights.len() != rows {
        candle_core::bail!(
            "cross-entropy: {rows} rows, {} targets, {} weights",
            targets.len(),
            weights.len()
        );
    }
    if fusible(&[logits]) {
        let op = CrossEntropy {
            targets: targets.to_vec(),
            weights: weights.to_vec(),
            smoothing,
            saved: Mutex::new(None),
        };
        return logits.contiguous()?.apply_op1(op);
    }
    let device = logits.device();
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    let log_sum = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    let log_p = shifted.broadcast_sub(&log_sum)?;
    let index = Tensor::from_slice(targets, (rows, 1), device)?;
    let of_target = log_p.gather(&index, 1)?.squeeze(1)?;
    let uniform = (log_p.sum(D::Minus1)? / vocabulary as f64)?;
    let smoothing = f64::from(smoothing);
    let per_row = ((of_target * (smoothing - 1.0))? - (uniform * smoothing)?)?;
    let weights = Tensor::from_slice(weights, rows, device)?.to_dtype(logits.dtype())?;
    (per_row * weights)?.sum_all()
}

struct CrossEntropy {
    targets: Vec<u32>,
    weights: Vec<f32>,
    smoothing: f32,
    /// log sum exp of every row.
    saved: Mutex<Option<Vec<f32>>>,
}

impl CustomOp1 for CrossEntropy {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, logits: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, vocabulary) = layout.shape().dims2()?;
        let logits = slice(logits, layout)?;
        let mut log_sums = Vec::with_capacity(self.targets.len());
        let mut loss = 0.0_f64;
        vectorised(|| {
            for (row, logits) in logits.chunks_exact(vocabulary).enumerate() {
                let log_sum = log_sum_exp(logits);
                let mean: f32 = sum(logits) / vocabulary as f32;
                let of_target = logits[self.targets[row] as usize];
                let row_loss = log_sum - (1.0 - self.smoothing) * of_target - self.smoothing * mean;
                loss += f64::from(self.weights[row] * row_loss);
                log_sums.push(log_sum);
            }
        });
        if let Ok(mut slot) = self.saved.lock() {
            *slot = Some(log_sums);
        }
        Ok((CpuStorage::F32(vec![loss as f32]), Shape::from(())))
    }

    fn bwd(&self, logits: &Tensor, _loss: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let (_, vocabulary) = logits.dims2()?;
        let Some(log_sums) = self.saved.lock().ok().and_then(|mut slot| slot.take()) else {
            candle_core::bail!("cross-entropy: the gradient was asked for twice");
        };
        let grad = grad.to_scalar::<f32>()?;
        let uniform = self.smoothing / vocabulary as f32;
        let mut d = vec![0.0; logits.elem_count()];
        with_slices([logits], |[logits]| {
            vectorised(|| {
                let rows = d.chunks_exact_mut(vocabulary).zip(logits.chunks_exact(vocabulary));
                for (row, (d, logits)) in rows.enumerate() {
                    let scale = grad * self.weights[row];
                    let log_sum = log_sums[row];
                    for (d, x) in d.iter_mut().zip(logits) {
                        *d = scale * (exp(x - log_sum) - uniform);
                    }
                    d[self.targets[row] as usize] -= scale * (1.0 - self.smoothing);
                }
            });
        })?;
        Ok(Some(Tensor::from_vec(d, logits.shape(), logits.device())?))
    }
}

const LANES: usize = 16;

#[inline(always)]
pub(super) fn sum(x: &[f32]) -> f32 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += x;
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().sum::<f32>()
}

#[inline(always)]
fn highest(x: &[f32]) -> f32 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut highest = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for (lane, &x) in highest.iter_mut().zip(chunk) {
            *lane = if x > *lane { x } else { *lane };
        }
    }
    highest.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max)
}

#[inline(always)]
fn log_sum_exp(x: &[f32]) -> f32 {
    let highest = highest(x);
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += exp(x - highest);
        }
    }
    let rest: f32 = rest.iter().map(|x| exp(x - highest)).sum();
    highest + (lanes.iter().sum::<f32>() + rest).ln()
}

/// Puts softmax(x) in the place of x; gives log sum exp.
#[inline(always)]
pub(super) fn softmax(x: &mut [f32]) -> f32 {
    let highest = highest(x);
    x.iter_mut().for_each(|x| *x = exp(*x - highest));
    let all = sum(x);
    let share = 1.0 / all;
    x.iter_mut().for_each(|x| *x *= share);
    highest + all.ln()
}
