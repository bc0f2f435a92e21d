//! Calibration with a bundle: from a support set to a head that can be kept, and an honest report.
//!
//! ```no_run
//! use metalens::adaptation::read_support;
//! use metalens::calibrator::{Calibrator, Proof};
//! use metalens::store::State;
//!
//! let bundle = metalens_models::Bundle::open("models/flickr8k-lite0".as_ref())?;
//! let calibration = Calibrator::open(&bundle)?.calibrate(&read_support("workshop".as_ref())?, Proof::Required)?;
//! calibration.report.accept(Proof::Required)?;
//! calibration.keep(&mut State::open("state".as_ref())?, &bundle.manifest().id)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod doubt;
mod plan;
mod report;

use std::sync::Arc;
use std::time::Instant;

use metalens_models::{Bundle, BundleId, TokenId};

use crate::adaptation::{
    CalibrationError, Familiarity, Initialization, Learned, NewWord, NewWords, Payload, Sample, Scores,
    Share, Shown,
};
use crate::captioner::milliseconds;
use crate::evidence::Concept;
use crate::language::{Applied, Scene};
use crate::store::{Generation, NewSample, State, StateError};
use crate::vision::{self, Tokens};
use crate::{Captioner, CaptionerError, Options};
use plan::Plan;

pub use doubt::Doubt;
pub use report::{Report, SampleReport, Summary};

/// The most words that a support set may have, the ends of its captions counted.
pub const MAX_TOKENS: usize = 2048;

/// What a calibration has to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// That samples which were held out are not captioned worse than before.
    Required,
    /// Nothing: whoever asks knows better.
    Waived,
}

/// Known words that are told of each new word.
const LIKE: usize = 3;

/// Calibrates the captioner of a bundle.
pub struct Calibrator {
    captioner: Captioner,
    initialization: Arc<Initialization<f32>>,
}

/// What a calibration made.
#[derive(Clone, Debug)]
pub struct Calibration {
    /// What it did.
    pub report: Report,
    /// What is to be kept.
    pub payload: Payload,
    /// The same, ready to caption with.
    pub learned: Arc<Learned>,
    samples: Vec<Seen>,
}

/// What the head row of a new word leans on.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Leaning {
    /// The word, as it is printed.
    pub word: String,
    /// Of each sample, in the order in which they were given: how far the row moves without it, as a share.
    pub shares: Vec<f32>,
}

/// A sample, as the encoder sees it.
#[derive(Clone, Debug)]
struct Seen {
    sample: Sample,
    bytes: Vec<u8>,
    tokens: Vec<f32>,
    keys: Vec<f32>,
    state: Vec<f32>,
    concepts: Vec<Concept>,
}

impl Seen {
    fn scene(&self) -> Scene<'_> {
        let seen = Tokens { tokens: &self.tokens, keys: &self.keys, state: &self.state };
        Scene { seen, concepts: &self.concepts }
    }
}

impl Calibrator {
    /// Loads a bundle.
    ///
    /// # Errors
    /// When it was not meta-learned, or is refused.
    pub fn open(bundle: &Bundle) -> Result<Self, CaptionerError> {
        Self::open_with(bundle, Options::default())
    }

    /// The same for somebody who captions with these options: what looks at the support is what will look at pictures.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(bundle: &Bundle, options: Options) -> Result<Self, CaptionerError> {
        let initialization = Arc::new(Initialization::of_bundle(bundle)?);
        // A support set is read as wide as the bundle's own beam is.
        let options = Options { beam: None, ..options };
        Ok(Self { captioner: Captioner::from_bundle(bundle, options)?, initialization })
    }

    /// Calibrates on a support set. The result does not depend on the order of the samples.
    ///
    /// # Errors
    /// When the support set cannot be used; messages name what is wrong with it. It is looked through before the first
    /// picture is read.
    pub fn calibrate(&mut self, samples: &[Sample], proof: Proof) -> Result<Calibration, CaptionerError> {
        let (vocabulary, max_words) =
            (self.captioner.speaker.vocabulary(), self.captioner.speaker.max_words());
        let plan = Plan::new(samples, vocabulary, max_words, proof)?;
        let seen = samples.iter().map(|sample| self.see(sample)).collect::<Result<Vec<_>, _>>()?;

        let began = Instant::now();
        let shown = self.show(&seen, &plan)?;
        let new_words = plan.new_words.len();
        let calibrated = self.initialization.calibrate(&shown, new_words).finish();
        let held_out = self.initialization.held_out(&shown, new_words);
        let scored: Vec<_> = shown
            .iter()
            .map(|shown| {
                let gate = self.initialization.gate(&calibrated, &shown.observation);
                (self.initialization.losses(&calibrated, &gate, shown), gate)
            })
            .collect();
        let steps = self.initialization.schedule_for(&calibrated.familiarity).steps;
        let (apart, is_place) = (calibrated.familiarity.apart, calibrated.familiarity.is_place());
        let scores =
            Scores { samples: samples.len(), held_out: held_out.map(|losses| [losses.before, losses.after]) };
        let new_words = self.describe(&plan.new_words, &calibrated.familiarity);
        let payload = Payload::new(&self.initialization, &calibrated, new_words, scores);
        let learned = Arc::new(Learned::from_calibrated(
            self.initialization.clone(),
            calibrated,
            plan.new_words.iter().map(|(_, written)| written.to_owned()).collect(),
        ));
        let mut reports = Vec::with_capacity(seen.len());
        for (seen, ((losses, tokens), gate)) in seen.iter().zip(scored) {
            let applied = Applied::new(learned.clone(), gate);
            let words = self.captioner.speaker.say(seen.scene(), Some(applied))?.words;
            let said: Vec<&str> = words.iter().map(|word| word.word.as_str()).collect();
            reports.push(SampleReport {
                name: seen.sample.name.clone(),
                losses,
                tokens,
                caption: said.join(" "),
            });
        }
        let mut doubts = plan.cut;
        doubts.extend(doubt::alike(&seen, &shown, &self.initialization.references));
        let report = Report {
            samples: reports,
            held_out,
            new_words: payload.new_words.clone(),
            doubts,
            apart,
            is_place,
            steps,
            adapt_ms: milliseconds(began),
        };
        Ok(Calibration { report, payload, learned, samples: seen })
    }

    /// How much the head row of each new word of a support set leans on each of its pictures.
    ///
    /// # Errors
    /// As [`Self::calibrate`].
    pub fn leaning(&mut self, samples: &[Sample]) -> Result<Vec<Leaning>, CaptionerError> {
        let (vocabulary, max_words) =
            (self.captioner.speaker.vocabulary(), self.captioner.speaker.max_words());
        let plan = Plan::new(samples, vocabulary, max_words, Proof::Waived)?;
        let seen = samples.iter().map(|sample| self.see(sample)).collect::<Result<Vec<_>, _>>()?;
        let shown = self.show(&seen, &plan)?;
        let shares = self.initialization.leaning(&shown, plan.new_words.len());
        let words = plan.new_words.iter().map(|(_, written)| written.to_owned());
        Ok(words.zip(shares.rows()).map(|(word, shares)| Leaning { word, shares: shares.to_vec() }).collect())
    }

    fn see(&mut self, sample: &Sample) -> Result<Seen, CaptionerError> {
        let unusable = |reason: String| CalibrationError::Picture { path: sample.path.clone(), reason };
        let bytes = vision::read_file(&sample.path).map_err(|error| unusable(error.to_string()))?;
        let picture = vision::decode(&bytes).map_err(|error| unusable(error.to_string()))?;
        self.captioner.look(&picture)?;
        let Scene { seen: Tokens { tokens, keys, state }, concepts } = self.captioner.scene()?;
        let (tokens, keys, state) = (tokens.to_vec(), keys.to_vec(), state.to_vec());
        Ok(Seen { sample: sample.clone(), bytes, tokens, keys, state, concepts: concepts.to_vec() })
    }

    /// What the body makes of pictures and captions.
    fn show(&mut self, seen: &[Seen], plan: &Plan) -> Result<Vec<Shown<f32>>, CaptionerError> {
        let speaker = &mut self.captioner.speaker;
        let show = |(seen, readings): (&Seen, &Vec<_>)| {
            let observation = speaker.observe(&self.initialization, seen.scene())?;
            Ok(Shown { observation, captions: speaker.read(&self.initialization, seen.scene(), readings)? })
        };
        seen.iter().zip(&plan.readings).map(show).collect()
    }

    /// The new words, with the known words that their rows started from.
    fn describe(&self, new_words: &NewWords, familiarity: &Familiarity<f32>) -> Vec<NewWord> {
        let vocabulary = self.captioner.speaker.vocabulary();
        let describe = |((word, written), familiar): ((&str, &str), &crate::adaptation::Word<f32>)| {
            let mut shares: Vec<(usize, f32)> = familiar.mixture.iter().copied().enumerate().collect();
            shares.sort_by(|a, b| b.1.total_cmp(&a.1));
            let like = shares.into_iter().take(LIKE).map(|(id, share)| Share {
                word: vocabulary.word(TokenId(id as u32)).unwrap_or_default().to_owned(),
                share,
            });
            NewWord { word: word.to_owned(), written: written.to_owned(), like: like.collect() }
        };
        new_words.iter().zip(&familiarity.words).map(describe).collect()
    }
}

impl Calibration {
    /// Keeps the head, and the samples in the place of those that were kept.
    ///
    /// # Errors
    /// When the state cannot be written; it is then what it was.
    pub fn keep(&self, state: &mut State, bundle: &BundleId) -> Result<Generation, StateError> {
        // The head first: it is what a full medium has no room for, and what can be taken back. Samples that have been
        // replaced are gone.
        let generation = state.commit(bundle, &self.payload)?;
        let samples: Vec<NewSample> = self
            .samples
            .iter()
            .map(|seen| NewSample {
                name: &seen.sample.name,
                bytes: &seen.bytes,
                captions: &seen.sample.captions,
            })
            .collect();
        state.replace_samples(&samples).inspect_err(|_| {
            // The error that is told is the one that stopped the writing.
            let _ = state.undo();
        })?;
        Ok(generation)
    }
}
