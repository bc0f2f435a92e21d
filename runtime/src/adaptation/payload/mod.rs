//! What of a calibration is kept in the state folder.

#[cfg(test)]
mod tests;

use ndarray::{Array1, Array2};
use serde::{Deserialize, Serialize};

use crate::adaptation::{Calibrated, Familiarity, Head, Initialization, Memory, Usage, Word, usages};

/// A calibration in plain numbers, row-major.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Payload {
    /// The new words, in the order of their slots.
    pub new_words: Vec<NewWord>,
    /// How it scored.
    pub scores: Scores,
    /// None where the first layer is the bundle's.
    first: Option<Layer>,
    second: Layer,
    memory: Remembered,
    familiarity: Familiar,
}

/// A word that the vocabulary lacks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NewWord {
    /// As it is compared.
    pub word: String,
    /// As it is printed.
    pub written: String,
    /// The known words that its row started from, those with the largest shares first.
    pub like: Vec<Share>,
}

/// A known word's part in what a new word started from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// The known word.
    pub word: String,
    /// From 0 to 1.
    pub share: f32,
}

/// How a calibration scored, in nats per token.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Pictures of the support set.
    pub samples: usize,
    /// Mean loss of held-out samples before and after; none where nothing could be held out.
    pub held_out: Option<[f32; 2]>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Layer {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Remembered {
    scale: Vec<f32>,
    keys: Vec<f32>,
    words: Vec<usize>,
    pictures: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Familiar {
    support: Vec<f32>,
    usual: [f32; 2],
    apart: f32,
    words: Vec<FamiliarWord>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct FamiliarWord {
    mixture: Vec<f32>,
    prototype: Vec<f32>,
    usual: [f32; 2],
}

/// A payload was made from a bundle of other sizes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// A part has another size.
    #[error("{part}: {found} numbers, {expected} follow from the bundle")]
    Size {
        /// Which part.
        part: &'static str,
        /// Its size.
        found: usize,
        /// What follows from the bundle.
        expected: usize,
    },
    /// A part points beyond what there is.
    #[error("{part}: number {found} of {count}")]
    Beyond {
        /// Which part.
        part: &'static str,
        /// What it points to, from 0.
        found: usize,
        /// How many there are.
        count: usize,
    },
}

impl Payload {
    /// What is to be kept of a calibration.
    #[must_use]
    pub fn new(
        initialization: &Initialization<f32>,
        calibrated: &Calibrated<f32, Head<f32>>,
        new_words: Vec<NewWord>,
        scores: Scores,
    ) -> Self {
        let Calibrated { head, memory, familiarity, .. } = calibrated;
        let initial = &initialization.head;
        let moved = head.weight_1 != initial.weight_1 || head.bias_1 != initial.bias_1;
        let layer =
            |weight: &Array2<f32>, bias: &Array1<f32>| Layer { weight: flat(weight), bias: bias.to_vec() };
        let word = |word: &Word<f32>| FamiliarWord {
            mixture: word.mixture.to_vec(),
            prototype: word.prototype.to_vec(),
            usual: word.usual,
        };
        Self {
            new_words,
            scores,
            first: moved.then(|| layer(&head.weight_1, &head.bias_1)),
            second: layer(&head.weight_2, &head.bias_2),
            memory: Remembered {
                scale: memory.scale.to_vec(),
                keys: flat(&memory.keys),
                words: memory.words.clone(),
                pictures: memory.pictures.clone(),
            },
            familiarity: Familiar {
                support: flat(&familiarity.support),
                usual: familiarity.usual,
                apart: familiarity.apart,
                words: familiarity.words.iter().map(word).collect(),
            },
        }
    }

    /// The calibration, beside the initialization that it was made from.
    ///
    /// # Errors
    /// When its sizes are not those that follow from the initialization's.
    pub fn into_calibrated(
        self,
        initialization: &Initialization<f32>,
    ) -> Result<Calibrated<f32, Head<f32>>, Misfit> {
        let Self { new_words, first, second, memory, familiarity, .. } = self;
        let (initial, token) = (&initialization.head, initialization.references.width());
        let (hidden, feature) = initial.weight_1.dim();
        let known = initial.words();
        let words = known + new_words.len();
        let (weight_1, bias_1) = match first {
            Some(Layer { weight, bias }) => (
                matrix("the first layer", weight, hidden, feature)?,
                vector("the first layer's bias", bias, hidden)?,
            ),
            None => (initial.weight_1.clone(), initial.bias_1.clone()),
        };
        let head = Head {
            weight_1,
            bias_1,
            weight_2: matrix("the second layer", second.weight, words, hidden)?,
            bias_2: vector("the second layer's bias", second.bias, words)?,
        };
        let pictures = familiarity.support.len() / token.max(1);
        let tokens = memory.words.len();
        below("a word of the memory", &memory.words, words)?;
        below("a picture of the memory", &memory.pictures, pictures)?;
        same("the memory's pictures", memory.pictures.len(), tokens)?;
        same("the new words' familiarity", familiarity.words.len(), new_words.len())?;
        let memory = Memory::of_keys(
            matrix("the memory", memory.keys, tokens, feature)?,
            vector("the memory's spreads", memory.scale, feature)?,
            memory.words,
            memory.pictures,
        );
        let usages = usages(memory.captions(initialization.end), known, new_words.len(), pictures);
        let word = |(usage, word): (Usage, FamiliarWord)| {
            Ok(Word {
                usage,
                mixture: vector("a new word's mixture", word.mixture, known)?,
                prototype: vector("a new word's direction", word.prototype, token)?,
                usual: word.usual,
            })
        };
        Ok(Calibrated {
            head,
            memory,
            familiarity: Familiarity {
                support: matrix("the support's directions", familiarity.support, pictures, token)?,
                usual: familiarity.usual,
                apart: familiarity.apart,
                words: usages.into_iter().zip(familiarity.words).map(word).collect::<Result<_, _>>()?,
            },
            new_words: new_words.len(),
        })
    }
}

fn flat(matrix: &Array2<f32>) -> Vec<f32> {
    matrix.iter().copied().collect()
}

fn same(part: &'static str, found: usize, expected: usize) -> Result<(), Misfit> {
    if found == expected { Ok(()) } else { Err(Misfit::Size { part, found, expected }) }
}

fn below(part: &'static str, indices: &[usize], limit: usize) -> Result<(), Misfit> {
    match indices.iter().find(|&&index| index >= limit) {
        Some(&found) => Err(Misfit::Beyond { part, found, count: limit }),
        None => Ok(()),
    }
}

fn vector(part: &'static str, values: Vec<f32>, size: usize) -> Result<Array1<f32>, Misfit> {
    same(part, values.len(), size)?;
    Ok(Array1::from_vec(values))
}

fn matrix(part: &'static str, values: Vec<f32>, rows: usize, columns: usize) -> Result<Array2<f32>, Misfit> {
    let found = values.len();
    Array2::from_shape_vec((rows, columns), values).map_err(|_| Misfit::Size {
        part,
        found,
        expected: rows * columns,
    })
}
