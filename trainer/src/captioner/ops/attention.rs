//! Additive attention: a = softmax(w . tanh(k + q)), c = sum_i a_i v_i.

use candle_core::{D, Result, Tensor};

use super::math::{add_scaled, dot, exp, tanh};

/// The weights a `[rows, positions]`, as plain candle operations; `keys` `[rows, positions, key]`.
pub(super) fn weights(query: &Tensor, keys: &Tensor, energy: &Tensor) -> Result<Tensor> {
    let scores = keys.broadcast_add(&query.unsqueeze(1)?)?.tanh()?.broadcast_mul(energy)?.sum(D::Minus1)?;
    let shifted = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?.detach())?.exp()?;
    shifted.broadcast_div(&shifted.sum_keepdim(D::Minus1)?)
}

/// One picture's keys and tokens, side by side, row-major `[positions, key + token]`.
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

    #[inline(always)]
    fn key(self, i: usize) -> &'a [f32] {
        &self.data[i * self.width()..][..self.key]
    }

    #[inline(always)]
    fn token(self, i: usize) -> &'a [f32] {
        &self.data[i * self.width() + self.key..][..self.token]
    }
}

/// Writes the weights `[positions]` and adds the context to `context` `[token]`, which starts at zero.
#[inline(always)]
pub(super) fn attend(
    query: &[f32],
    memory: Memory,
    energy: &[f32],
    weights: &mut [f32],
    context: &mut [f32],
) {
    let mut activation = [0.0; MAX_KEY];
    let activation = &mut activation[..memory.key];
    for (i, score) in weights.iter_mut().enumerate() {
        activate(query, memory.key(i), activation);
        *score = dot(activation, energy);
    }
    let highest = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for a in weights.iter_mut() {
        *a = exp(*a - highest);
        sum += *a;
    }
    for (i, a) in weights.iter_mut().enumerate() {
        *a /= sum;
        add_scaled(context, *a, memory.token(i));
    }
}

/// What [`attend_backward`] adds to.
pub(super) struct AttentionGradients<'a> {
    /// `[key]`.
    pub query: &'a mut [f32],
    /// `[positions, key + token]`.
    pub memory: &'a mut [f32],
    /// `[key]`.
    pub energy: &'a mut [f32],
}

/// Adds the gradients of query, memory and energy, given that of the context; tanh is computed again, which costs less
/// than to write and read it.
#[inline(always)]
pub(super) fn attend_backward(
    query: &[f32],
    memory: Memory,
    energy: &[f32],
    weights: &[f32],
    d_context: &[f32],
    gradients: AttentionGradients,
) {
    let mut activation = [0.0; MAX_KEY];
    let activation = &mut activation[..memory.key];
    // Softmax: ds_i = a_i (da_i - sum_j a_j da_j), da_i = dc . v_i; and sum_j a_j da_j = dc . c.
    let mut mean = 0.0;
    for (i, a) in weights.iter().enumerate() {
        mean += a * dot(d_context, memory.token(i));
    }
    for (i, a) in weights.iter().enumerate() {
        let d_score = a * (dot(d_context, memory.token(i)) - mean);
        let (d_key, d_token) =
            gradients.memory[i * memory.width()..][..memory.width()].split_at_mut(memory.key);
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

/// The widest key that the fused operation serves; wider ones run as plain operations.
pub(super) const MAX_KEY: usize = 512;

#[inline(always)]
fn activate(query: &[f32], key: &[f32], out: &mut [f32]) {
    for ((t, k), q) in out.iter_mut().zip(key).zip(query) {
        *t = tanh(k + q);
    }
}
