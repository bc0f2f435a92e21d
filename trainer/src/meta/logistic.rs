//! Logistic regression on a few features.

use metalens::adaptation::positive_inverse;
use ndarray::{Array1, Array2};

/// Newton steps; the loss is convex and a handful suffices.
const STEPS: usize = 30;

/// Weights w that minimise sum_i log(1 + exp(-y_i w x_i)) + ridge |w|^2 / 2, y_i = 1 where `labels` is true and else -1,
/// by Newton's method (Hastie, Tibshirani and Friedman 2009, equation 4.26). `x` is `[samples, features]`; a constant, if one
/// is wanted, is one of the features.
///
/// # Panics
/// When there are not as many labels as samples.
#[must_use]
pub fn logistic(x: &Array2<f64>, labels: &[bool], ridge: f64) -> Array1<f64> {
    assert_eq!(x.nrows(), labels.len());
    let features = x.ncols();
    let y: Array1<f64> = labels.iter().map(|&label| f64::from(u8::from(label))).collect();
    let mut weights = Array1::<f64>::zeros(features);
    for _ in 0..STEPS {
        let p = x.dot(&weights).mapv(|score| 1.0 / (1.0 + (-score).exp()));
        let gradient = x.t().dot(&(&p - &y)) + &weights * ridge;
        let curvature = p.mapv(|p| p * (1.0 - p)).insert_axis(ndarray::Axis(1));
        let hessian = x.t().dot(&(x * &curvature)) + Array2::<f64>::eye(features) * ridge;
        let Some(inverse) = positive_inverse(&hessian) else { break };
        weights = weights - inverse.dot(&gradient);
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gradient_vanishes_at_the_weights_found() {
        let x = Array2::from_shape_fn(
            (40, 3),
            |(i, j)| if j == 2 { 1.0 } else { ((i * 7 + j * 13) as f64).sin() },
        );
        let labels: Vec<bool> = (0..40).map(|i| x[[i, 0]] + 0.8 * ((i * 3) as f64).cos() > 0.1).collect();
        let ridge = 0.5;
        let weights = logistic(&x, &labels, ridge);
        for feature in 0..3 {
            let slope: f64 = (0..40)
                .map(|i| {
                    let p = 1.0 / (1.0 + (-x.row(i).dot(&weights)).exp());
                    (p - f64::from(u8::from(labels[i]))) * x[[i, feature]]
                })
                .sum();
            assert!((slope + ridge * weights[feature]).abs() < 1e-9);
        }
        assert!(weights[0] > 0.5, "the first feature tells the label");
    }
}
