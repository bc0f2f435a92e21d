//! Free-running captions of the captioner under training: each word is read back before the next is chosen.

use candle_core::{Result, Tensor};

use crate::captioner::{Captioner, ConceptRows};
use crate::vocabulary::{END, PADDING, START, UNKNOWN};

/// Says `per_picture` captions of up to `max_words` words for every picture of `features` `[pictures, 49, trunk]`, picture
/// by picture, with the concepts that each picture has. `choose` picks the next word from the logits of all words; those that must not be said are at negative
/// infinity.
pub(super) fn speak(
    captioner: &Captioner,
    features: &Tensor,
    concepts: Option<&ConceptRows>,
    per_picture: usize,
    max_words: usize,
    mut choose: impl FnMut(&mut [f32]) -> u32,
) -> Result<Vec<Vec<u32>>> {
    let encoded = captioner.encode(features, &mut None)?.detach();
    let concepts = concepts.map(|rows| captioner.concepts(rows)).transpose()?.map(|all| all.detach());
    let seen = captioner.seen(&encoded, concepts.as_ref())?;
    let words_known = captioner.vocabulary();
    let rows = features.dim(0)? * per_picture;
    let picture_of = |row: usize| (row / per_picture) as u32;
    let mut captions = vec![Vec::new(); rows];
    let mut speaking: Vec<usize> = (0..rows).collect();
    let mut pictures: Vec<u32> = speaking.iter().map(|&row| picture_of(row)).collect();
    let mut words = vec![START; rows];
    // Which concepts of its picture each row has said.
    let mut said: Vec<Vec<bool>> = pictures
        .iter()
        .map(|&picture| {
            vec![false; concepts.as_ref().map_or(0, |all| all.rows.of_row[picture as usize].len())]
        })
        .collect();
    let mut state =
        encoded.state.index_select(&Tensor::from_slice(&pictures, rows, features.device())?, 0)?;
    for length in 0..max_words {
        let step = captioner.step(&words, &state, &seen, &pictures)?;
        let mut logits = captioner.head(&step.z, &mut None)?;
        if let Some(concepts) = &concepts {
            let mut pointings = Vec::new();
            for (place, ((&row, &word), &picture)) in speaking.iter().zip(&words).zip(&pictures).enumerate() {
                let of_row = &concepts.rows.of_row[picture as usize];
                concepts.rows.point_at(word, place, of_row, &mut said[row], &mut pointings);
            }
            logits = captioner.point(&logits, &step.z, &pointings)?;
        }
        let logits: Vec<Vec<f32>> = logits.to_vec2()?;
        let (mut kept, mut kept_rows) = (Vec::new(), Vec::new());
        words.clear();
        for (place, (&row, mut logits)) in speaking.iter().zip(logits).enumerate() {
            for barred in [PADDING, START, UNKNOWN] {
                logits[barred as usize] = f32::NEG_INFINITY;
            }
            // No word has taken a slot.
            logits[words_known..].fill(f32::NEG_INFINITY);
            if length == 0 {
                logits[END as usize] = f32::NEG_INFINITY;
            }
            let word = choose(&mut logits);
            if word != END {
                captions[row].push(word);
                words.push(word);
                kept.push(row);
                kept_rows.push(place as u32);
            }
        }
        if kept.is_empty() {
            break;
        }
        let index = Tensor::from_slice(&kept_rows, kept_rows.len(), state.device())?;
        // Nothing is learned through the words' choice, and the steps behind need not be kept.
        state = step.state.index_select(&index, 0)?.detach();
        pictures = kept.iter().map(|&row| picture_of(row)).collect();
        speaking = kept;
    }
    Ok(captions)
}

/// The word with the highest logit; of equal ones the first.
pub(super) fn most_probable(logits: &mut [f32]) -> u32 {
    let mut best = 0;
    for (word, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = word;
        }
    }
    best as u32
}
