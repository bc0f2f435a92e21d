//! The evidence of a bundle, as files.

use candle_core::Tensor;
use metalens::evidence::{Sources, tensor};
use metalens_models::EvidenceSettings;
use ndarray::{Array1, Array2, s};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};

use super::graphs::{Beside, Phi};
use crate::evidence::Evidence;
use crate::pretrain::config::ConceptsConfig;

/// What of a picture becomes a concept: see `metalens::evidence`.
#[derive(Clone, Debug)]
pub struct EvidenceParts {
    /// E `[rows, phi]`.
    pub weight: Array2<f32>,
    /// b `[rows]`.
    pub bias: Array1<f32>,
    /// What it is computed from.
    pub phi: Phi,
    /// Classes whose logits the trunk tells beside its features; 0 where they are not used.
    pub classes: usize,
    /// Concepts that the decoder takes.
    pub concepts: usize,
    /// The words of the rows, of classes and of things.
    pub sources: Sources,
    /// How much evidence counts.
    pub settings: EvidenceSettings,
}

impl EvidenceParts {
    /// What a run learned, for a decoder that takes the concepts of `config`.
    ///
    /// # Errors
    /// When a tensor has another shape than it should.
    pub fn of_run(
        evidence: &Evidence,
        config: &ConceptsConfig,
        sources: Sources,
        classes: usize,
    ) -> anyhow::Result<Self> {
        let matrix = |tensor: &Tensor| {
            anyhow::Ok(Array2::from_shape_vec(tensor.dims2()?, tensor.flatten_all()?.to_vec1()?)?)
        };
        let offset = Array1::from_vec(evidence.phi.offset.to_vec1()?);
        // Rows that make no concepts are left behind.
        let rows = sources.captions.len();
        let bias: Vec<f32> = evidence.linear.bias.to_vec1()?;
        Ok(Self {
            weight: matrix(&evidence.linear.weight)?.slice_move(s![..rows, ..]),
            bias: Array1::from_vec(bias[..rows].to_vec()),
            phi: Phi {
                projection: Some(matrix(&evidence.phi.projection)?),
                spread: Array1::ones(offset.len()),
                mean: offset,
            },
            classes,
            concepts: config.tokens,
            sources,
            settings: config.settings,
        })
    }

    /// What the encoder has to make for it.
    #[must_use]
    pub fn beside(&self) -> Beside<'_> {
        Beside { phi: Some(&self.phi), classes: self.classes }
    }

    /// `evidence.safetensors`, its weights at half precision.
    ///
    /// # Errors
    /// Never, for finite sizes.
    pub fn file(&self) -> anyhow::Result<Vec<u8>> {
        let weight: Vec<u8> =
            self.weight.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect();
        let bias: Vec<u8> = self.bias.iter().flat_map(|x| x.to_le_bytes()).collect();
        let shape = vec![self.weight.nrows(), self.weight.ncols()];
        let tensors = [
            (tensor::WEIGHT, TensorView::new(Dtype::F16, shape, &weight)?),
            (tensor::BIAS, TensorView::new(Dtype::F32, vec![self.bias.len()], &bias)?),
        ];
        Ok(serialize(tensors, None)?)
    }

    /// `concepts.txt`, for the vocabulary `words`.
    #[must_use]
    pub fn text(&self, words: &[String]) -> String {
        self.sources.text(|id| words.get(id.index()).cloned())
    }
}
