//! How good captions are: BLEU, ROUGE-L and CIDEr, with the numbers of pycocoevalcap 1.2; which of COCO's things they say; and whether
//! one captioner is better than another.
//!
//! For BLEU, ROUGE-L and CIDEr texts are taken as they are: already lower-cased, words separated by white space.

mod bleu;
mod cider;
mod files;
mod ngrams;
mod paired;
mod rouge;
mod things;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use cider::{CiderScorer, References};
pub use files::score_files;
pub use paired::PairedDifference;
pub use things::{Share, ThingScores, ThingsSaid, things};

/// A picture's caption and what people said of the picture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// The caption to be judged; may be empty.
    pub hypothesis: String,
    /// One or more.
    pub references: Vec<String>,
}

/// Scores of a set of captions, as fractions; CIDEr reaches up to 10.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Cumulative BLEU of words (Papineni et al. 2002), over the whole set.
    pub bleu1: f64,
    /// Of up to two words.
    pub bleu2: f64,
    /// Of up to three words.
    pub bleu3: f64,
    /// Of up to four words.
    pub bleu4: f64,
    /// ROUGE-L (Lin 2004), mean over pictures.
    pub rouge_l: f64,
    /// CIDEr-D (Vedantam et al. 2015), mean over pictures, document frequencies from the set's own references.
    pub cider: f64,
}

impl fmt::Display for Scores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bleu1, bleu2, bleu3, bleu4, rouge_l, cider } = self;
        writeln!(f, "BLEU-1 BLEU-2 BLEU-3 BLEU-4 ROUGE-L CIDEr")?;
        write!(f, "{bleu1:6.3} {bleu2:6.3} {bleu3:6.3} {bleu4:6.3} {rouge_l:7.3} {cider:5.3}")
    }
}

/// Why captions cannot be scored.
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// There is nothing to score.
    #[error("no captions to score")]
    Empty,
    /// A picture has no reference.
    #[error("picture {0} has no reference caption")]
    NoReference(String),
    /// A file cannot be read.
    #[error("{path}: {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// A line is no JSON object of the right form.
    #[error("{path}:{line}: {reason}")]
    Line {
        /// The file.
        path: String,
        /// From 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// An id stands twice in a file.
    #[error("{path}:{line}: id {id} stands twice")]
    Twice {
        /// The file.
        path: String,
        /// Where it stands again.
        line: usize,
        /// The id.
        id: String,
    },
    /// The two files are not about the same pictures.
    #[error("{count} ids of {path} are missing from {other}, the first is {first}")]
    Unmatched {
        /// The file that has them.
        path: String,
        /// The file that lacks them.
        other: String,
        /// How many.
        count: usize,
        /// The first, in the order of the file.
        first: String,
    },
}

/// Scores a set of captions.
///
/// # Errors
/// When the set is empty or a picture has no reference.
pub fn score(samples: &[Sample]) -> Result<Scores, ScoreError> {
    if samples.is_empty() {
        return Err(ScoreError::Empty);
    }
    if let Some(place) = samples.iter().position(|sample| sample.references.is_empty()) {
        return Err(ScoreError::NoReference(place.to_string()));
    }
    let [bleu1, bleu2, bleu3, bleu4] = bleu::bleu(samples);
    let count = samples.len() as f64;
    let rouge_l = samples.iter().map(rouge::rouge_l).sum::<f64>() / count;
    let cider = cider_of_each(samples).iter().sum::<f64>() / count;
    Ok(Scores { bleu1, bleu2, bleu3, bleu4, rouge_l, cider })
}

/// CIDEr-D of every caption of a set, document frequencies from the set's own references.
#[must_use]
pub fn cider_of_each(samples: &[Sample]) -> Vec<f64> {
    let mut scorer = CiderScorer::new(samples.iter().map(|sample| sample.references.as_slice()));
    samples
        .iter()
        .map(|sample| {
            let references = scorer.references(&sample.references);
            scorer.score(&sample.hypothesis, &references)
        })
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sample(hypothesis: &str, references: &[&str]) -> Sample {
        Sample {
            hypothesis: hypothesis.to_owned(),
            references: references.iter().map(|&r| r.to_owned()).collect(),
        }
    }

    #[test]
    fn bleu_by_hand() {
        // "a dog runs home" against "a dog runs fast": 3 of 4 words, 2 of 3 pairs, 1 of 2 triples, 0 of 1 quadruples;
        // of the same length, so no brevity penalty.
        let scores = score(&[sample("a dog runs home", &["a dog runs fast"])]).unwrap();
        assert!((scores.bleu1 - 0.75).abs() < 1e-8);
        assert!((scores.bleu2 - (0.75_f64 * 2.0 / 3.0).sqrt()).abs() < 1e-8);
        assert!((scores.bleu3 - (0.75_f64 * 2.0 / 3.0 * 0.5).cbrt()).abs() < 1e-8);
        assert!(scores.bleu4 < 1e-3);
    }

    #[test]
    fn rouge_by_hand() {
        // Longest common subsequence "a dog home": precision 3/3, recall 3/4, beta 1.2.
        let scores = score(&[sample("a dog home", &["a dog runs home", "a cat"])]).unwrap();
        let expected = 2.44 * 0.75 / (0.75 + 1.44);
        assert!((scores.rouge_l - expected).abs() < 1e-12);
    }

    #[test]
    fn a_caption_equal_to_the_only_reference_has_cider_ten() {
        let set = [
            sample("a dog runs over green grass", &["a dog runs over green grass"]),
            sample("two men sit at some table", &["two men sit at some table"]),
        ];
        assert!((score(&set).unwrap().cider - 10.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_to_score_and_no_reference_are_errors() {
        assert!(matches!(score(&[]), Err(ScoreError::Empty)));
        assert!(matches!(score(&[sample("a", &[])]), Err(ScoreError::NoReference(_))));
    }
}
