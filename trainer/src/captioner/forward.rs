//! The captioner's forward pass.

use candle_core::{D, Result, Tensor};
use rand::RngCore;
use rand_chacha::ChaCha8Rng;

use super::batch::Batch;
use super::ops::{self, Pictures};
use super::{LAYER_NORM_EPSILON, Parameters};
use crate::encoder::learned;

/// Dropout (Srivastava et al. 2014) with masks from a seeded generator, so that training repeats bit for bit.
pub struct Dropout {
    rng: ChaCha8Rng,
    /// Elements are dropped whose random byte is below this.
    threshold: u8,
}

impl Dropout {
    /// Drops each element with probability `rate`, in steps of 1/256.
    #[must_use]
    pub fn new(rate: f64, rng: ChaCha8Rng) -> Self {
        Self { rng, threshold: (rate * 256.0).round().clamp(0.0, 255.0) as u8 }
    }

    fn apply(&mut self, x: Tensor) -> Result<Tensor> {
        if self.threshold == 0 {
            return Ok(x);
        }
        let keep = 1.0 - f32::from(self.threshold) / 256.0;
        let mut bytes = vec![0; x.elem_count()];
        self.rng.fill_bytes(&mut bytes);
        let mask: Vec<f32> =
            bytes.iter().map(|&byte| if byte < self.threshold { 0.0 } else { 1.0 / keep }).collect();
        let mask = Tensor::from_vec(mask, x.shape(), x.device())?.to_dtype(x.dtype())?;
        x * mask
    }
}

/// The pictures of a batch, encoded.
pub struct Encoded {
    /// Visual tokens v `[pictures, 49, token]`.
    pub tokens: Tensor,
    /// Attention keys k `[pictures, 49, key]`.
    pub keys: Tensor,
    /// Initial decoder state h_0 `[pictures, state]`.
    pub state: Tensor,
}

impl Encoded {
    /// The same numbers, through which no gradient flows.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self { tokens: self.tokens.detach(), keys: self.keys.detach(), state: self.state.detach() }
    }
}

/// What one decoder step makes.
pub struct Step {
    /// h_t `[rows, state]`.
    pub state: Tensor,
    /// z_t `[rows, feature]`.
    pub z: Tensor,
    /// a_t `[rows, 49]`.
    pub attention: Tensor,
}

/// The captioner: parameters with a forward pass.
pub struct Captioner<'a> {
    parameters: &'a Parameters,
    /// The block from which on the trunk is still to be gone through.
    cut: Option<usize>,
}

impl<'a> Captioner<'a> {
    /// A captioner that reads `parameters`.
    #[must_use]
    pub fn new(parameters: &'a Parameters) -> Self {
        Self { parameters, cut: parameters.sizes.cut }
    }

    /// The same for features that [`Self::trunk`] made: they need not go through the trunk's learned blocks again.
    #[must_use]
    pub fn behind_trunk(parameters: &'a Parameters) -> Self {
        Self { parameters, cut: None }
    }

    /// The trunk's features `[pictures, 49, trunk]` of what is cached before its learned blocks; the same where there are none.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn trunk(&self, features: &Tensor) -> Result<Tensor> {
        match self.cut {
            None => Ok(features.clone()),
            Some(cut) => learned::forward(features, cut, &|name| self.get(name)),
        }
    }

    fn get(&self, name: &str) -> &'a Tensor {
        self.parameters.get(name)
    }

    /// Encodes trunk features `[pictures, 49, trunk]`, or what comes before the trunk's learned blocks.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn encode(&self, features: &Tensor, dropout: &mut Option<Dropout>) -> Result<Encoded> {
        let features = self.trunk(features)?;
        let (pictures, positions, trunk) = features.dims3()?;
        let flat = features.reshape((pictures * positions, trunk))?;
        let projected =
            flat.matmul(self.get("projection.weight"))?.broadcast_add(self.get("projection.bias"))?;
        let centred = projected.broadcast_sub(&projected.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let normal = centred.broadcast_div(&(variance + LAYER_NORM_EPSILON)?.sqrt()?)?;
        let tokens = normal.broadcast_mul(self.get("norm.weight"))?.broadcast_add(self.get("norm.bias"))?;
        let tokens = drop(dropout, tokens)?;
        let keys = tokens.matmul(self.get("key.weight"))?.reshape((pictures, positions, ()))?;
        let tokens = tokens.reshape((pictures, positions, ()))?;
        let state = tokens
            .mean(1)?
            .matmul(self.get("start.weight"))?
            .broadcast_add(self.get("start.bias"))?
            .tanh()?;
        Ok(Encoded { tokens, keys, state })
    }

    fn recurrent(&self) -> ops::Weights<'a> {
        ops::Weights {
            query: self.get("query.weight"),
            query_bias: self.get("query.bias"),
            energy: self.get("energy.weight"),
            input: self.get("gru.input.weight"),
            input_bias: self.get("gru.input.bias"),
            state: self.get("gru.state.weight"),
            state_bias: self.get("gru.state.bias"),
        }
    }

    /// Embeddings e `[words, word]`.
    fn embed(&self, words: &[u32]) -> Result<Tensor> {
        let table = self.get("word.weight");
        table.index_select(&Tensor::from_slice(words, words.len(), table.device())?, 0)
    }

    /// One decoder step of free-running captioning: row i reads `words[i]` and looks at picture `picture_of_row[i]`.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn step(
        &self,
        words: &[u32],
        state: &Tensor,
        encoded: &Encoded,
        picture_of_row: &[u32],
    ) -> Result<Step> {
        let weights = self.recurrent();
        let pictures = Tensor::from_slice(picture_of_row, picture_of_row.len(), state.device())?;
        let keys = encoded.keys.index_select(&pictures, 0)?;
        let attention = ops::attention_weights(state, &keys, weights)?;
        let tokens = encoded.tokens.index_select(&pictures, 0)?;
        let context = attention.unsqueeze(1)?.matmul(&tokens)?.squeeze(1)?;
        let word = self.embed(words)?;
        let state = ops::recur(&word, &context, state, weights)?;
        let z = Tensor::cat(&[&state, &context, &word], 1)?;
        Ok(Step { state, z, attention })
    }

    /// The head: z `[rows, feature]` -> logits `[rows, vocabulary]`.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn head(&self, z: &Tensor, dropout: &mut Option<Dropout>) -> Result<Tensor> {
        let z = drop(dropout, z.clone())?;
        let hidden =
            z.matmul(&self.get("head.fc1.weight").t()?)?.broadcast_add(self.get("head.fc1.bias"))?.silu()?;
        drop(dropout, hidden)?
            .matmul(&self.get("head.fc2.weight").t()?)?
            .broadcast_add(self.get("head.fc2.bias"))
    }

    /// Logits `[words, vocabulary]` of the batch's captions, each word read as it was written (teacher forcing), in the
    /// order of [`super::PackedCaptions::targets`].
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn teach(&self, batch: &Batch, dropout: &mut Option<Dropout>) -> Result<Tensor> {
        let z = self.body(batch, dropout)?;
        self.head(&z, dropout)
    }

    /// z `[words, feature]` of the batch's captions: all of the captioner but its head.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn body(&self, batch: &Batch, dropout: &mut Option<Dropout>) -> Result<Tensor> {
        let encoded = self.encode(&batch.features, dropout)?;
        let Batch { captions, picture_of_row, .. } = batch;
        self.read(&captions.inputs, &captions.rows_at, &encoded, picture_of_row, dropout)
    }

    /// z `[words, feature]` of captions that are read as they were written, in the order of
    /// [`super::PackedCaptions::inputs`].
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn read(
        &self,
        inputs: &[u32],
        rows_at: &[usize],
        encoded: &Encoded,
        picture_of_row: &[u32],
        dropout: &mut Option<Dropout>,
    ) -> Result<Tensor> {
        let words = drop(dropout, self.embed(inputs)?)?;
        let pictures = Pictures { keys: &encoded.keys, tokens: &encoded.tokens, state: &encoded.state };
        let seen = ops::decode(&words, pictures, self.recurrent(), rows_at, picture_of_row)?;
        Tensor::cat(&[&seen, &words], 1)
    }
}

fn drop(dropout: &mut Option<Dropout>, x: Tensor) -> Result<Tensor> {
    match dropout {
        Some(dropout) => dropout.apply(x),
        None => Ok(x),
    }
}
