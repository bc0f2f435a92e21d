//! Logistic regression of many words at once on soft shares.

use candle_core::{Result, Tensor, Var};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::optimiser::{AdamW, Rates, learning_rate};

/// The least share of pictures that a word is taken to be said of.
pub(super) const NEVER: f64 = 1e-5;

/// How evidence is fitted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fitting {
    /// Passes over the pictures.
    pub epochs: usize,
    /// Pictures a step.
    pub pictures: usize,
    /// The highest learning rate of the cycle.
    pub peak_learning_rate: f64,
    /// AdamW's decoupled weight decay.
    pub weight_decay: f64,
    /// Probability that a number of phi is dropped.
    pub dropout: f32,
}

impl Default for Fitting {
    fn default() -> Self {
        Self { epochs: 8, pictures: 128, peak_learning_rate: 1e-3, weight_decay: 0.3, dropout: 0.5 }
    }
}

/// e = E phi + b.
#[derive(Clone, Debug)]
pub struct Linear {
    /// E `[rows, phi]`.
    pub weight: Tensor,
    /// b `[rows]`.
    pub bias: Tensor,
}

impl Linear {
    /// Log-odds `[pictures, rows]` of phi `[pictures, phi]`.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn log_odds(&self, phi: &Tensor) -> Result<Tensor> {
        phi.matmul(&self.weight.t()?)?.broadcast_add(&self.bias)
    }
}

/// The rows that minimise the mean logistic loss of `shares` `[pictures, rows]`, from 0 to 1, given phi `[pictures, phi]`. Weights
/// start at zero and biases at the words' log-odds, so that a word of few pictures stays near how often it is said.
///
/// # Errors
/// When shapes do not fit.
pub fn fit(phi: &Tensor, shares: &Tensor, fitting: &Fitting, seed: u64) -> Result<Linear> {
    let (pictures, width) = phi.dims2()?;
    let rows = shares.dim(1)?;
    let device = phi.device();
    let prior = shares.mean(0)?.clamp(NEVER, 1.0 - NEVER)?;
    let bias = Var::from_tensor(&(prior.log()? - (1.0 - &prior)?.log()?)?)?;
    let weight = Var::from_tensor(&Tensor::zeros((rows, width), phi.dtype(), device)?)?;
    let mut optimiser = AdamW::new([&weight, &bias].into_iter())?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut order: Vec<u32> = (0..pictures as u32).collect();
    let total = (fitting.epochs * pictures.div_ceil(fitting.pictures)) as f64;
    for _ in 0..fitting.epochs {
        order.shuffle(&mut rng);
        for batch in order.chunks(fitting.pictures) {
            let index = Tensor::from_slice(batch, batch.len(), device)?;
            let keep = 1.0 - fitting.dropout;
            let mask: Vec<f32> = (0..batch.len() * width)
                .map(|_| if rng.random::<f32>() < keep { 1.0 / keep } else { 0.0 })
                .collect();
            let mask = Tensor::from_vec(mask, (batch.len(), width), device)?;
            let x = (phi.index_select(&index, 0)? * mask)?;
            let odds = x.matmul(&weight.t()?)?.broadcast_add(&bias)?.detach();
            let p = ((odds.neg()?.exp()? + 1.0)?.recip())?;
            // The gradient of the mean logistic loss by its log-odds is (p - share) / pictures; the sum over rows is each row's own loss.
            let d = ((p - shares.index_select(&index, 0)?)? / batch.len() as f64)?;
            let gradients = [d.t()?.matmul(&x)?.flatten_all()?.to_vec1()?, d.sum(0)?.to_vec1()?];
            let progress = optimiser.steps as f64 / total;
            let rates = Rates {
                learning_rate: learning_rate(fitting.peak_learning_rate, 0.1, progress),
                weight_decay: fitting.weight_decay,
                clip: f64::INFINITY,
                average: 0.0,
            };
            optimiser.step([&weight, &bias].into_iter(), &gradients, rates)?;
        }
    }
    Ok(Linear { weight: weight.as_tensor().detach(), bias: bias.as_tensor().detach() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use candle_core::Device;

    use super::*;

    #[test]
    fn shares_are_found_again() {
        // Word 0 follows phi, word 1 does not.
        let phi: Vec<f32> = (0..600).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
        let share = |x: f32| 1.0 / (1.0 + (1.0 - 2.0 * x).exp());
        let shares: Vec<f32> = phi.iter().flat_map(|&x| [share(x), 0.3]).collect();
        let phi = Tensor::from_vec(phi, (600, 1), &Device::Cpu).unwrap();
        let shares = Tensor::from_vec(shares, (600, 2), &Device::Cpu).unwrap();
        let fitting =
            Fitting { epochs: 120, pictures: 50, peak_learning_rate: 0.05, weight_decay: 0.0, dropout: 0.0 };
        let fitted = fit(&phi, &shares, &fitting, 1).unwrap();
        let weight: Vec<f32> = fitted.weight.flatten_all().unwrap().to_vec1().unwrap();
        let bias: Vec<f32> = fitted.bias.to_vec1().unwrap();
        assert!((weight[0] - 2.0).abs() < 0.05 && (bias[0] + 1.0).abs() < 0.05, "{weight:?} {bias:?}");
        assert!(
            weight[1].abs() < 0.05 && (bias[1] - (0.3_f32 / 0.7).ln()).abs() < 0.05,
            "{weight:?} {bias:?}"
        );
    }
}
