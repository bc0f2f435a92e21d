//! The captioner's forward pass.

use candle_core::{D, Result, Tensor};
use rand::RngCore;
use rand_chacha::ChaCha8Rng;

use super::batch::{Batch, PackedCaptions};
use super::ops::{self, Pictures, Pointing};
use super::parameters::NO_PICTURE;
use super::{ConceptRows, EncodedConcepts, LAYER_NORM_EPSILON, Parameters};
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

/// What captions look at that are said word by word: each picture's visual tokens, and those of its concepts behind.
pub struct Seen {
    /// `[pictures, 49 + concepts, token]`, as many concepts as the picture with the most has.
    tokens: Tensor,
    /// `[pictures, 49 + concepts, key]`.
    keys: Tensor,
    /// What bars concepts that a picture has not `[pictures, 49 + concepts]`.
    barred: Option<Tensor>,
}

/// What one decoder step makes.
pub struct Step {
    /// h_t `[rows, state]`.
    pub state: Tensor,
    /// z_t `[rows, feature]`.
    pub z: Tensor,
    /// a_t `[rows, 49 + concepts]`, as many concepts as the picture with the most has.
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

    /// Words that it can say, special tokens included, slots excluded.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        self.parameters.sizes.vocabulary
    }

    fn get(&self, name: &str) -> &'a Tensor {
        self.parameters.get(name)
    }

    /// Encodes trunk features `[pictures, 49, trunk]`, or what comes before the trunk's learned blocks.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn encode(&self, features: &Tensor, dropout: &mut Option<Dropout>) -> Result<Encoded> {
        self.encode_but(features, &[], dropout)
    }

    /// The same, but for the pictures `hidden`, whose tokens are those of no picture.
    fn encode_but(
        &self,
        features: &Tensor,
        hidden: &[u32],
        dropout: &mut Option<Dropout>,
    ) -> Result<Encoded> {
        let features = self.trunk(features)?;
        let (pictures, positions, trunk) = features.dims3()?;
        let flat = features.reshape((pictures * positions, trunk))?;
        let projected =
            flat.matmul(self.get("projection.weight"))?.broadcast_add(self.get("projection.bias"))?;
        let mut tokens = self.normal(&projected, "norm")?;
        if !hidden.is_empty() {
            let is_hidden = |picture: u32| if hidden.contains(&picture) { 1.0_f32 } else { 0.0 };
            let mask: Vec<f32> =
                (0..pictures as u32).flat_map(|picture| vec![is_hidden(picture); positions]).collect();
            let mask = Tensor::from_vec(mask, (pictures * positions, 1), tokens.device())?;
            let mask = mask.to_dtype(tokens.dtype())?;
            let none = mask.broadcast_mul(&self.get(NO_PICTURE).unsqueeze(0)?)?;
            tokens = (tokens.broadcast_mul(&(1.0 - mask)?)? + none)?;
        }
        let tokens = drop(dropout, tokens)?;
        self.looked_at(tokens.reshape((pictures, positions, ()))?)
    }

    /// What stands in the place of a picture where there is none: one picture of one position.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn no_picture(&self) -> Result<Encoded> {
        self.looked_at(self.get(NO_PICTURE).reshape((1, 1, ()))?)
    }

    /// Keys and initial state of visual tokens `[pictures, positions, token]`.
    fn looked_at(&self, tokens: Tensor) -> Result<Encoded> {
        let (pictures, positions, token) = tokens.dims3()?;
        let flat = tokens.reshape((pictures * positions, token))?;
        let keys = flat.matmul(self.get("key.weight"))?.reshape((pictures, positions, ()))?;
        let state = tokens
            .mean(1)?
            .matmul(self.get("start.weight"))?
            .broadcast_add(self.get("start.bias"))?
            .tanh()?;
        Ok(Encoded { tokens, keys, state })
    }

    /// LayerNorm (Ba et al. 2016) of rows `[rows, width]`, with the scale and shift called `name`.
    fn normal(&self, rows: &Tensor, name: &str) -> Result<Tensor> {
        let centred = rows.broadcast_sub(&rows.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        let normal = centred.broadcast_div(&(variance + LAYER_NORM_EPSILON)?.sqrt()?)?;
        normal
            .broadcast_mul(self.get(&format!("{name}.weight")))?
            .broadcast_add(self.get(&format!("{name}.bias")))
    }

    /// Encodes concepts, for the rows or the pictures that have them.
    ///
    /// # Errors
    /// When shapes do not fit, or this captioner knows no concepts.
    pub fn concepts(&self, rows: &ConceptRows) -> Result<EncodedConcepts> {
        if !self.parameters.sizes.concepts {
            candle_core::bail!("this captioner was not trained with concepts");
        }
        let words: Vec<u32> = rows.concepts.iter().map(|concept| concept.word.0).collect();
        let confidence: Vec<f32> = rows.concepts.iter().map(|concept| concept.confidence).collect();
        let word = self.embed(&words)?;
        let confidence =
            Tensor::from_vec(confidence, (words.len(), 1), word.device())?.to_dtype(word.dtype())?;
        let projected = Tensor::cat(&[&word, &confidence], 1)?
            .matmul(self.get("concept.weight"))?
            .broadcast_add(self.get("concept.bias"))?;
        let tokens = self.normal(&projected, "concept.norm")?;
        let keys = tokens.matmul(self.get("key.weight"))?;
        Ok(EncodedConcepts { tokens, keys, rows: rows.clone() })
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

    /// What captions of encoded pictures look at, each of which has the concepts of its row.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn seen(&self, encoded: &Encoded, concepts: Option<&EncodedConcepts>) -> Result<Seen> {
        let Encoded { keys, tokens, .. } = encoded;
        let Some(concepts) = concepts else {
            return Ok(Seen { tokens: tokens.clone(), keys: keys.clone(), barred: None });
        };
        let EncodedConcepts { tokens: of_concepts, keys: keys_of_concepts, rows } = concepts;
        let of_row = &rows.of_row;
        let padded = ops::padded(ops::Concepts { keys: keys_of_concepts, tokens: of_concepts, of_row })?;
        let (keys, tokens, barred) = padded.behind(keys, tokens)?;
        Ok(Seen { tokens, keys, barred: Some(barred) })
    }

    /// One decoder step of free-running captioning: row i reads `words[i]` and looks at picture `picture_of_row[i]`.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn step(&self, words: &[u32], state: &Tensor, seen: &Seen, picture_of_row: &[u32]) -> Result<Step> {
        let weights = self.recurrent();
        let pictures = Tensor::from_slice(picture_of_row, picture_of_row.len(), state.device())?;
        let of_rows = |of_pictures: &Tensor| of_pictures.index_select(&pictures, 0);
        let (keys, tokens) = (of_rows(&seen.keys)?, of_rows(&seen.tokens)?);
        let barred = seen.barred.as_ref().map(of_rows).transpose()?;
        let attention = ops::attention_weights(state, &keys, weights, barred.as_ref())?;
        let context = attention.unsqueeze(1)?.matmul(&tokens)?.squeeze(1)?;
        let word = self.embed(words)?;
        let state = ops::recur(&word, &context, state, weights)?;
        let z = Tensor::cat(&[&state, &context, &word], 1)?;
        Ok(Step { state, z, attention })
    }

    /// logits `[rows, vocabulary]` of z `[rows, feature]` with what points at concepts.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn point(&self, logits: &Tensor, z: &Tensor, at: &[Pointing]) -> Result<Tensor> {
        ops::point(logits, &self.pointer(z)?, at)
    }

    /// How much z `[rows, feature]` points, and how much more for each confidence: `[rows, 2]`.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn pointer(&self, z: &Tensor) -> Result<Tensor> {
        z.matmul(self.get("pointer.weight"))?.broadcast_add(self.get("pointer.bias"))
    }

    /// The head: z `[rows, feature]` -> logits `[rows, vocabulary]`.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn head(&self, z: &Tensor, dropout: &mut Option<Dropout>) -> Result<Tensor> {
        self.hidden(z, dropout)?
            .matmul(&self.get("head.fc2.weight").t()?)?
            .broadcast_add(self.get("head.fc2.bias"))
    }

    /// What the head's last layer reads of z `[rows, feature]`.
    fn hidden(&self, z: &Tensor, dropout: &mut Option<Dropout>) -> Result<Tensor> {
        let z = drop(dropout, z.clone())?;
        let hidden =
            z.matmul(&self.get("head.fc1.weight").t()?)?.broadcast_add(self.get("head.fc1.bias"))?.silu()?;
        drop(dropout, hidden)
    }

    /// Cross-entropy of what [`Self::teach`] makes of the batch: a scalar. `weights` says how much each word counts.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn loss(
        &self,
        batch: &Batch,
        weights: &[f32],
        smoothing: f32,
        dropout: &mut Option<Dropout>,
    ) -> Result<Tensor> {
        let z = self.body(batch, dropout)?;
        let hidden = self.hidden(&z, dropout)?;
        let pointing = match &batch.concepts {
            Some(concepts) => Some((self.pointer(&z)?, concepts.pointings(&batch.captions))),
            None => None,
        };
        let layer = ops::Layer {
            weight: self.get("head.fc2.weight"),
            bias: self.get("head.fc2.bias"),
            pointing: pointing.as_ref().map(|(pointer, at)| (pointer, at.as_slice())),
        };
        let targets = ops::Targets { words: &batch.captions.targets, weights, smoothing };
        ops::linear_cross_entropy(&hidden, layer, targets)
    }

    /// Logits `[words, vocabulary]` of the batch's captions, each word read as it was written (teacher forcing), in the
    /// order of [`super::PackedCaptions::targets`].
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn teach(&self, batch: &Batch, dropout: &mut Option<Dropout>) -> Result<Tensor> {
        let z = self.body(batch, dropout)?;
        let logits = self.head(&z, dropout)?;
        match &batch.concepts {
            Some(concepts) => self.point(&logits, &z, &concepts.pointings(&batch.captions)),
            None => Ok(logits),
        }
    }

    /// z `[words, feature]` of the batch's captions: all of the captioner but its head.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn body(&self, batch: &Batch, dropout: &mut Option<Dropout>) -> Result<Tensor> {
        let encoded = match &batch.features {
            Some(features) => self.encode_but(features, &batch.hidden, dropout)?,
            None => self.no_picture()?,
        };
        let concepts = batch.concepts.as_ref().map(|rows| self.concepts(rows)).transpose()?;
        self.read(&batch.captions, &encoded, concepts.as_ref(), &batch.picture_of_row, dropout)
    }

    /// z `[words, feature]` of captions that are read as they were written, in the order of
    /// [`super::PackedCaptions::inputs`].
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn read(
        &self,
        captions: &PackedCaptions,
        encoded: &Encoded,
        concepts: Option<&EncodedConcepts>,
        picture_of_row: &[u32],
        dropout: &mut Option<Dropout>,
    ) -> Result<Tensor> {
        let PackedCaptions { inputs, rows_at, .. } = captions;
        let words = drop(dropout, self.embed(inputs)?)?;
        let pictures = Pictures { keys: &encoded.keys, tokens: &encoded.tokens, state: &encoded.state };
        let concepts = concepts.map(|EncodedConcepts { tokens, keys, rows }| ops::Concepts {
            keys,
            tokens,
            of_row: &rows.of_row,
        });
        let seen = ops::decode(&words, pictures, concepts, self.recurrent(), rows_at, picture_of_row)?;
        Tensor::cat(&[&seen, &words], 1)
    }
}

fn drop(dropout: &mut Option<Dropout>, x: Tensor) -> Result<Tensor> {
    match dropout {
        Some(dropout) => dropout.apply(x),
        None => Ok(x),
    }
}
