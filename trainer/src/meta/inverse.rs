//! The inverse of a symmetric positive definite matrix, differentiable once.

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor};
use metalens::adaptation::positive_inverse;
use ndarray::Array2;

/// M^-1 of M `[n, n]`, symmetric and positive definite.
///
/// With Y = M^-1, dL/dM = -Y^T (dL/dY) Y^T (Petersen and Pedersen 2012, equation 124).
///
/// # Errors
/// When M is not square, or not positive definite.
pub fn inverse(matrix: &Tensor) -> Result<Tensor> {
    matrix.contiguous()?.apply_op1(Inverse)
}

struct Inverse;

impl CustomOp1 for Inverse {
    fn name(&self) -> &'static str {
        "inverse"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (rows, columns) = layout.shape().dims2()?;
        if rows != columns {
            candle_core::bail!("inverse: {rows} rows, {columns} columns");
        }
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("inverse: not contiguous");
        };
        // In f64: the Gram matrix of nearly equal tokens is nearly singular.
        let inverse = |values: Vec<f64>| {
            let inverse =
                Array2::from_shape_vec((rows, rows), values).ok().and_then(|m| positive_inverse(&m));
            match inverse {
                Some(inverse) => Ok(inverse.into_raw_vec_and_offset().0),
                None => candle_core::bail!("inverse: the matrix is not positive definite"),
            }
        };
        let storage = match storage {
            CpuStorage::F32(x) => {
                let wide = x[start..end].iter().map(|&x| f64::from(x)).collect();
                CpuStorage::F32(inverse(wide)?.into_iter().map(|x| x as f32).collect())
            }
            CpuStorage::F64(x) => CpuStorage::F64(inverse(x[start..end].to_vec())?),
            _ => candle_core::bail!("inverse: neither f32 nor f64"),
        };
        Ok((storage, layout.shape().clone()))
    }

    fn bwd(&self, _matrix: &Tensor, inverse: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let transposed = inverse.t()?.contiguous()?;
        Ok(Some(transposed.matmul(grad)?.matmul(&transposed)?.neg()?))
    }
}

/// The identity matrix times `scale`, a scalar.
///
/// # Errors
/// When the device refuses the allocation.
pub fn scaled_identity(n: usize, scale: &Tensor, dtype: DType) -> Result<Tensor> {
    Tensor::eye(n, dtype, scale.device())?.broadcast_mul(scale)
}
