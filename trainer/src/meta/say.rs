//! Captions of many pictures at once, word by word, whoever chooses the words.

use candle_core::{Device, Tensor};
use metalens::evidence::Concept;
use metalens::language::Pointing;
use metalens_models::TokenId;
use ndarray::{Array1, Array2, ArrayView2};

use super::body::{Body, Encodings};
use crate::captioner::Captioner;
use crate::vocabulary::{END, START};

/// Pictures captioned at a time.
const PICTURES: usize = 64;

/// Words that a caption has so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length(pub usize);

/// A caption that the body was driven to.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Its words.
    pub words: Vec<u32>,
    /// z `[feature]` at each of them, and at the end.
    pub z: Vec<Array1<f32>>,
}

/// Captions whose next words are to be chosen.
pub struct Asked<'a> {
    /// z `[rows, feature]`.
    pub z: ArrayView2<'a, f32>,
    /// Which of the pictures each row is about, counted in the order in which they were given.
    pub places: &'a [usize],
    /// How far all of them are.
    pub length: Length,
    /// What each row has not said, and its pointer; nothing without concepts.
    pointers: Vec<(&'a Pointing, [f32; 2])>,
}

/// How much speaks for each word `[rows, words]`, new words behind the known ones.
pub enum Scores {
    /// Their softmax are probabilities.
    Logits(Array2<f32>),
    /// Probabilities.
    Probabilities(Array2<f32>),
}

impl Asked<'_> {
    /// Scores with what points at concepts, as a device's decoder adds it: to logits, or to the logarithms of probabilities. Without
    /// concepts they are what they were.
    #[must_use]
    pub fn pointed(&self, scores: Scores) -> Array2<f32> {
        let mut logits = match scores {
            Scores::Logits(scores) | Scores::Probabilities(scores) if self.pointers.is_empty() => {
                return scores;
            }
            Scores::Logits(logits) => logits,
            Scores::Probabilities(probabilities) => probabilities.mapv_into(f32::ln),
        };
        for (mut row, (pointing, pointer)) in logits.rows_mut().into_iter().zip(&self.pointers) {
            pointing.bonuses(0, *pointer).for_each(|(word, bonus)| row[word] += bonus);
        }
        logits
    }
}

impl Body {
    /// Captions pictures, all at once, as if they showed `concepts`: `next` chooses each row's next word. A caption ends with the end, or
    /// after `max_words` words.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn say(
        &self,
        encodings: &Encodings,
        pictures: &[usize],
        concepts: &[&[Concept]],
        max_words: usize,
        mut next: impl FnMut(&Asked) -> Vec<u32>,
    ) -> anyhow::Result<Vec<Said>> {
        let captioner = Captioner::new(self.parameters());
        let mut said = vec![Said::default(); pictures.len()];
        let chunks = pictures.chunks(PICTURES).zip(concepts.chunks(PICTURES));
        for (chunk, (pictures, shown)) in chunks.enumerate() {
            let first = chunk * PICTURES;
            let encoded = self.tensors(encodings, pictures)?;
            let concepts = self.concepts(shown.iter().copied())?;
            let mut pointings = vec![Pointing::default(); pictures.len()];
            for (pointing, shown) in pointings.iter_mut().zip(shown) {
                pointing.look_at(shown);
            }
            let seen = captioner.seen(&encoded, concepts.as_ref())?;
            let mut state = encoded.state.clone();
            let mut speaking: Vec<u32> = (0..pictures.len() as u32).collect();
            let mut words = vec![START; pictures.len()];
            for length in 0..max_words {
                let step = captioner.step(&self.known(&words), &state, &seen, &speaking)?;
                let (rows, width) = step.z.dims2()?;
                let z = Array2::from_shape_vec((rows, width), step.z.flatten_all()?.to_vec1()?)?;
                let places: Vec<usize> = speaking.iter().map(|&row| first + row as usize).collect();
                for (&row, &word) in speaking.iter().zip(&words) {
                    pointings[row as usize].follow(&[0], &[TokenId(word)]);
                }
                let mut pointers = Vec::new();
                if concepts.is_some() {
                    let made: Vec<f32> = captioner.pointer(&step.z)?.flatten_all()?.to_vec1()?;
                    let of_rows = speaking.iter().map(|&row| &pointings[row as usize]);
                    pointers.extend(of_rows.zip(made.as_chunks().0.iter().copied()));
                }
                let chosen = next(&Asked { z: z.view(), places: &places, length: Length(length), pointers });
                let (mut kept, mut kept_rows) = (Vec::new(), Vec::new());
                words.clear();
                for (row, (&word, &place)) in chosen.iter().zip(&places).enumerate() {
                    said[place].z.push(z.row(row).to_owned());
                    if word != END {
                        said[place].words.push(word);
                        words.push(word);
                        kept.push(speaking[row]);
                        kept_rows.push(row as u32);
                    }
                }
                if kept.is_empty() {
                    break;
                }
                let index = Tensor::from_slice(&kept_rows, kept_rows.len(), &Device::Cpu)?;
                state = step.state.index_select(&index, 0)?;
                speaking = kept;
            }
        }
        Ok(said)
    }
}
