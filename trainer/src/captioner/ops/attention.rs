//! Additive attention: a = softmax(w . tanh(k + q)), c = sum_i a_i v_i.

use candle_core::{D, Result, Tensor};

use super::math::{add_scaled, dot, exp, tanh};

/// The weights a `[rows, positions]`, as plain candle operations; `keys` `[rows, positions, key]`. What is added to the scores
/// `[rows, positions]` bars positions that a row has not.
pub(super) fn weights(
    query: &Tensor,
    keys: &Tensor,
    energy: &Tensor,
    barred: Option<&Tensor>,
) -> Result<Tensor> {
    let scores = keys.broadcast_add(&query.unsqueeze(1)?)?.tanh()?.broadcast_mul(energy)?.sum(D::Minus1)?;
    let scores = barred.map_or(Ok(scores.clone()), |barred| scores + barred)?;
    let shifted = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
    shifted.broadcast_div(&shifted.sum_keepdim(D::Minus1)?)
}

/// Keys and tokens of a picture, or of its concepts, side by side, row-major `[positions, key + token]`.
#[derive(Clone, Copy)]
pub(super) struct Memory<'a> {
    pub data: &'a [f32],
    pub key: usize,
    pub token: usize,
}

impl<'a> Memory<'a> {
    fn width(self) -> usize {
        self.key + self.token
    }

    fn positions(self) -> usize {
        self.data.len() / self.width()
    }

    #[inline(always)]
    fn key(self, i: usize) -> &'a [f32] {
        &self.data[i * self.width()..][..self.key]
    }

    #[inline(always)]
    fn token(self, i: usize) -> &'a [f32] {
        &self.data[i * self.width() + self.key..][..self.token]
    }
}

/// The keys of all memories, one after the other.
#[inline(always)]
fn keys<'a>(memories: [Memory<'a>; 2]) -> impl Iterator<Item = &'a [f32]> {
    memories.into_iter().flat_map(|memory| (0..memory.positions()).map(move |i| memory.key(i)))
}

/// The tokens of all memories, one after the other.
#[inline(always)]
fn tokens<'a>(memories: [Memory<'a>; 2]) -> impl Iterator<Item = &'a [f32]> {
    memories.into_iter().flat_map(|memory| (0..memory.positions()).map(move |i| memory.token(i)))
}

/// Writes the weights, of as many positions as the memories have together, and adds the context to `context` `[token]`, which
/// starts at zero.
#[inline(always)]
pub(super) fn attend(
    query: &[f32],
    memories: [Memory; 2],
    energy: &[f32],
    weights: &mut [f32],
    context: &mut [f32],
) {
    let mut activation = [0.0; MAX_KEY];
    let activation = &mut activation[..query.len()];
    let positions = memories[0].positions() + memories[1].positions();
    let weights = &mut weights[..positions];
    for (score, key) in weights.iter_mut().zip(keys(memories)) {
        activate(query, key, activation);
        *score = dot(activation, energy);
    }
    let highest = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for a in weights.iter_mut() {
        *a = exp(*a - highest);
        sum += *a;
    }
    for (a, token) in weights.iter_mut().zip(tokens(memories)) {
        *a /= sum;
        add_scaled(context, *a, token);
    }
}

/// What [`attend_backward`] adds to.
pub(super) struct AttentionGradients<'a> {
    /// `[key]`.
    pub query: &'a mut [f32],
    /// `[positions, key + token]` of each memory.
    pub memories: [&'a mut [f32]; 2],
    /// `[key]`.
    pub energy: &'a mut [f32],
}

/// Adds the gradients of query, memory and energy, given that of the context; tanh is computed again, which costs less
/// than to write and read it.
#[inline(always)]
pub(super) fn attend_backward(
    query: &[f32],
    memories: [Memory; 2],
    energy: &[f32],
    weights: &[f32],
    d_context: &[f32],
    gradients: AttentionGradients,
) {
    let mut activation = [0.0; MAX_KEY];
    let activation = &mut activation[..query.len()];
    // Softmax: ds_i = a_i (da_i - sum_j a_j da_j), da_i = dc . v_i; and sum_j a_j da_j = dc . c.
    let mut mean = 0.0;
    for (a, token) in weights.iter().zip(tokens(memories)) {
        mean += a * dot(d_context, token);
    }
    let mut weights = weights.iter();
    for (memory, d_memory) in memories.into_iter().zip(gradients.memories) {
        for (i, (d_row, a)) in d_memory.chunks_exact_mut(memory.width()).zip(&mut weights).enumerate() {
            let d_score = a * (dot(d_context, memory.token(i)) - mean);
            let (d_key, d_token) = d_row.split_at_mut(memory.key);
            add_scaled(d_token, *a, d_context);
            activate(query, memory.key(i), activation);
            let slots = gradients.energy.iter_mut().zip(gradients.query.iter_mut()).zip(d_key);
            for (((d_energy, d_query), d_key), (t, w)) in slots.zip(activation.iter().zip(energy)) {
                *d_energy += d_score * t;
                let d = d_score * w * (1.0 - t * t);
                *d_query += d;
                *d_key += d;
            }
        }
    }
}

/// The widest key that the fused operation serves; wider ones run as plain operations.
pub(super) const MAX_KEY: usize = 512;

#[inline(always)]
fn activate(query: &[f32], key: &[f32], out: &mut [f32]) {
    for ((t, k), q) in out.iter_mut().zip(key).zip(query) {
        *t = tanh(k + q);
    }
}
