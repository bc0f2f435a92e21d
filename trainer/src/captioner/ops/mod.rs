//! The inner loops of training, each one fused operation with its own gradient.
//!
//! candle would build each from a dozen elementary tensors; fused, the processor reads and writes memory once. They run
//! on f32 tensors in the processor's memory; on a GPU, or in f64 for gradient checks, the same formulas run as plain
//! candle operations, which the tests compare with the fused ones.

mod attention;
mod cross_entropy;
mod depthwise;
mod gru;
mod linear_cross_entropy;
mod math;
mod matrix;
mod plain;
mod pointing;
mod recurrence;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use cross_entropy::cross_entropy;
pub use depthwise::{Window, depthwise};
pub use linear_cross_entropy::{Layer, Targets, linear_cross_entropy};
pub use plain::{Concepts, Pictures, Weights, attention_weights, padded, recur};
pub use pointing::{Pointing, point};
pub use recurrence::decode;

use candle_core::{CpuStorage, DType, Layout, Result, Storage, Tensor};

/// Whether the fused operations serve these tensors.
fn fusible(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|t| t.device().is_cpu() && t.dtype() == DType::F32)
}

/// The elements of a contiguous f32 tensor in the processor's memory.
fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let (CpuStorage::F32(data), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
        candle_core::bail!("a fused operation needs contiguous f32 tensors");
    };
    Ok(&data[start..end])
}

/// Calls `f` with the elements of contiguous f32 tensors, without copying them.
fn with_slices<const N: usize, R>(tensors: [&Tensor; N], f: impl FnOnce([&[f32]; N]) -> R) -> Result<R> {
    let guards = tensors.map(Tensor::storage_and_layout);
    let mut slices: [&[f32]; N] = [&[]; N];
    for (out, (storage, layout)) in slices.iter_mut().zip(&guards) {
        let Storage::Cpu(storage) = &**storage else {
            candle_core::bail!("a fused operation needs tensors in the processor's memory");
        };
        *out = slice(storage, layout)?;
    }
    Ok(f(slices))
}
