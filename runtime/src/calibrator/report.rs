//! What a calibration did.

use super::{Doubt, Proof};
use crate::adaptation::{CalibrationError, Losses, NewWord};
use crate::store::Generation;

/// What a calibration did, for people and scripts.
#[derive(Clone, Debug)]
pub struct Report {
    /// Of each sample, in the order in which they were given.
    pub samples: Vec<SampleReport>,
    /// Mean losses of samples that were held out; none where there was but one.
    pub held_out: Option<Losses<f32>>,
    /// The new words, in the order of their slots.
    pub new_words: Vec<NewWord>,
    /// What may be wrong with the samples.
    pub doubts: Vec<Doubt>,
    /// How surely the samples are a place of their own, from 0 to 1.
    pub apart: f32,
    /// Whether they are taken for one.
    pub is_place: bool,
    /// Adaptation steps.
    pub steps: usize,
    /// Milliseconds of everything but reading and encoding the pictures.
    pub adapt_ms: f64,
}

/// What a calibration did to one sample.
#[derive(Clone, Debug)]
pub struct SampleReport {
    /// The picture.
    pub name: String,
    /// Losses of its captions.
    pub losses: Losses<f32>,
    /// Words of its captions, the ends counted.
    pub tokens: usize,
    /// What is now said of it.
    pub caption: String,
}

/// What a calibration did, for scripts.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Summary {
    /// Pictures.
    pub samples: usize,
    /// Adaptation steps.
    pub steps: usize,
    /// Loss per word of the samples, before.
    pub loss_before: f32,
    /// The same after.
    pub loss_after: f32,
    /// Loss per word of samples that were held out, before; none where there was but one.
    pub held_out_before: Option<f32>,
    /// The same after.
    pub held_out_after: Option<f32>,
    /// As they are printed.
    pub new_words: Vec<String>,
    /// Whether it was kept.
    pub committed: bool,
    /// Its number; none where it was not kept.
    pub generation: Option<Generation>,
    /// Milliseconds of everything but reading and encoding the pictures.
    pub adapt_ms: f64,
}

impl Report {
    /// The report in a few numbers; `generation` is none where it was not kept.
    #[must_use]
    pub fn summary(&self, generation: Option<Generation>) -> Summary {
        let support = self.support();
        Summary {
            samples: self.samples.len(),
            steps: self.steps,
            loss_before: support.before,
            loss_after: support.after,
            held_out_before: self.held_out.map(|losses| losses.before),
            held_out_after: self.held_out.map(|losses| losses.after),
            new_words: self.new_words.iter().map(|word| word.written.clone()).collect(),
            committed: generation.is_some(),
            generation,
            adapt_ms: self.adapt_ms,
        }
    }

    /// Mean losses of all words of the support set.
    #[must_use]
    pub fn support(&self) -> Losses<f32> {
        let total: usize = self.samples.iter().map(|sample| sample.tokens).sum();
        let mean = |part: fn(&Losses<f32>) -> f32| {
            let sum: f32 =
                self.samples.iter().map(|sample| part(&sample.losses) * sample.tokens as f32).sum();
            sum / total.max(1) as f32
        };
        Losses { before: mean(|losses| losses.before), after: mean(|losses| losses.after) }
    }

    /// Whether what it shows is enough to keep it.
    ///
    /// # Errors
    /// When held-out samples are captioned worse than before, and a proof was required.
    pub fn accept(&self, proof: Proof) -> Result<(), CalibrationError> {
        match (proof, self.held_out) {
            (Proof::Required, Some(losses)) if losses.is_worse() => {
                let Losses { before, after } = losses;
                Err(CalibrationError::Worse { before, after })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn report(held_out: Option<[f32; 2]>) -> Report {
        let sample = |losses: [f32; 2], tokens| SampleReport {
            name: "a.jpg".to_owned(),
            losses: Losses { before: losses[0], after: losses[1] },
            tokens,
            caption: String::new(),
        };
        Report {
            samples: vec![sample([4.0, 1.0], 3), sample([2.0, 3.0], 1)],
            held_out: held_out.map(|[before, after]| Losses { before, after }),
            new_words: Vec::new(),
            doubts: Vec::new(),
            apart: 0.0,
            is_place: false,
            steps: 1,
            adapt_ms: 0.0,
        }
    }

    #[test]
    fn the_supports_loss_is_the_mean_over_its_words() {
        assert_eq!(report(None).support(), Losses { before: 3.5, after: 1.5 });
    }

    #[test]
    fn what_makes_held_out_samples_worse_is_not_accepted_unless_the_proof_is_waived() {
        for (held_out, accepted) in
            [(Some([2.0, 1.0]), true), (Some([2.0, 2.0001]), true), (Some([2.0, 2.001]), false), (None, true)]
        {
            assert_eq!(report(held_out).accept(Proof::Required).is_ok(), accepted, "{held_out:?}");
            report(held_out).accept(Proof::Waived).unwrap();
        }
        let error = report(Some([2.0, f32::NAN])).accept(Proof::Required).unwrap_err().to_string();
        assert!(error.contains("(loss per word 2 -> NaN)"), "{error}");
    }
}
