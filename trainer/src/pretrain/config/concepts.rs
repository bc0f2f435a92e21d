//! The section `[concepts]`.

use metalens::evidence::Settings;
use metalens_models::{CaptionEvidence, ClassEvidence, ThingEvidence};
use serde::{Deserialize, Serialize};

use crate::evidence::Fitting;

/// Words as evidence: what becomes a concept, and how the decoder learns to trust concepts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConceptsConfig {
    /// Concepts of a picture that the decoder reads, at most.
    pub tokens: usize,
    /// Numbers of phi, which evidence is told from.
    pub phi: usize,
    /// Words said of fewer training pictures get no row of evidence.
    pub min_pictures: usize,
    /// Parts that the training pictures are cut into; the evidence for each part is learned from the others.
    pub folds: usize,
    /// How the rows are fitted.
    pub fitting: Fitting,
    /// Whether evidence that was learned from captions makes concepts.
    pub captions: bool,
    /// Whether the classes of the published trunk do, where the data were prepared with them.
    pub classes: bool,
    /// Whether the detector's things do, where the data were prepared with them.
    pub things: bool,
    /// Whether the decoder points at concepts.
    pub pointing: bool,
    /// From which confidence on a kind of evidence makes a concept.
    pub settings: Settings,
    /// Probability that a word which the caption says, and which can be a concept, is a confident one, whether evidence told it or not:
    /// so the decoder learns to trust confidence.
    pub raised: f64,
    /// Probability that a concept is left out.
    pub dropped: f64,
    /// Probability that a picture is not shown, but for its concepts.
    pub hidden: f64,
    /// Probability that a concept which a caption says is renamed to a slot, there and among the concepts.
    pub renamed: f64,
    /// How the concepts of captions without pictures are drawn.
    pub drawn: Drawn,
}

/// How the concepts of captions without pictures are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Drawn {
    /// Probability that a word of the caption is among them.
    pub right: f64,
    /// Mean number of words of other captions among them.
    pub wrong: f64,
}

impl Default for Drawn {
    fn default() -> Self {
        Self { right: 0.65, wrong: 1.5 }
    }
}

impl Default for ConceptsConfig {
    fn default() -> Self {
        Self {
            tokens: 10,
            phi: 512,
            min_pictures: 10,
            folds: 4,
            fitting: Fitting::default(),
            captions: true,
            classes: true,
            things: true,
            pointing: true,
            settings: Settings {
                captions: CaptionEvidence { most: 8, at_least: 0.1 },
                classes: ClassEvidence { at_least: 0.25, share: 0.8 },
                things: ThingEvidence { at_least: 0.2 },
                required: 0.5,
            },
            raised: 0.35,
            dropped: 0.15,
            hidden: 0.15,
            renamed: 0.25,
            drawn: Drawn::default(),
        }
    }
}
