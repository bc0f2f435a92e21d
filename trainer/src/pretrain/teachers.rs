//! Distillation: what other captioners of the same words would say next is learned from beside what people said.

use anyhow::Context;
use candle_core::{D, Tensor};

use super::config::Distillation;
use super::dataset::Dataset;
use super::initial::read_checkpoints;
use crate::captioner::{Batch, Captioner, Parameters};

/// Trained captioners whose mean a run learns from (Hinton, Vinyals and Dean 2015, section 2).
pub(super) struct Teachers {
    all: Vec<Parameters>,
    share: f64,
}

impl Teachers {
    pub fn open(config: &Distillation, dataset: &Dataset) -> anyhow::Result<Self> {
        let open =
            |path| read_checkpoints(std::slice::from_ref(path), dataset).context("distillation.teachers");
        let all = config.teachers.iter().map(open).collect::<anyhow::Result<_>>()?;
        Ok(Self { all, share: config.share })
    }

    /// The mean of the teachers' next-word probabilities `[words, vocabulary]` where the batch's captions are read as they
    /// were written.
    fn probabilities(&self, batch: &Batch) -> candle_core::Result<Tensor> {
        let mut sum: Option<Tensor> = None;
        for parameters in &self.all {
            let logits = Captioner::new(parameters).teach(batch, &mut None)?.detach();
            let odds = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?)?.exp()?;
            let probabilities = odds.broadcast_div(&odds.sum_keepdim(D::Minus1)?)?;
            sum = Some(match sum {
                None => probabilities,
                Some(sum) => (sum + probabilities)?,
            });
        }
        let Some(sum) = sum else { candle_core::bail!("distillation without teachers") };
        sum / self.all.len() as f64
    }

    /// What is to be added to the smoothed cross-entropy with people's words, for the teachers to have their share.
    pub fn correction(
        &self,
        batch: &Batch,
        logits: &Tensor,
        weights: &[f32],
        smoothing: f32,
    ) -> candle_core::Result<Tensor> {
        let probabilities = self.probabilities(batch)?;
        towards(&probabilities, logits, &batch.captions.targets, weights, smoothing)? * self.share
    }
}

/// H(q, p) - H(t, p) for p = softmax(logits) and t = (1 - smoothing) one-hot(target) + smoothing uniform, summed over rows
/// with their weights: log p differs from the logits by a number that each row has once, so this is Σ_v (t - q)_v logit_v.
fn towards(
    q: &Tensor,
    logits: &Tensor,
    targets: &[u32],
    weights: &[f32],
    smoothing: f32,
) -> candle_core::Result<Tensor> {
    let (rows, vocabulary) = logits.dims2()?;
    let mut people = vec![smoothing / vocabulary as f32; rows * vocabulary];
    for (row, &target) in people.chunks_exact_mut(vocabulary).zip(targets) {
        row[target as usize] += 1.0 - smoothing;
    }
    let people = Tensor::from_vec(people, (rows, vocabulary), logits.device())?;
    let weights = Tensor::from_slice(weights, (rows, 1), logits.device())?;
    ((people - q)?.broadcast_mul(&weights)? * logits)?.sum_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::captioner::ops;

    #[test]
    fn the_teachers_distribution_takes_the_place_of_peoples() {
        let logits = Tensor::new(&[[0.3_f32, -1.2, 2.0], [1.5, 0.1, -0.4]], &Device::Cpu).unwrap();
        let q = Tensor::new(&[[0.2_f32, 0.5, 0.3], [0.6, 0.3, 0.1]], &Device::Cpu).unwrap();
        let (targets, weights) = ([2, 0], [1.0, 0.5]);
        let people = ops::cross_entropy(&logits, &targets, &weights, 0.1).unwrap();
        let moved = (people + towards(&q, &logits, &targets, &weights, 0.1).unwrap()).unwrap();
        // - Σ_rows weight Σ_v q_v log p_v, by hand.
        let expected: f64 =
            [([0.3, -1.2, 2.0], [0.2, 0.5, 0.3], 1.0), ([1.5, 0.1, -0.4], [0.6, 0.3, 0.1], 0.5)]
                .iter()
                .map(|(x, q, weight): &([f64; 3], [f64; 3], f64)| {
                    let log_sum = x.iter().map(|x| x.exp()).sum::<f64>().ln();
                    weight * x.iter().zip(q).map(|(x, q)| q * (log_sum - x)).sum::<f64>()
                })
                .sum();
        assert!((f64::from(moved.to_scalar::<f32>().unwrap()) - expected).abs() < 1e-5);
    }
}
