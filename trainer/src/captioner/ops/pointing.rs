//! The pointer: concepts that were not said yet are more probable, by as much as a learned gate says.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};

use super::math::{sigmoid, vectorised};
use super::{fusible, slice, with_slices};

/// A concept that is pointed at where a word is to be said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pointing {
    /// The row of logits.
    pub row: usize,
    /// The word.
    pub word: u32,
    /// How sure it is that the picture shows it, from 0 to 1.
    pub confidence: f32,
}

/// Adds softplus(a + b confidence) to the logit of each word that is pointed at, after Li et al. (2019), section 3.2, whose gate
/// mixes probabilities where this one adds to logits.
///
/// `logits` `[rows, vocabulary]`, `pointer` `[rows, 2]` holds a and b; a word is pointed at once in a row.
///
/// # Errors
/// When shapes do not fit.
pub fn point(logits: &Tensor, pointer: &Tensor, at: &[Pointing]) -> Result<Tensor> {
    let (rows, words) = logits.dims2()?;
    if pointer.dims() != [rows, 2] || at.iter().any(|at| at.row >= rows || at.word as usize >= words) {
        candle_core::bail!("pointing: {rows} rows of {words} words, and a pointer {:?}", pointer.dims());
    }
    if at.is_empty() {
        return Ok(logits.clone());
    }
    if fusible(&[logits, pointer]) {
        return logits.contiguous()?.apply_op2(&pointer.contiguous()?, Point { at: at.to_vec() });
    }
    let device = logits.device();
    let index: Vec<u32> = at.iter().map(|at| at.row as u32).collect();
    let confidence: Vec<f32> = at.iter().map(|at| at.confidence).collect();
    let confidence = Tensor::from_vec(confidence, at.len(), device)?.to_dtype(logits.dtype())?;
    let gates = pointer.index_select(&Tensor::from_vec(index, at.len(), device)?, 0)?;
    let x = (gates.narrow(1, 0, 1)?.squeeze(1)? + gates.narrow(1, 1, 1)?.squeeze(1)?.mul(&confidence)?)?;
    // softplus(x) = max(x, 0) + ln(1 + exp(-|x|))
    let bonus = (x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?)?;
    let places: Vec<u32> = at.iter().map(|at| (at.row * words) as u32 + at.word).collect();
    let places = Tensor::from_vec(places, at.len(), device)?;
    logits.flatten_all()?.index_add(&places, &bonus, 0)?.reshape((rows, words))
}

struct Point {
    at: Vec<Pointing>,
}

impl CustomOp2 for Point {
    fn name(&self) -> &'static str {
        "point"
    }

    fn cpu_fwd(
        &self,
        logits: &CpuStorage,
        logits_layout: &Layout,
        pointer: &CpuStorage,
        pointer_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (_, words) = logits_layout.shape().dims2()?;
        let mut out = slice(logits, logits_layout)?.to_vec();
        let pointer = slice(pointer, pointer_layout)?;
        for at in &self.at {
            out[at.row * words + at.word as usize] += softplus(gate(pointer, at));
        }
        Ok((CpuStorage::F32(out), logits_layout.shape().clone()))
    }

    fn bwd(
        &self,
        logits: &Tensor,
        pointer: &Tensor,
        _out: &Tensor,
        d_out: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (_, words) = logits.dims2()?;
        let d_out = d_out.contiguous()?;
        let mut d_pointer = vec![0.0; pointer.elem_count()];
        with_slices([pointer, &d_out], |[pointer, d_out]| {
            vectorised(|| {
                for at in &self.at {
                    // softplus'(x) = sigmoid(x)
                    let d = d_out[at.row * words + at.word as usize] * sigmoid(gate(pointer, at));
                    d_pointer[2 * at.row] += d;
                    d_pointer[2 * at.row + 1] += d * at.confidence;
                }
            });
        })?;
        let d_pointer = Tensor::from_vec(d_pointer, pointer.shape(), pointer.device())?;
        Ok((Some(d_out), Some(d_pointer)))
    }
}

/// What [`softplus`] is taken of.
pub(super) fn gate(pointer: &[f32], at: &Pointing) -> f32 {
    pointer[2 * at.row] + pointer[2 * at.row + 1] * at.confidence
}

/// ln(1 + exp(x))
pub(super) fn softplus(x: f32) -> f32 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}
