//! A bundle, loaded and ready to caption.

use std::path::Path;
use std::sync::Arc;
use std::thread::ScopedJoinHandle;
use std::time::Instant;

use metalens_models::{Bundle, BundleError, DetectorShape, Manifest, Shapes, TokenId, file};
use ndarray::{Array1, Array2, ArrayView2, Axis};

use crate::adaptation::Learned;
use crate::engine::{EngineError, Graph};
use crate::evidence::{Concept, EvidenceError};
use crate::language::{Applied, MAX_BEAM, Scene, Speaker};
use crate::vision::{self, Detector, Encoder, Picture, Thing};

/// Why a captioner could not be opened or used.
#[derive(Debug, thiserror::Error)]
pub enum CaptionerError {
    /// The bundle is refused.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A graph of the bundle cannot be loaded or run.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The bundle's evidence cannot be used.
    #[error(transparent)]
    Evidence(#[from] EvidenceError),
    /// The bundle or a support set cannot be used for calibration.
    #[error(transparent)]
    Calibration(#[from] crate::adaptation::CalibrationError),
    /// The beam's width is out of range.
    #[error("a beam of {0} hypotheses: give 1 to {MAX_BEAM}")]
    Beam(usize),
}

/// What may be chosen when a captioner is opened.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Beam width, instead of the bundle's.
    pub beam: Option<usize>,
    /// Whether the bundle's detector looks too, where it has one.
    pub detector: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { beam: None, detector: true }
    }
}

/// A word of a caption.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Word {
    /// As it is printed.
    pub word: String,
    /// Its probability after the words before it.
    pub probability: f32,
}

/// A word that the picture shows.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Evident {
    /// As it is printed.
    pub word: String,
    /// How surely, from 0 to 1.
    pub evidence: f32,
}

/// A thing that the detector found, by the word for it.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Located {
    /// As it is printed.
    pub word: String,
    /// How surely, from 0 to 1.
    pub evidence: f32,
    /// Left edge of its box, as a share of the picture's width.
    pub left: f32,
    /// Upper edge, as a share of the picture's height.
    pub top: f32,
    /// As a share of the picture's width.
    pub width: f32,
    /// As a share of the picture's height.
    pub height: f32,
}

/// What the captioner says of a picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Caption {
    /// In the order in which they are said.
    pub words: Vec<Word>,
    /// The natural logarithm of the caption's probability.
    pub log_probability: f32,
    /// Where each word looked, `[words, positions]` over the encoder's grid, row by row; each word's sum, that over concepts
    /// included, is 1.
    pub attention: Array2<f32>,
    /// What the caption was made of beside the picture, of most evidence first; none of a bundle without concepts.
    pub concepts: Vec<Evident>,
    /// How much each word looked at each concept, `[words, concepts]`.
    pub concept_attention: Array2<f32>,
    /// Where the detector found what it told a concept from, surest first.
    pub boxes: Vec<Located>,
    /// How much the picture is like what was calibrated on, from 0 to 1; none without a calibration.
    pub familiarity: Option<f32>,
    /// Milliseconds for resizing and encoding the picture.
    pub encoder_ms: f64,
    /// Milliseconds for finding the words.
    pub decoder_ms: f64,
}

impl Caption {
    /// The words, separated by spaces.
    #[must_use]
    pub fn text(&self) -> String {
        let words: Vec<&str> = self.words.iter().map(|word| word.word.as_str()).collect();
        words.join(" ")
    }
}

/// Captions pictures, one after another.
pub struct Captioner {
    manifest: Manifest,
    pub(crate) encoder: Encoder,
    pub(crate) detector: Option<Detector>,
    pub(crate) speaker: Speaker,
    /// Of the picture that was looked at last.
    concepts: Vec<Concept>,
    learned: Option<Arc<Learned>>,
}

impl Captioner {
    /// Opens the bundle in `folder`.
    ///
    /// # Errors
    /// When the bundle is refused, or its graphs are not what its manifest says.
    pub fn open(folder: &Path, options: Options) -> Result<Self, CaptionerError> {
        Self::from_bundle(&Bundle::open(folder)?, options)
    }

    /// Loads the graphs of an opened bundle.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_bundle(bundle: &Bundle, options: Options) -> Result<Self, CaptionerError> {
        let manifest = bundle.manifest().clone();
        let width = options.beam.unwrap_or(manifest.decoding.beam);
        if !(1..=MAX_BEAM).contains(&width) {
            return Err(CaptionerError::Beam(width));
        }
        let shape = manifest.detector.as_ref().filter(|_| options.detector);
        // The encoder takes as long to load as all the rest.
        let (encoder, detector, speaker) = std::thread::scope(|scope| {
            let encoder = scope.spawn(|| vision::load_encoder(bundle));
            let detector = scope.spawn(|| shape.map(|shape| detector(bundle, shape)).transpose());
            let speaker = Speaker::load(bundle, width);
            (joined(encoder), joined(detector), speaker)
        });
        let speaker = speaker?;
        let encoder = Encoder::new(&encoder?, &manifest)?;
        let detector = shape.zip(detector?).map(|(shape, graph)| Detector::new(&graph, shape)).transpose()?;
        Ok(Self { encoder, detector, speaker, concepts: Vec::new(), learned: None, manifest })
    }

    /// What the bundle says of itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// From now on captions with a calibration of the same bundle; none is the bundle's own head.
    pub fn learn(&mut self, learned: Option<Arc<Learned>>) {
        self.learned = learned;
    }

    /// Says what it sees.
    ///
    /// # Errors
    /// When a graph fails.
    pub fn caption(&mut self, picture: &Picture) -> Result<Caption, CaptionerError> {
        let began = Instant::now();
        self.look(picture)?;
        let encoder_ms = milliseconds(began);
        Ok(Caption { encoder_ms, ..self.describe()? })
    }

    /// Looks at a picture, for [`Self::describe`].
    ///
    /// # Errors
    /// When the encoder's graph fails.
    pub fn look(&mut self, picture: &Picture) -> Result<(), CaptionerError> {
        self.concepts.clear();
        self.encoder.preprocess(picture)?;
        self.encoder.encode()?;
        if let Some(detector) = &mut self.detector {
            detector.look(picture)?;
        }
        let things = self.detector.as_ref().map(Detector::scores);
        self.concepts = self.speaker.concepts(&self.encoder, things)?;
        Ok(())
    }

    /// What the picture shows that was looked at last, and the concepts of it.
    pub(crate) fn scene(&self) -> Result<Scene<'_>, EngineError> {
        Ok(Scene { seen: self.encoder.tokens()?, concepts: &self.concepts })
    }

    /// The mean of the visual tokens of the picture that was looked at last, `[token]`.
    ///
    /// # Errors
    /// When none was.
    pub fn pooled(&self) -> Result<Array1<f32>, CaptionerError> {
        let Shapes { token, .. } = self.manifest.shapes;
        let tokens = self.encoder.tokens()?.tokens;
        let rows = ArrayView2::from_shape((tokens.len() / token, token), tokens)
            .expect("the encoder's graph was loaded with this shape");
        Ok(rows.mean_axis(Axis(0)).expect("a picture has positions"))
    }

    /// Says what the picture shows that was looked at last; its encoder takes no time.
    ///
    /// # Errors
    /// When a graph fails.
    pub fn describe(&mut self) -> Result<Caption, CaptionerError> {
        let began = Instant::now();
        let scene = Scene { seen: self.encoder.tokens()?, concepts: &self.concepts };
        let applied = match &self.learned {
            Some(learned) => {
                let observation = self.speaker.observe(learned.initialization(), scene)?;
                Some(Applied::new(learned.clone(), learned.gate(&observation)))
            }
            None => None,
        };
        let familiarity = applied.as_ref().map(|applied| applied.gate.familiarity);
        let said = self.speaker.say(scene, applied)?;
        let decoder_ms = milliseconds(began);
        Ok(Caption {
            words: said.words,
            log_probability: said.log_probability,
            attention: said.attention,
            concepts: said.concepts,
            concept_attention: said.concept_attention,
            boxes: self.boxes(said.renamed.as_ref())?,
            familiarity,
            encoder_ms: 0.0,
            decoder_ms,
        })
    }

    /// Where the detector found things of enough evidence for a concept; one that was `renamed` has its new name.
    fn boxes(&self, renamed: Option<&(TokenId, String)>) -> Result<Vec<Located>, EngineError> {
        let (Some(detector), Some(evidence)) = (&self.detector, self.speaker.evidence()) else {
            return Ok(Vec::new());
        };
        let located = |thing: Thing| {
            let Thing { class, score, x, y, width, height } = thing;
            let word = evidence.thing(class)?;
            let renamed = renamed.filter(|(known, _)| evidence.are_one_word(word, *known));
            let word = renamed.map_or_else(|| self.written(word), |(_, new)| new.clone());
            Some(Located { word, evidence: score, left: x, top: y, width, height })
        };
        let found = detector.boxes(evidence.settings().things.at_least)?;
        Ok(found.into_iter().filter_map(located).collect())
    }

    fn written(&self, word: TokenId) -> String {
        self.speaker.vocabulary().word(word).unwrap_or_default().to_owned()
    }
}

/// The graph of a bundle's detector.
fn detector(bundle: &Bundle, shape: &DetectorShape) -> Result<Graph, CaptionerError> {
    Ok(vision::load_detector(&bundle.read(file::DETECTOR)?, file::DETECTOR, shape)?)
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Milliseconds since `began`.
pub(crate) fn milliseconds(began: Instant) -> f64 {
    began.elapsed().as_secs_f64() * 1e3
}
