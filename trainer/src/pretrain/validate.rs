//! How well the captioner does on the held-out pictures.

use candle_core::{D, Result, Tensor};
use serde::{Deserialize, Serialize};

use super::dataset::Dataset;
use crate::captioner::{Captioner, Parameters, ops};
use crate::score::{self, Scores};
use crate::vocabulary::{END, PADDING, START, UNKNOWN};

/// Pictures encoded at a time.
const PICTURES: usize = 50;

/// Loss and scores on the held-out pictures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Validated {
    /// Cross-entropy per word, in nats, without smoothing.
    pub loss: f64,
    /// Scores of the greedy captions.
    #[serde(flatten)]
    pub scores: Scores,
}

pub(super) fn validate(
    parameters: &Parameters,
    dataset: &Dataset,
    max_words: usize,
) -> anyhow::Result<Validated> {
    let captioner = Captioner::new(parameters);
    let (mut loss, mut words) = (0.0, 0.0);
    let mut hypotheses = Vec::new();
    for places in dataset.validation.chunks(PICTURES) {
        let batch = dataset.plain_batch(places, max_words)?;
        let logits = captioner.teach(&batch, &mut None)?;
        let weights = target_weights(&batch.captions.targets);
        let sum = ops::cross_entropy(&logits, &batch.captions.targets, &weights, 0.0)?;
        loss += f64::from(sum.to_scalar::<f32>()?);
        words += f64::from(weights.iter().sum::<f32>());
        let captions = greedy(&captioner, &batch.features, max_words)?;
        hypotheses.extend(captions.iter().map(|caption| dataset.vocabulary.decode(caption)));
    }
    let pictures = &dataset.features().index().pictures;
    let samples: Vec<score::Sample> = dataset
        .validation
        .iter()
        .zip(hypotheses)
        .map(|(&place, hypothesis)| score::Sample {
            hypothesis,
            references: pictures[place]
                .captions
                .iter()
                .map(|text| metalens::language::words(text).join(" "))
                .collect(),
        })
        .collect();
    Ok(Validated { loss: loss / words, scores: score::score(&samples)? })
}

/// 1 for words that the vocabulary has, 0 for the others: an unknown word is nothing to learn to say.
pub(super) fn target_weights(targets: &[u32]) -> Vec<f32> {
    targets.iter().map(|&word| if word == UNKNOWN { 0.0 } else { 1.0 }).collect()
}

/// The most probable next word, again and again, for every picture of `features` `[pictures, 49, trunk]`.
pub(super) fn greedy(captioner: &Captioner, features: &Tensor, max_words: usize) -> Result<Vec<Vec<u32>>> {
    let encoded = captioner.encode(features, &mut None)?;
    let pictures = features.dim(0)?;
    let mut captions = vec![Vec::new(); pictures];
    let mut speaking: Vec<u32> = (0..pictures as u32).collect();
    let mut words = vec![START; pictures];
    let mut state = encoded.state.clone();
    for length in 0..max_words {
        let step = captioner.step(&words, &state, &encoded, &speaking)?;
        let logits = captioner.head(&step.z, &mut None)?;
        let barred: &[u32] =
            if length == 0 { &[PADDING, START, UNKNOWN, END] } else { &[PADDING, START, UNKNOWN] };
        let mask: Vec<f32> = (0..logits.dim(D::Minus1)? as u32)
            .map(|word| if barred.contains(&word) { f32::NEG_INFINITY } else { 0.0 })
            .collect();
        let mask = Tensor::from_vec(mask, (1, logits.dim(D::Minus1)?), logits.device())?;
        let best: Vec<u32> = logits.broadcast_add(&mask)?.argmax(D::Minus1)?.to_vec1()?;
        let (mut kept, mut rows) = (Vec::new(), Vec::new());
        words.clear();
        for (row, (&picture, &word)) in speaking.iter().zip(&best).enumerate() {
            if word != END {
                captions[picture as usize].push(word);
                words.push(word);
                kept.push(picture);
                rows.push(row as u32);
            }
        }
        if kept.is_empty() {
            break;
        }
        state = step.state.index_select(&Tensor::from_slice(&rows, rows.len(), state.device())?, 0)?;
        speaking = kept;
    }
    Ok(captions)
}
