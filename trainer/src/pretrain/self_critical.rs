//! Self-critical training: captions drawn from the captioner itself, weighed by how much better than their siblings
//! they score (Rennie et al. 2017; the mean of the other samples as baseline as in Luo 2020, equation 6).

use std::sync::Mutex;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::dataset::Dataset;
use crate::captioner::PackedCaptions;
use crate::score::{CiderScorer, References};
use crate::vocabulary::{END, SPECIAL, TrainingVocabulary};

/// Rewards captions by CIDEr-D with the document frequencies of the training captions.
pub(super) struct Critic {
    scorer: Mutex<CiderScorer>,
    /// One a training picture.
    references: Vec<References>,
}

impl Critic {
    pub fn new(dataset: &Dataset) -> Self {
        let texts = dataset.training_references();
        let ended = |texts: Vec<String>| texts.iter().map(|text| with_end(text)).collect();
        let texts: Vec<Vec<String>> = texts.into_iter().map(ended).collect();
        let mut scorer = CiderScorer::new(texts.iter().map(Vec::as_slice));
        let references = texts.iter().map(|texts| scorer.references(texts)).collect();
        Self { scorer: Mutex::new(scorer), references }
    }

    /// The advantage of each of a picture's captions: its reward less the mean reward of the others.
    pub fn advantages(
        &self,
        sample: usize,
        captions: &[Vec<u32>],
        vocabulary: &TrainingVocabulary,
    ) -> Vec<f32> {
        let mut scorer = self.scorer.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let rewards: Vec<f64> = captions
            .iter()
            .map(|caption| scorer.score(&with_end(&vocabulary.decode(caption)), &self.references[sample]))
            .collect();
        drop(scorer);
        let sum: f64 = rewards.iter().sum();
        let others = (rewards.len() - 1).max(1) as f64;
        rewards.iter().map(|reward| (reward - (sum - reward) / others) as f32).collect()
    }
}

/// The end counts as a word: else captions that stop in mid-sentence would be rewarded for the words before.
fn with_end(text: &str) -> String {
    format!("{text} {}", SPECIAL[END as usize])
}

/// A word drawn from softmax(logits).
pub(super) fn draw_word(logits: &mut [f32], rng: &mut ChaCha8Rng) -> u32 {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for x in logits.iter_mut() {
        sum += (*x - highest).exp();
        *x = sum;
    }
    let drawn = rng.random::<f32>() * sum;
    logits.partition_point(|&cumulative| cumulative <= drawn).min(logits.len() - 1) as u32
}

/// Each word's weight: its caption's advantage; the order is that of the packed captions' targets.
pub(super) fn word_weights(packed: &PackedCaptions, advantages: &[f32]) -> Vec<f32> {
    packed.rows_at.iter().flat_map(|&rows| packed.order[..rows].iter().map(|&row| advantages[row])).collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::vocabulary::START;

    #[test]
    fn words_are_drawn_as_often_as_they_are_probable() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut counts = [0_u32; 4];
        for _ in 0..20_000 {
            let mut logits = [0.1_f32.ln(), f32::NEG_INFINITY, 0.6_f32.ln(), 0.3_f32.ln()];
            counts[draw_word(&mut logits, &mut rng) as usize] += 1;
        }
        assert_eq!(counts[1], 0);
        for (count, p) in counts.into_iter().zip([0.1, 0.0, 0.6, 0.3]) {
            assert!((f64::from(count) / 20_000.0 - p).abs() < 0.015);
        }
    }

    #[test]
    fn every_word_of_a_caption_weighs_its_captions_advantage() {
        let packed = PackedCaptions::new(&[&[7], &[5, 9]], START, END);
        // Rows sorted: caption 1, caption 0; steps of 2, 2 and 1 rows.
        assert_eq!(word_weights(&packed, &[-1.0, 2.0]), [2.0, -1.0, 2.0, -1.0, 2.0]);
    }
}
