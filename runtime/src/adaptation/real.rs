//! The numbers that adaptation computes with: `f32` on the device, `f64` where gradients are checked.

use ndarray::{LinalgScalar, ScalarOperand};
use num_traits::{Float, FromPrimitive};

/// A floating-point number.
pub trait Real:
    Float + FromPrimitive + LinalgScalar + ScalarOperand + std::ops::AddAssign + Send + Sync
{
}

impl Real for f32 {}
impl Real for f64 {}

/// A constant of the source code, in this type.
pub(super) fn real<T: Real>(x: f64) -> T {
    T::from_f64(x).expect("f32 and f64 hold every f64, rounded")
}
