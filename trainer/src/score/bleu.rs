//! BLEU over a set (Papineni et al. 2002), as pycocoevalcap's `Bleu(4)` computes it.

use std::collections::HashMap;

use super::Sample;
use super::ngrams::{MOST, NGram, Numbering, count, length};

/// pycocoevalcap's guards against 0 / 0.
const TINY: f64 = 1e-15;
const SMALL: f64 = 1e-9;

/// BLEU-1 to BLEU-4 of the set.
pub(super) fn bleu(samples: &[Sample]) -> [f64; MOST] {
    let mut numbering = Numbering::default();
    let mut correct = [0_u64; MOST];
    let mut guessed = [0_u64; MOST];
    let (mut hypothesis_words, mut reference_words) = (0, 0);
    for sample in samples {
        let hypothesis = numbering.words(&sample.hypothesis);
        let mut most: HashMap<NGram, u32> = HashMap::new();
        let mut lengths = Vec::with_capacity(sample.references.len());
        for reference in &sample.references {
            let words = numbering.words(reference);
            lengths.push(words.len());
            for (run, times) in count(&words) {
                let slot = most.entry(run).or_default();
                *slot = times.max(*slot);
            }
        }
        for (run, times) in count(&hypothesis) {
            let clipped = times.min(most.get(&run).copied().unwrap_or(0));
            correct[length(&run) - 1] += u64::from(clipped);
        }
        for (n, guessed) in guessed.iter_mut().enumerate() {
            *guessed += hypothesis.len().saturating_sub(n) as u64;
        }
        hypothesis_words += hypothesis.len();
        // The closest reference length, of two equally close ones the shorter.
        let closest = lengths.into_iter().min_by_key(|&words| (words.abs_diff(hypothesis.len()), words));
        reference_words += closest.unwrap_or(0);
    }
    let ratio = (hypothesis_words as f64 + TINY) / (reference_words as f64 + SMALL);
    let penalty = if ratio < 1.0 { (1.0 - 1.0 / ratio).exp() } else { 1.0 };
    let mut product = 1.0;
    std::array::from_fn(|n| {
        product *= (correct[n] as f64 + TINY) / (guessed[n] as f64 + SMALL);
        product.powf(1.0 / (n as f64 + 1.0)) * penalty
    })
}
