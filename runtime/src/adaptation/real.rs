//! The numbers that adaptation computes with: `f32` on the device, `f64` where gradients are checked.

use ndarray::{LinalgScalar, ScalarOperand};
use num_traits::{Float, FromPrimitive};

use super::product::Layer;

/// A floating-point number.
pub trait Real:
    Float + FromPrimitive + LinalgScalar + ScalarOperand + std::ops::AddAssign + Send + Sync
{
    /// x W^T `[rows, outputs]` of x `[rows, inputs]` and W `[outputs, inputs]`, row-major, where there are few rows.
    fn few_rows(x: &[Self], weight: &[Self], inputs: usize) -> Vec<Self>;
}

impl Real for f32 {
    fn few_rows(x: &[f32], weight: &[f32], inputs: usize) -> Vec<f32> {
        pulp::Arch::new().dispatch(Layer { x, weight, inputs })
    }
}

impl Real for f64 {
    fn few_rows(x: &[f64], weight: &[f64], inputs: usize) -> Vec<f64> {
        let dot = |x: &[f64], weight: &[f64]| x.iter().zip(weight).map(|(x, w)| x * w).sum();
        x.chunks_exact(inputs).flat_map(|x| weight.chunks_exact(inputs).map(move |w| dot(x, w))).collect()
    }
}

/// A constant of the source code, in this type.
pub(super) fn real<T: Real>(x: f64) -> T {
    T::from_f64(x).expect("f32 and f64 hold every f64, rounded")
}
