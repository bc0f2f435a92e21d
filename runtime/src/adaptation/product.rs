//! Products of a few rows with a layer: a step of a beam, or a caption.

use ndarray::{Array2, ArrayView2};
use pulp::{Simd, WithSimd};

use super::real::Real;

/// Up to so many rows, reading the layer as it lies beats packing it for a product of matrices.
const FEW: usize = 16;
/// Vectors that are summed side by side, so that none waits for the one before.
const SUMS: usize = 4;

/// x W^T `[rows, outputs]` of x `[rows, inputs]` and W `[outputs, inputs]`.
pub(super) fn times<T: Real>(x: &ArrayView2<T>, weight: &Array2<T>) -> Array2<T> {
    let (rows, inputs) = x.dim();
    let standard = x.as_standard_layout();
    match (standard.as_slice(), weight.as_slice()) {
        (Some(x), Some(flat)) if rows <= FEW && inputs > 0 => {
            let product = T::few_rows(x, flat, inputs);
            Array2::from_shape_vec((rows, weight.nrows()), product).expect("a number for each row and output")
        }
        _ => x.dot(&weight.t()),
    }
}

/// The product for the widest vector unit of the processor.
pub(super) struct Layer<'a> {
    pub x: &'a [f32],
    pub weight: &'a [f32],
    pub inputs: usize,
}

impl WithSimd for Layer<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let outputs = self.weight.len() / self.inputs;
        let mut product = vec![0.0; self.x.len() / self.inputs * outputs];
        // The rows stay in the nearest cache while the layer, which does not fit there, is read once.
        for (output, weight) in self.weight.chunks_exact(self.inputs).enumerate() {
            for (row, x) in self.x.chunks_exact(self.inputs).enumerate() {
                product[row * outputs + output] = dot(simd, x, weight);
            }
        }
        product
    }
}

#[inline(always)]
fn dot<S: Simd>(simd: S, a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (S::as_simd_f32s(a), S::as_simd_f32s(b));
    let mut rest = 0.0;
    for (a, b) in a_rest.iter().zip(b_rest) {
        rest += a * b;
    }
    let ((a, a_last), (b, b_last)) = (a.as_chunks::<SUMS>(), b.as_chunks::<SUMS>());
    // Written out, since the device's program is optimised for size, which would leave a loop of four with its sums in memory.
    let zero = simd.splat_f32s(0.0);
    let (mut first, mut second, mut third, mut fourth) = (zero, zero, zero, zero);
    for (a, b) in a.iter().zip(b) {
        first = simd.mul_add_f32s(a[0], b[0], first);
        second = simd.mul_add_f32s(a[1], b[1], second);
        third = simd.mul_add_f32s(a[2], b[2], third);
        fourth = simd.mul_add_f32s(a[3], b[3], fourth);
    }
    for (&a, &b) in a_last.iter().zip(b_last) {
        first = simd.mul_add_f32s(a, b, first);
    }
    let sum = simd.add_f32s(simd.add_f32s(first, second), simd.add_f32s(third, fourth));
    simd.reduce_sum_f32s(sum) + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers<T: Real>(shape: (usize, usize)) -> Array2<T> {
        Array2::from_shape_fn(shape, |(i, j)| {
            super::super::real::real(((i * 31 + j * 17) as f64 * 0.7).sin())
        })
    }

    fn gap<T: Real>(x: &ArrayView2<T>, weight: &Array2<T>) -> T {
        (times(x, weight) - x.dot(&weight.t())).iter().fold(T::zero(), |most, gap| most.max(gap.abs()))
    }

    #[test]
    fn few_rows_and_many_give_the_product_of_matrices() {
        for inputs in [1, 16, 67, 128] {
            for rows in [0, 1, FEW, FEW + 1] {
                let weight = numbers::<f64>((5, inputs));
                assert!(gap(&numbers((rows, inputs)).view(), &weight) < 1e-12, "{rows} rows of {inputs}");
                assert!(gap(&numbers((inputs, rows)).t(), &weight) < 1e-12, "{rows} turned rows of {inputs}");
                let weight = numbers::<f32>((5, inputs));
                assert!(gap(&numbers((rows, inputs)).view(), &weight) < 1e-4, "{rows} f32 rows of {inputs}");
            }
        }
    }
}
