//! How well the captioner does on the held-out pictures.

use serde::{Deserialize, Serialize};

use super::dataset::Dataset;
use super::speak::{most_probable, speak};
use crate::captioner::{Captioner, Parameters, ops};
use crate::score::{self, Scores};
use crate::vocabulary::UNKNOWN;

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

impl Validated {
    /// By CIDEr; where that is the same, as it is while no caption has anything right, by the loss.
    pub(super) fn is_better_than(&self, other: &Self) -> bool {
        let (mine, others) = (self.scores.cider, other.scores.cider);
        mine > others || (mine == others && self.loss < other.loss)
    }
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
        let Some(features) = &batch.features else { continue };
        let concepts = dataset.plain_concepts(places);
        let captions = speak(&captioner, features, concepts.as_ref(), 1, max_words, most_probable)?;
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
