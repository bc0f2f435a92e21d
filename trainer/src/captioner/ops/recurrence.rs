//! The decoder over whole captions, and its gradient by back-propagation through time.

use std::ops::Range;
use std::sync::Mutex;

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};

use super::attention::{self, AttentionGradients, MAX_KEY, Memory};
use super::math::vectorised;
use super::matrix::{Matrix, add_product, repeat_row, sum_rows};
use super::plain::{self, Concepts, Pictures, Weights};
use super::{fusible, gru, slice, with_slices};

/// States and contexts `[words, state + token]` of captions read word by word.
///
/// `words` `[words, word]` are embeddings, steps first: step t holds the first `rows_at[t]` rows, and row i looks at
/// picture `picture_of_row[i]`, and at its concepts where there are any.
///
/// # Errors
/// When shapes do not fit.
pub fn decode(
    words: &Tensor,
    pictures: Pictures,
    concepts: Option<Concepts>,
    weights: Weights,
    rows_at: &[usize],
    picture_of_row: &[u32],
) -> Result<Tensor> {
    let (count, positions, key) = pictures.keys.dims3()?;
    if !fusible(&[words, pictures.keys, weights.query]) || key > MAX_KEY {
        return plain::decode(words, pictures, concepts, weights, rows_at, picture_of_row);
    }
    let sizes = Widths {
        positions,
        key,
        token: pictures.tokens.dim(2)?,
        state: pictures.state.dim(1)?,
        word: words.dim(1)?,
    };
    let memory = Tensor::cat(&[pictures.keys, pictures.tokens], 2)?.reshape((count, ()))?;
    let mut memory = Tensor::cat(&[&memory, pictures.state], 1)?.flatten_all()?;
    let per_pictures = memory.elem_count();
    if let Some(concepts) = concepts {
        let concepts = Tensor::cat(&[concepts.keys, concepts.tokens], 1)?;
        memory = Tensor::cat(&[&memory, &concepts.flatten_all()?], 0)?;
    }
    // A candle operation takes three inputs at most: the weights travel as one.
    let parts = [
        weights.query,
        weights.query_bias,
        weights.energy,
        weights.input,
        weights.input_bias,
        weights.state,
        weights.state_bias,
    ];
    let flat: Vec<Tensor> = parts.iter().map(|part| part.flatten_all()).collect::<Result<_>>()?;
    let op = Decode {
        rows_at: rows_at.to_vec(),
        picture_of_row: picture_of_row.to_vec(),
        per_pictures,
        concepts_of_row: concepts
            .map_or_else(|| vec![0..0; picture_of_row.len()], |concepts| concepts.of_row.to_vec()),
        sizes,
        saved: Mutex::new(None),
    };
    words.contiguous()?.apply_op3(&memory, &Tensor::cat(&flat, 0)?, op)
}

#[derive(Clone, Copy)]
struct Widths {
    positions: usize,
    key: usize,
    token: usize,
    state: usize,
    word: usize,
}

impl Widths {
    fn memory(self) -> usize {
        self.positions * (self.key + self.token)
    }

    fn per_picture(self) -> usize {
        self.memory() + self.state
    }

    fn gates(self) -> usize {
        3 * self.state
    }

    /// Lengths of the packed weights' parts, in the order of [`Packed`].
    fn parts(self) -> [usize; 8] {
        let Self { key, token, state, word, .. } = self;
        let gates = self.gates();
        [state * key, key, key, word * gates, token * gates, gates, state * gates, gates]
    }
}

/// The weights, as they lie behind each other.
struct Packed<'a> {
    query: &'a [f32],
    query_bias: &'a [f32],
    energy: &'a [f32],
    word: &'a [f32],
    token: &'a [f32],
    input_bias: &'a [f32],
    state: &'a [f32],
    state_bias: &'a [f32],
}

impl<'a> Packed<'a> {
    fn new(mut flat: &'a [f32], sizes: Widths) -> Self {
        let [query, query_bias, energy, word, token, input_bias, state, state_bias] =
            sizes.parts().map(|length| {
                let (part, rest) = flat.split_at(length);
                flat = rest;
                part
            });
        Self { query, query_bias, energy, word, token, input_bias, state, state_bias }
    }
}

struct Decode {
    rows_at: Vec<usize>,
    picture_of_row: Vec<u32>,
    /// Numbers of the memory that belong to pictures; those of concepts follow.
    per_pictures: usize,
    concepts_of_row: Vec<Range<usize>>,
    sizes: Widths,
    saved: Mutex<Option<Saved>>,
}

/// What the forward pass keeps for the gradient, a row a word.
struct Saved {
    /// `[words, key]`.
    query: Vec<f32>,
    /// `[words, positions and concepts]`.
    attention: Vec<f32>,
    /// `[words, token]`.
    context: Vec<f32>,
    /// State before the word `[words, state]`.
    before: Vec<f32>,
    /// `[words, 3 state]`.
    x: Vec<f32>,
    /// `[words, 3 state]`.
    y: Vec<f32>,
}

struct Gradients {
    words: Vec<f32>,
    memory: Vec<f32>,
    weights: Vec<f32>,
}

impl Decode {
    /// (first word, rows) of every step.
    fn steps(&self) -> Vec<(usize, usize)> {
        let mut first = 0;
        let mut steps = Vec::with_capacity(self.rows_at.len());
        for &rows in &self.rows_at {
            steps.push((first, rows));
            first += rows;
        }
        steps
    }

    /// Where the memories of a row lie: its picture's, and its concepts'.
    fn places(&self, row: usize) -> [Range<usize>; 2] {
        let s = self.sizes;
        let picture = self.picture_of_row[row] as usize * s.per_picture();
        let concepts = &self.concepts_of_row[row];
        let concept = |place: usize| self.per_pictures + place * (s.key + s.token);
        [picture..picture + s.memory(), concept(concepts.start)..concept(concepts.end)]
    }

    fn memories<'a>(&self, row: usize, memory: &'a [f32]) -> [Memory<'a>; 2] {
        let Widths { key, token, .. } = self.sizes;
        self.places(row).map(|place| Memory { data: &memory[place], key, token })
    }

    /// How many positions a row can look at, at most.
    fn positions(&self) -> usize {
        let concepts = self.concepts_of_row.iter().map(ExactSizeIterator::len).max();
        self.sizes.positions + concepts.unwrap_or(0)
    }

    fn forward(&self, words: &[f32], memory: &[f32], weights: &[f32]) -> (Vec<f32>, Saved) {
        let s = self.sizes;
        let positions = self.positions();
        let w = Packed::new(weights, s);
        let count = words.len() / s.word;
        let (gates, width) = (s.gates(), s.state + s.token);
        let mut out = vec![0.0; count * width];
        let mut saved = Saved {
            query: repeat_row(w.query_bias, count),
            attention: vec![0.0; count * positions],
            context: vec![0.0; count * s.token],
            before: vec![0.0; count * s.state],
            x: repeat_row(w.input_bias, count),
            y: repeat_row(w.state_bias, count),
        };
        add_product(&mut saved.x, Matrix::new(words, count, s.word), Matrix::new(w.word, s.word, gates));
        let mut state: Vec<f32> = Vec::with_capacity(self.picture_of_row.len() * s.state);
        for &picture in &self.picture_of_row {
            state.extend_from_slice(&memory[picture as usize * s.per_picture() + s.memory()..][..s.state]);
        }
        for (first, rows) in self.steps() {
            let before = part_mut(&mut saved.before, first, rows, s.state);
            before.copy_from_slice(&state[..rows * s.state]);
            let h = Matrix::new(before, rows, s.state);
            let query = part_mut(&mut saved.query, first, rows, s.key);
            add_product(query, h, Matrix::new(w.query, s.state, s.key));
            let y = part_mut(&mut saved.y, first, rows, gates);
            add_product(y, h, Matrix::new(w.state, s.state, gates));
            let context = part_mut(&mut saved.context, first, rows, s.token);
            let attention = part_mut(&mut saved.attention, first, rows, positions);
            vectorised(|| {
                for row in 0..rows {
                    attention::attend(
                        part(query, row, 1, s.key),
                        self.memories(row, memory),
                        w.energy,
                        part_mut(attention, row, 1, positions),
                        part_mut(context, row, 1, s.token),
                    );
                }
            });
            let x = part_mut(&mut saved.x, first, rows, gates);
            add_product(x, Matrix::new(context, rows, s.token), Matrix::new(w.token, s.token, gates));
            vectorised(|| {
                for row in 0..rows {
                    gru::forward(
                        part(x, row, 1, gates),
                        part(y, row, 1, gates),
                        part(before, row, 1, s.state),
                        part_mut(&mut state, row, 1, s.state),
                    );
                    let out = part_mut(&mut out, first + row, 1, width);
                    out[..s.state].copy_from_slice(part(&state, row, 1, s.state));
                    out[s.state..].copy_from_slice(part(context, row, 1, s.token));
                }
            });
        }
        (out, saved)
    }

    fn backward(
        &self,
        saved: &Saved,
        words: &[f32],
        memory: &[f32],
        weights: &[f32],
        d_out: &[f32],
    ) -> Gradients {
        let s = self.sizes;
        let w = Packed::new(weights, s);
        let count = words.len() / s.word;
        let (gates, width) = (s.gates(), s.state + s.token);
        let positions = self.positions();
        let mut d_memory = vec![0.0; memory.len()];
        let mut d_energy = vec![0.0; s.key];
        let mut d_query = vec![0.0; count * s.key];
        let mut d_x = vec![0.0; count * gates];
        let mut d_y = vec![0.0; count * gates];
        let mut d_state = vec![0.0; self.picture_of_row.len() * s.state];
        let mut d_context = vec![0.0; self.picture_of_row.len() * s.token];
        for (first, rows) in self.steps().into_iter().rev() {
            let d_h = &mut d_state[..rows * s.state];
            let d_c = &mut d_context[..rows * s.token];
            let dx = part_mut(&mut d_x, first, rows, gates);
            let dy = part_mut(&mut d_y, first, rows, gates);
            vectorised(|| {
                for row in 0..rows {
                    let (d_next, d_seen) = part(d_out, first + row, 1, width).split_at(s.state);
                    part_mut(d_c, row, 1, s.token).copy_from_slice(d_seen);
                    let d_h = part_mut(d_h, row, 1, s.state);
                    d_h.iter_mut().zip(d_next).for_each(|(sum, d)| *sum += d);
                    gru::backward(
                        part(&saved.x, first + row, 1, gates),
                        part(&saved.y, first + row, 1, gates),
                        part(&saved.before, first + row, 1, s.state),
                        part_mut(dx, row, 1, gates),
                        part_mut(dy, row, 1, gates),
                        d_h,
                    );
                }
            });
            add_product(d_h, Matrix::new(dy, rows, gates), Matrix::new(w.state, s.state, gates).t());
            add_product(d_c, Matrix::new(dx, rows, gates), Matrix::new(w.token, s.token, gates).t());
            let dq = part_mut(&mut d_query, first, rows, s.key);
            vectorised(|| {
                for row in 0..rows {
                    let [picture, concepts] = self.places(row);
                    let (pictures, behind) = d_memory.split_at_mut(self.per_pictures);
                    let concepts = concepts.start - self.per_pictures..concepts.end - self.per_pictures;
                    attention::attend_backward(
                        part(&saved.query, first + row, 1, s.key),
                        self.memories(row, memory),
                        w.energy,
                        part(&saved.attention, first + row, 1, positions),
                        part(d_c, row, 1, s.token),
                        AttentionGradients {
                            query: part_mut(dq, row, 1, s.key),
                            memories: [&mut pictures[picture], &mut behind[concepts]],
                            energy: &mut d_energy,
                        },
                    );
                }
            });
            add_product(d_h, Matrix::new(dq, rows, s.key), Matrix::new(w.query, s.state, s.key).t());
        }
        for (row, &picture) in self.picture_of_row.iter().enumerate() {
            let slot = &mut d_memory[picture as usize * s.per_picture() + s.memory()..][..s.state];
            slot.iter_mut().zip(part(&d_state, row, 1, s.state)).for_each(|(sum, d)| *sum += d);
        }

        let mut d_words = vec![0.0; words.len()];
        let dx = Matrix::new(&d_x, count, gates);
        add_product(&mut d_words, dx, Matrix::new(w.word, s.word, gates).t());
        let mut d_weights = Vec::with_capacity(weights.len());
        push_weight(&mut d_weights, (&saved.before, s.state), (&d_query, s.key));
        d_weights.extend(sum_rows(&d_query, s.key));
        d_weights.extend(d_energy);
        push_weight(&mut d_weights, (words, s.word), (&d_x, gates));
        push_weight(&mut d_weights, (&saved.context, s.token), (&d_x, gates));
        d_weights.extend(sum_rows(&d_x, gates));
        push_weight(&mut d_weights, (&saved.before, s.state), (&d_y, gates));
        d_weights.extend(sum_rows(&d_y, gates));
        Gradients { words: d_words, memory: d_memory, weights: d_weights }
    }
}

/// Appends the gradient inputs' d_outputs of a weight `[in, out]`; both are flat matrices, given with their widths.
fn push_weight(out: &mut Vec<f32>, inputs: (&[f32], usize), d_outputs: (&[f32], usize)) {
    let start = out.len();
    out.resize(start + inputs.1 * d_outputs.1, 0.0);
    let rows = inputs.0.len() / inputs.1;
    let inputs = Matrix::new(inputs.0, rows, inputs.1).t();
    add_product(&mut out[start..], inputs, Matrix::new(d_outputs.0, rows, d_outputs.1));
}

/// `rows` rows of a flat matrix with `width` columns, from row `first` on.
#[inline(always)]
fn part(data: &[f32], first: usize, rows: usize, width: usize) -> &[f32] {
    &data[first * width..][..rows * width]
}

#[inline(always)]
fn part_mut(data: &mut [f32], first: usize, rows: usize, width: usize) -> &mut [f32] {
    &mut data[first * width..][..rows * width]
}

impl CustomOp3 for Decode {
    fn name(&self) -> &'static str {
        "decode"
    }

    fn cpu_fwd(
        &self,
        words: &CpuStorage,
        words_layout: &Layout,
        memory: &CpuStorage,
        memory_layout: &Layout,
        weights: &CpuStorage,
        weights_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let s = self.sizes;
        let (count, _) = words_layout.shape().dims2()?;
        let pictures = self.per_pictures / s.per_picture();
        let known = self.picture_of_row.iter().all(|&picture| (picture as usize) < pictures);
        let concepts = memory_layout.shape().elem_count().saturating_sub(self.per_pictures);
        let concepts = concepts / (s.key + s.token);
        let rows = self.rows_at.first().copied().unwrap_or(0);
        if self.per_pictures != pictures * s.per_picture()
            || self.concepts_of_row.len() != rows
            || self.concepts_of_row.iter().any(|row| row.start > row.end || row.end > concepts)
            || weights_layout.shape().elem_count() != s.parts().iter().sum::<usize>()
            || self.rows_at.iter().sum::<usize>() != count
            || rows != self.picture_of_row.len()
            || !self.rows_at.is_sorted_by(|a, b| a >= b)
            || !known
        {
            candle_core::bail!(
                "decode: {count} words, {rows} rows and {pictures} pictures do not fit together"
            );
        }
        let (out, saved) = self.forward(
            slice(words, words_layout)?,
            slice(memory, memory_layout)?,
            slice(weights, weights_layout)?,
        );
        if let Ok(mut slot) = self.saved.lock() {
            *slot = Some(saved);
        }
        Ok((CpuStorage::F32(out), (count, s.state + s.token).into()))
    }

    fn bwd(
        &self,
        words: &Tensor,
        memory: &Tensor,
        weights: &Tensor,
        _out: &Tensor,
        d_out: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let Some(saved) = self.saved.lock().ok().and_then(|mut slot| slot.take()) else {
            candle_core::bail!("decode: the gradient was asked for twice");
        };
        let d_out = d_out.contiguous()?;
        let gradients = with_slices([words, memory, weights, &d_out], |[words, memory, weights, d_out]| {
            self.backward(&saved, words, memory, weights, d_out)
        })?;
        let like = |data, tensor: &Tensor| Tensor::from_vec(data, tensor.shape(), tensor.device()).map(Some);
        Ok((
            like(gradients.words, words)?,
            like(gradients.memory, memory)?,
            like(gradients.weights, weights)?,
        ))
    }
}
