//! AdamW with a running average of the parameters, over flat buffers that a checkpoint can hold.

use candle_core::{Result, Tensor, Var};

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.98;
const EPSILON: f32 = 1e-8;

/// What AdamW remembers of one parameter, and the parameter's running average.
#[derive(Clone, Debug)]
pub(crate) struct Memory {
    pub first_moment: Vec<f32>,
    pub second_moment: Vec<f32>,
    pub average: Vec<f32>,
}

/// AdamW (Loshchilov and Hutter 2019, algorithm 2).
#[derive(Clone, Debug)]
pub(crate) struct AdamW {
    /// In the parameters' order.
    pub memory: Vec<Memory>,
    /// Steps taken.
    pub steps: u64,
}

/// The numbers of one step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    pub learning_rate: f64,
    pub weight_decay: f64,
    pub clip: f64,
    /// Decay of the running average.
    pub average: f64,
}

impl AdamW {
    pub fn new<'a>(parameters: impl Iterator<Item = &'a Var>) -> Result<Self> {
        let memory = parameters
            .map(|var| {
                let average: Vec<f32> = var.flatten_all()?.to_vec1()?;
                let zeros = vec![0.0; average.len()];
                Ok(Memory { first_moment: zeros.clone(), second_moment: zeros, average })
            })
            .collect::<Result<_>>()?;
        Ok(Self { memory, steps: 0 })
    }

    /// One step along `gradients`, one flat vector a parameter; returns the gradient's norm before clipping.
    pub fn step<'a>(
        &mut self,
        parameters: impl Iterator<Item = &'a Var>,
        gradients: &[Vec<f32>],
        rates: Rates,
    ) -> Result<f64> {
        self.step_by_shares(parameters.map(|var| (var, 1.0)), gradients, rates)
    }

    /// The same, for parameters that each come with their share of the learning rate.
    pub fn step_by_shares<'a>(
        &mut self,
        parameters: impl Iterator<Item = (&'a Var, f64)>,
        gradients: &[Vec<f32>],
        rates: Rates,
    ) -> Result<f64> {
        self.steps += 1;
        let norm = gradients.iter().map(|g| squared_norm(g)).sum::<f64>().sqrt();
        let scale = (rates.clip / norm.max(1e-12)).min(1.0) as f32;
        // Early on the average of few steps would still be mostly the random start.
        let steps = self.steps as f64;
        let average = rates.average.min((1.0 + steps) / (10.0 + steps)) as f32;
        let t = self.steps as i32;
        let learning_rate = (rates.learning_rate * (1.0 - f64::from(BETA_2).powi(t)).sqrt()
            / (1.0 - f64::from(BETA_1).powi(t))) as f32;
        for (((var, share), memory), gradient) in parameters.zip(&mut self.memory).zip(gradients) {
            // Biases and scales are left out of the decay.
            let decay = if var.rank() > 1 { rates.learning_rate * rates.weight_decay * share } else { 0.0 };
            let (decay, learning_rate) = (decay as f32, learning_rate * share as f32);
            let mut values: Vec<f32> = var.flatten_all()?.to_vec1()?;
            pulp::Arch::new().dispatch(|| {
                let moments = memory.first_moment.iter_mut().zip(&mut memory.second_moment);
                let slots = values.iter_mut().zip(&mut memory.average);
                for (((x, mean), (m, v)), g) in slots.zip(moments).zip(gradient) {
                    let g = g * scale;
                    *m = BETA_1 * *m + (1.0 - BETA_1) * g;
                    *v = BETA_2 * *v + (1.0 - BETA_2) * g * g;
                    *x -= decay * *x + learning_rate * *m / (v.sqrt() + EPSILON);
                    *mean = average * *mean + (1.0 - average) * *x;
                }
            });
            var.set(&Tensor::from_vec(values, var.shape(), var.device())?)?;
        }
        Ok(norm)
    }
}

fn squared_norm(x: &[f32]) -> f64 {
    x.chunks(1024).map(|chunk| f64::from(chunk.iter().map(|x| x * x).sum::<f32>())).sum()
}

/// The one-cycle schedule (Smith and Topin 2019): a straight climb to `peak`, then a cosine down to a hundredth of it.
pub(crate) fn learning_rate(peak: f64, warm_up: f64, progress: f64) -> f64 {
    if progress < warm_up {
        return peak * (0.04 + 0.96 * progress / warm_up);
    }
    let fall = (progress - warm_up) / (1.0 - warm_up);
    let floor = 0.01 * peak;
    floor + (peak - floor) * 0.5 * (1.0 + (std::f64::consts::PI * fall).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_climbs_to_its_peak_and_falls_to_a_hundredth() {
        assert!((learning_rate(1.0, 0.1, 0.0) - 0.04).abs() < 1e-12);
        assert!((learning_rate(1.0, 0.1, 0.1) - 1.0).abs() < 1e-12);
        // Half-way down the cosine: the mean of peak and floor.
        assert!((learning_rate(1.0, 0.1, 0.55) - 0.505).abs() < 1e-12);
        assert!((learning_rate(1.0, 0.1, 1.0) - 0.01).abs() < 1e-12);
    }
}
