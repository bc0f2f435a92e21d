//! Which words get evidence, and how many of a picture's captions say each.

use std::collections::{HashMap, HashSet};

use candle_core::{Device, Result, Tensor};

use crate::tasks::is_function_word;
use crate::vocabulary::{SPECIAL, TrainingVocabulary};

/// The words of the vocabulary that mean something and are said of `min_pictures` pictures or more, by their ids; the captions of
/// a picture are ids as well.
#[must_use]
pub fn content_words<'a>(
    pictures: impl Iterator<Item = &'a [Vec<u32>]>,
    vocabulary: &TrainingVocabulary,
    min_pictures: usize,
) -> Vec<u32> {
    let mut said_of = vec![0_usize; vocabulary.len()];
    for captions in pictures {
        let said: HashSet<u32> = captions.iter().flatten().copied().collect();
        said.into_iter().for_each(|word| said_of[word as usize] += 1);
    }
    let means = |id: usize| id >= SPECIAL.len() && !is_function_word(&vocabulary.words()[id]);
    (0..vocabulary.len()).filter(|&id| said_of[id] >= min_pictures && means(id)).map(|id| id as u32).collect()
}

/// The share of each picture's captions that say each of `words`: `[pictures, words]`.
///
/// # Errors
/// When there is no picture or word.
pub fn shares<'a>(pictures: impl ExactSizeIterator<Item = &'a [Vec<u32>]>, words: &[u32]) -> Result<Tensor> {
    let column: HashMap<u32, usize> = words.iter().copied().zip(0..).collect();
    let shape = (pictures.len(), words.len());
    let mut shares = vec![0.0_f32; shape.0 * shape.1];
    for (row, captions) in shares.chunks_exact_mut(words.len().max(1)).zip(pictures) {
        for caption in captions {
            let said: HashSet<u32> = caption.iter().copied().collect();
            for column in said.iter().filter_map(|word| column.get(word)) {
                row[*column] += 1.0 / captions.len() as f32;
            }
        }
    }
    Tensor::from_vec(shares, shape, &Device::Cpu)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_word_counts_once_a_caption_and_once_a_picture() {
        let words = SPECIAL.iter().copied().chain(["the", "dog", "ball", "red"]).map(str::to_owned).collect();
        let vocabulary = TrainingVocabulary::from_words(words);
        let [the, dog, ball, red] = [4, 5, 6, 7];
        let pictures =
            [vec![vec![the, dog, dog], vec![the, red, ball]], vec![vec![dog], vec![the], vec![dog, ball]]];
        let of = || pictures.iter().map(Vec::as_slice);
        assert_eq!(content_words(of(), &vocabulary, 2), [dog, ball]);
        let shares: Vec<Vec<f32>> = shares(of(), &[dog, ball]).unwrap().to_vec2().unwrap();
        assert_eq!(shares[0], [0.5, 0.5]);
        assert!((shares[1][0] - 2.0 / 3.0).abs() < 1e-6 && (shares[1][1] - 1.0 / 3.0).abs() < 1e-6);
    }
}
