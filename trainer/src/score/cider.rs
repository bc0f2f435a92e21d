//! CIDEr-D (Vedantam, Zitnick and Parikh 2015, equations 1 to 5 and section 4.3), as pycocoevalcap's `Cider` computes it.

use std::collections::HashSet;

use super::ngrams::{MOST, NGram, Numbering, Runs, count, length};

/// Standard deviation of the length penalty, in words.
const SIGMA: f64 = 6.0;

/// Scores captions against references, with the document frequencies of a corpus of references.
pub struct CiderScorer {
    numbering: Numbering,
    /// Pictures in whose references a run stands.
    document_frequency: Runs<u32>,
    /// Logarithm of the number of pictures.
    log_pictures: f64,
}

/// One picture's references, ready to be compared with.
pub struct References(Vec<Weighted>);

/// A text as TF-IDF vectors, one for each length of runs.
struct Weighted {
    weights: [Runs<f64>; MOST],
    norms: [f64; MOST],
    /// Runs of two words, which is how pycocoevalcap measures length.
    pairs: f64,
}

impl CiderScorer {
    /// A scorer whose document frequencies come from each picture's references.
    pub fn new<'a>(pictures: impl Iterator<Item = &'a [String]>) -> Self {
        let mut numbering = Numbering::default();
        let mut document_frequency = Runs::default();
        let mut count_of_pictures = 0;
        for references in pictures {
            count_of_pictures += 1;
            let runs: HashSet<NGram> =
                references.iter().flat_map(|text| count(&numbering.words(text)).into_keys()).collect();
            for run in runs {
                *document_frequency.entry(run).or_default() += 1;
            }
        }
        Self { numbering, document_frequency, log_pictures: f64::from(count_of_pictures).ln() }
    }

    /// Weighs one picture's references.
    pub fn references(&mut self, texts: &[String]) -> References {
        References(texts.iter().map(|text| self.weigh(text)).collect())
    }

    /// The score of a caption, 0 to 10.
    pub fn score(&mut self, hypothesis: &str, references: &References) -> f64 {
        let hypothesis = self.weigh(hypothesis);
        let sum: f64 = references.0.iter().map(|reference| similarity(&hypothesis, reference)).sum();
        sum / references.0.len() as f64 * 10.0
    }

    /// TF-IDF weights (equation 1): here term frequency is the count itself, since norms cancel its scale.
    fn weigh(&mut self, text: &str) -> Weighted {
        let mut weighted = Weighted { weights: Default::default(), norms: [0.0; MOST], pairs: 0.0 };
        for (run, times) in count(&self.numbering.words(text)) {
            let pictures = self.document_frequency.get(&run).copied().unwrap_or(0).max(1);
            let weight = f64::from(times) * (self.log_pictures - f64::from(pictures).ln());
            let n = length(&run) - 1;
            weighted.norms[n] += weight * weight;
            weighted.weights[n].insert(run, weight);
            if n == 1 {
                weighted.pairs += f64::from(times);
            }
        }
        weighted.norms = weighted.norms.map(f64::sqrt);
        weighted
    }
}

/// Cosine of clipped vectors with a Gaussian length penalty (equation 5), mean over lengths of runs.
fn similarity(hypothesis: &Weighted, reference: &Weighted) -> f64 {
    let delta = hypothesis.pairs - reference.pairs;
    let penalty = (-(delta * delta) / (2.0 * SIGMA * SIGMA)).exp();
    let mut sum = 0.0;
    for n in 0..MOST {
        let mut product: f64 = hypothesis.weights[n]
            .iter()
            .filter_map(|(run, weight)| {
                let other = reference.weights[n].get(run)?;
                Some(weight.min(*other) * other)
            })
            .sum();
        if hypothesis.norms[n] != 0.0 && reference.norms[n] != 0.0 {
            product /= hypothesis.norms[n] * reference.norms[n];
        }
        sum += product * penalty;
    }
    sum / MOST as f64
}
