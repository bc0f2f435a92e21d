//! The decoder's formulas as plain candle operations: for a GPU, for gradient checks in f64, and for captions that are said word by
//! word.

use std::ops::Range;

use candle_core::{Result, Tensor};

use super::{attention, gru};

/// The recurrent layers.
#[derive(Clone, Copy)]
pub struct Weights<'a> {
    /// `[state, key]`.
    pub query: &'a Tensor,
    /// `[key]`.
    pub query_bias: &'a Tensor,
    /// `[key]`.
    pub energy: &'a Tensor,
    /// `[word + token, 3 state]`.
    pub input: &'a Tensor,
    /// `[3 state]`.
    pub input_bias: &'a Tensor,
    /// `[state, 3 state]`.
    pub state: &'a Tensor,
    /// `[3 state]`.
    pub state_bias: &'a Tensor,
}

/// The pictures that captions look at.
#[derive(Clone, Copy)]
pub struct Pictures<'a> {
    /// `[pictures, positions, key]`.
    pub keys: &'a Tensor,
    /// `[pictures, positions, token]`.
    pub tokens: &'a Tensor,
    /// `[pictures, state]`.
    pub state: &'a Tensor,
}

/// The concepts that captions look at beside the picture.
#[derive(Clone, Copy)]
pub struct Concepts<'a> {
    /// `[concepts, key]`, those of all rows one after the other.
    pub keys: &'a Tensor,
    /// `[concepts, token]`.
    pub tokens: &'a Tensor,
    /// Which of them each row has.
    pub of_row: &'a [Range<usize>],
}

/// The attention's weights `[rows, positions]` of one step; `barred` `[rows, positions]`, where given, is added to the scores.
///
/// # Errors
/// When shapes do not fit.
pub fn attention_weights(
    state: &Tensor,
    keys: &Tensor,
    weights: Weights,
    barred: Option<&Tensor>,
) -> Result<Tensor> {
    let query = state.matmul(weights.query)?.broadcast_add(weights.query_bias)?;
    attention::weights(&query, keys, weights.energy, barred)
}

/// What bars a position: added to its score, it leaves nothing of its weight.
pub const BARRED: f32 = -1e4;

/// The concepts of some rows, as many for each as the row with the most has.
pub struct Padded {
    /// `[rows, most, key]`.
    keys: Tensor,
    /// `[rows, most, token]`.
    tokens: Tensor,
    /// What bars those that a row has not, `[rows, most]`.
    barred: Tensor,
}

impl Padded {
    /// Keys and tokens `[rows, positions, …]` of the first rows' pictures with those of their concepts behind, and what bars concepts
    /// that a row has not, `[rows, positions + most]`.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn behind(&self, keys: &Tensor, tokens: &Tensor) -> Result<(Tensor, Tensor, Tensor)> {
        let (rows, positions, _) = keys.dims3()?;
        let joined = |of_picture: &Tensor, of_concepts: &Tensor| {
            Tensor::cat(&[of_picture, &of_concepts.narrow(0, 0, rows)?], 1)
        };
        let free = Tensor::zeros((rows, positions), keys.dtype(), keys.device())?;
        Ok((joined(keys, &self.keys)?, joined(tokens, &self.tokens)?, joined(&free, &self.barred)?))
    }
}

/// Pads the concepts of rows.
///
/// # Errors
/// When shapes do not fit.
pub fn padded(concepts: Concepts) -> Result<Padded> {
    let rows = concepts.of_row.len();
    let most = concepts.of_row.iter().map(ExactSizeIterator::len).max().unwrap_or(0).max(1);
    let nothing = concepts.keys.dim(0)?;
    let (mut index, mut barred) = (Vec::with_capacity(rows * most), Vec::with_capacity(rows * most));
    for row in concepts.of_row {
        index.extend(row.clone().map(|concept| concept as u32));
        index.resize(barred.len() + most, nothing as u32);
        barred.resize(barred.len() + row.len(), 0.0);
        barred.resize(index.len(), BARRED);
    }
    let device = concepts.keys.device();
    let index = Tensor::from_vec(index, rows * most, device)?;
    let pick = |all: &Tensor| {
        let width = all.dim(1)?;
        let none = Tensor::zeros((1, width), all.dtype(), device)?;
        Tensor::cat(&[all, &none], 0)?.index_select(&index, 0)?.reshape((rows, most, width))
    };
    let barred = Tensor::from_vec(barred, (rows, most), device)?.to_dtype(concepts.keys.dtype())?;
    Ok(Padded { keys: pick(concepts.keys)?, tokens: pick(concepts.tokens)?, barred })
}

/// The state after reading a word's embedding `[rows, word]` and the context `[rows, token]` it looked at.
///
/// # Errors
/// When shapes do not fit.
pub fn recur(word: &Tensor, context: &Tensor, state: &Tensor, weights: Weights) -> Result<Tensor> {
    let input = Tensor::cat(&[word, context], 1)?;
    let x = input.matmul(weights.input)?.broadcast_add(weights.input_bias)?;
    let y = state.matmul(weights.state)?.broadcast_add(weights.state_bias)?;
    gru::plain(&x, &y, state)
}

/// [`super::decode`], step by step.
pub(super) fn decode(
    words: &Tensor,
    pictures: Pictures,
    concepts: Option<Concepts>,
    weights: Weights,
    rows_at: &[usize],
    picture_of_row: &[u32],
) -> Result<Tensor> {
    let padded = concepts.map(padded).transpose()?;
    let all = Tensor::from_slice(picture_of_row, picture_of_row.len(), words.device())?;
    let mut state = pictures.state.index_select(&all, 0)?;
    let mut steps = Vec::with_capacity(rows_at.len());
    let mut read = 0;
    for &rows in rows_at {
        state = state.narrow(0, 0, rows)?;
        let here = all.narrow(0, 0, rows)?;
        let mut keys = pictures.keys.index_select(&here, 0)?;
        let mut tokens = pictures.tokens.index_select(&here, 0)?;
        let mut barred = None;
        if let Some(padded) = &padded {
            let (all_keys, all_tokens, bars) = padded.behind(&keys, &tokens)?;
            (keys, tokens, barred) = (all_keys, all_tokens, Some(bars));
        }
        let attention = attention_weights(&state, &keys, weights, barred.as_ref())?;
        let context = attention.unsqueeze(1)?.matmul(&tokens)?.squeeze(1)?;
        state = recur(&words.narrow(0, read, rows)?, &context, &state, weights)?;
        steps.push(Tensor::cat(&[&state, &context], 1)?);
        read += rows;
    }
    Tensor::cat(&steps, 0)
}
