//! Folds an inference-time BatchNorm into the convolution before it.

use super::EncoderError;
use super::checkpoint::Weights;

/// BatchNorm's epsilon in every EfficientNet.
const EPSILON: f64 = 1e-3;

/// A convolution with bias that equals a bias-free convolution followed by BatchNorm.
pub struct Convolution {
    /// `[out, in / groups, kernel, kernel]`.
    pub weight: Vec<f32>,
    /// `[out]`.
    pub bias: Vec<f32>,
}

impl Convolution {
    /// The same layer with weights that go `share` of the way to those of `other`.
    #[must_use]
    pub fn towards(mut self, other: &Self, share: f32) -> Self {
        let pairs = self.weight.iter_mut().zip(&other.weight).chain(self.bias.iter_mut().zip(&other.bias));
        pairs.for_each(|(x, y)| *x += share * (y - *x));
        self
    }
}

/// Folds `BatchNorm(conv(x))`, read from `{conv}.weight` and `{norm}.{weight,bias,running_mean,running_var}`.
///
/// With scale s = gamma / sqrt(var + eps): weight' = s weight, bias' = beta - s mean (Jacob et al. 2018, section 3.2).
pub(super) fn fold(
    weights: &Weights,
    conv: &str,
    norm: &str,
    shape: [usize; 4],
) -> Result<Convolution, EncoderError> {
    let out = shape[0];
    let per_output = shape[1] * shape[2] * shape[3];
    let mut weight = tensor(weights, &format!("{conv}.weight"), &shape)?.to_vec();
    let gamma = tensor(weights, &format!("{norm}.weight"), &[out])?;
    let beta = tensor(weights, &format!("{norm}.bias"), &[out])?;
    let mean = tensor(weights, &format!("{norm}.running_mean"), &[out])?;
    let variance = tensor(weights, &format!("{norm}.running_var"), &[out])?;
    let mut bias = Vec::with_capacity(out);
    for (channel, kernel) in weight.chunks_exact_mut(per_output).enumerate() {
        let scale = f64::from(gamma[channel]) / (f64::from(variance[channel]) + EPSILON).sqrt();
        for value in kernel {
            *value = (f64::from(*value) * scale) as f32;
        }
        bias.push((f64::from(beta[channel]) - f64::from(mean[channel]) * scale) as f32);
    }
    Ok(Convolution { weight, bias })
}

/// The tensor `name`, checked to have `shape`.
pub(super) fn tensor<'a>(
    weights: &'a Weights,
    name: &str,
    shape: &[usize],
) -> Result<&'a [f32], EncoderError> {
    let weight = weights.get(name).ok_or_else(|| EncoderError::Missing(name.to_owned()))?;
    if weight.shape != shape {
        return Err(EncoderError::Shape {
            name: name.to_owned(),
            found: weight.shape.clone(),
            needed: shape.to_vec(),
        });
    }
    Ok(&weight.data)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::checkpoint::Weight;
    use super::*;

    fn vector(data: &[f32]) -> Weight {
        Weight { shape: vec![data.len()], data: data.to_vec() }
    }

    #[test]
    fn a_folded_convolution_equals_convolution_then_batch_norm() {
        let mut weights = Weights::new();
        weights.insert("c.weight".into(), Weight { shape: vec![2, 1, 1, 1], data: vec![3.0, -2.0] });
        weights.insert("n.weight".into(), vector(&[0.5, 2.0]));
        weights.insert("n.bias".into(), vector(&[0.1, -0.3]));
        weights.insert("n.running_mean".into(), vector(&[1.0, -4.0]));
        weights.insert("n.running_var".into(), vector(&[0.249, 3.999]));
        let folded = fold(&weights, "c", "n", [2, 1, 1, 1]).unwrap();
        // By hand, at x = 1.5: gamma (w x - mean) / sqrt(var + 0.001) + beta.
        let expected = [0.5 * (4.5 - 1.0) / 0.5 + 0.1, 2.0 * (-3.0 + 4.0) / 2.0 - 0.3];
        for (channel, expected) in expected.into_iter().enumerate() {
            let y = folded.weight[channel] * 1.5 + folded.bias[channel];
            assert!((y - expected).abs() < 1e-6, "{y} {expected}");
        }
    }

    #[test]
    fn a_layer_goes_part_of_the_way_to_another() {
        let layer = |weight: [f32; 2], bias| Convolution { weight: weight.to_vec(), bias: vec![bias] };
        let between = layer([1.0, -2.0], 4.0).towards(&layer([3.0, 2.0], 0.0), 0.75);
        assert_eq!((between.weight, between.bias), (vec![2.5, 1.0], vec![1.0]));
    }

    #[test]
    fn a_tensor_of_another_shape_is_named() {
        let mut weights = Weights::new();
        weights.insert("c.weight".into(), vector(&[1.0]));
        let error = fold(&weights, "c", "n", [1, 1, 1, 1]).err().unwrap().to_string();
        assert!(error.contains("c.weight") && error.contains("[1, 1, 1, 1]"), "{error}");
    }
}
