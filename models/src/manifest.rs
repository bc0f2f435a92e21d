//! `manifest.json`.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{DetectorShape, TokenId};

/// The version of the bundle's layout that this crate writes and reads.
pub const FORMAT_VERSION: u32 = 2;

/// Everything about a bundle that is not in its other files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the layout, [`FORMAT_VERSION`].
    pub format: u32,
    /// Follows from everything else here: see [`BundleId::of`].
    pub id: BundleId,
    /// For people, such as `flickr8k-lite0`.
    pub name: String,
    /// Size and hash of every file but this one and the model card.
    pub files: BTreeMap<String, FileEntry>,
    /// From a decoded picture to the encoder's input.
    pub preprocessing: Preprocessing,
    /// Sizes of the graphs' inputs and outputs.
    pub shapes: Shapes,
    /// Words with a meaning of their own.
    pub special: SpecialTokens,
    /// How captions are searched for, unless the user says otherwise.
    pub decoding: Decoding,
    /// What becomes a concept; none in a bundle whose decoder takes none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<EvidenceSettings>,
    /// What the detector takes and makes; none in a bundle without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detector: Option<DetectorShape>,
    /// How the head adapts; none in a bundle that was not meta-learned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inner_loop: Option<InnerLoop>,
    /// The run that made the parameters, as the trainer describes it.
    pub training: serde_json::Value,
    /// Scores that were measured on this bundle, by name of the data.
    pub scores: BTreeMap<String, serde_json::Value>,
    /// The self-test.
    pub golden: Golden,
}

/// A bundle's identity: two bundles that say and hold the same have the same.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BundleId(String);

impl BundleId {
    /// sha256 over the manifest as JSON without white space, its id empty. The manifest holds the hashes of all files, so
    /// that one changed byte of any of them, or of the manifest, makes another id.
    #[must_use]
    pub fn of(manifest: &Manifest) -> Self {
        let manifest = Manifest { id: Self::default(), ..manifest.clone() };
        let text = serde_json::to_vec(&manifest).expect("a manifest has no keys but strings");
        Self(crate::bundle::hexadecimal(&Sha256::digest(text)))
    }
}

impl fmt::Display for BundleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a file must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its length.
    pub bytes: u64,
    /// Its hash, in lower-case hexadecimal.
    pub sha256: String,
}

impl FileEntry {
    /// The entry of a file with these bytes.
    #[must_use]
    pub fn of(data: &[u8]) -> Self {
        Self { bytes: data.len() as u64, sha256: crate::bundle::hexadecimal(&Sha256::digest(data)) }
    }
}

/// From a decoded RGB picture to the encoder's input: resize to width x height, whatever the proportions, then
/// (value - mean) / std for every channel, values in 0 … 255, channels first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// Red, green, blue.
    pub mean: [f32; 3],
    /// Red, green, blue.
    pub std: [f32; 3],
}

/// Sizes of the graphs' inputs and outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shapes {
    /// Rows and columns of the feature map.
    pub grid: [usize; 2],
    /// Width of a visual token.
    pub token: usize,
    /// Width of an attention key.
    pub key: usize,
    /// Width of the decoder's state.
    pub state: usize,
    /// Width of a word embedding.
    pub word: usize,
    /// Width of z, the head's input: state + token + word.
    pub feature: usize,
    /// Width of the head's hidden layer.
    pub hidden: usize,
    /// Words, special tokens and slots.
    pub vocabulary: usize,
    /// Width of phi, from which evidence is computed; 0 in a bundle without concepts.
    #[serde(default, skip_serializing_if = "is_none")]
    pub phi: usize,
    /// Classes that the encoder tells, 0 where it tells none.
    #[serde(default, skip_serializing_if = "is_none")]
    pub classes: usize,
    /// Concepts that the decoder takes, at most [`MAX_CONCEPTS`]; 0 in a bundle without.
    #[serde(default, skip_serializing_if = "is_none")]
    pub concepts: usize,
}

/// The most concepts that a decoder may take.
pub const MAX_CONCEPTS: usize = 16;

/// Sizes that are 0 are left out, so that a bundle without concepts keeps its id.
fn is_none(size: &usize) -> bool {
    *size == 0
}

impl Shapes {
    /// Visual tokens of a picture: one for every position of the feature map.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.grid[0] * self.grid[1]
    }
}

/// Ids of words with a meaning of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpecialTokens {
    /// Fills rows that end early.
    pub padding: TokenId,
    /// Read before the first word.
    pub start: TokenId,
    /// Said after the last word.
    pub end: TokenId,
    /// Read in place of a word that the vocabulary lacks.
    pub unknown: TokenId,
    /// The ids that new words may take.
    pub slots: SlotRange,
}

/// The slots: `count` ids from `first` on, the last of the vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotRange {
    /// The first slot's id.
    pub first: TokenId,
    /// How many there are.
    pub count: usize,
}

/// Which words of how much evidence become concepts; `metalens::evidence` has the formulas.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceSettings {
    /// Words of captions, by the evidence's own rows.
    pub captions: CaptionEvidence,
    /// Words of the encoder's classes.
    pub classes: ClassEvidence,
    /// Words of the detector's things.
    pub things: ThingEvidence,
    /// A word of at least this confidence that no caption found says is required of the search, by its odds.
    pub required: f32,
}

/// Evidence for words of captions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaptionEvidence {
    /// So many words of most evidence count.
    pub most: usize,
    /// A word of a smaller probability does not.
    pub at_least: f32,
}

/// Evidence from the encoder's classes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassEvidence {
    /// A word whose classes have a smaller probability together does not count.
    pub at_least: f32,
    /// What their probability is multiplied by: people do not say all that is there.
    pub share: f32,
}

/// Evidence from the detector's things.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThingEvidence {
    /// A thing of a smaller score does not count.
    pub at_least: f32,
}

/// How captions are searched for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decoding {
    /// Beam width; 1 is greedy.
    pub beam: usize,
    /// A caption's log-probability is divided by its length to this power.
    pub length_normalisation: f32,
    /// Captions are cut after so many words.
    pub max_words: usize,
}

/// How the head adapts to a support set: `metalens::adaptation` has the formulas.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InnerLoop {
    /// Adaptation steps.
    pub steps: usize,
    /// Step size of every step, for the head's first and second layer.
    pub alpha: Vec<[f64; 2]>,
    /// Damping of the second layer's preconditioner, relative to the mean of its diagonal; without, that layer takes the plain
    /// gradient, as the first one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub damping: Option<f64>,
    /// Tokens of a support set from which on steps have their whole size; of a smaller one they are smaller in proportion, since
    /// it says less of what it is a sample of. Without, they always have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<usize>,
    /// How new words begin.
    pub new_words: NewWordStart,
    /// The memory of the support's words.
    pub memory: MemoryBlend,
    /// How much more alike a picture of the support has to be for its captions to count e times as much, where a caption is
    /// chosen by what the support's captions agree on; without, the most probable one is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consensus: Option<f64>,
    /// Where a calibration applies.
    pub familiarity: Familiarity,
}

impl InnerLoop {
    /// Gradient steps and nothing else: nothing is looked up in the support, and there is no evidence for new words.
    #[must_use]
    pub fn plain(alpha: Vec<[f64; 2]>, damping: Option<f64>) -> Self {
        Self {
            steps: alpha.len(),
            alpha,
            damping,
            tokens: None,
            new_words: NewWordStart { offset: 0.0, detectors: 0.0, steps: 1.0, weight: 1.0 },
            memory: MemoryBlend { share: 0.0, temperature: 1.0, picture: 0.0 },
            consensus: None,
            familiarity: Familiarity {
                known: [0.0; 4],
                unknown: [0.0; 4],
                slope: 1.0,
                threshold: 0.0,
                place: [1.0, 0.0, -0.5],
            },
        }
    }

    /// What step sizes are multiplied by for a support set of so many tokens.
    #[must_use]
    pub fn size_of_steps(&self, tokens: usize) -> f64 {
        self.tokens.map_or(1.0, |whole| (tokens as f64 / whole.max(1) as f64).min(1.0))
    }
}

/// How new words begin.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewWordStart {
    /// How much more likely than the words that it starts from, in nats.
    pub offset: f64,
    /// How much the detectors' view of the support counts beside the decoder's in what a new word is like.
    pub detectors: f64,
    /// What the second layer's step sizes are multiplied by where the support shows new things and is no place of its own, and
    /// where the first layer rests; at 0 no step is taken there.
    pub steps: f64,
    /// How many ordinary tokens a token of a new word counts for in the support's loss.
    pub weight: f64,
}

/// How much of the next word's distribution is looked up in the support.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryBlend {
    /// From 0 to 1.
    pub share: f64,
    /// Distance at which a neighbour counts 1/e.
    pub temperature: f64,
    /// How far unlike pictures are, beside unlike tokens.
    pub picture: f64,
}

/// The numbers of `metalens::adaptation`'s familiarity, which has the formulas.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Familiarity {
    /// Weights of the evidence for a new word that is a name for a known one: said, detected, alike, and the constant.
    pub known: [f64; 4],
    /// Those for a new word that no known one is like.
    pub unknown: [f64; 4],
    /// Slope of the place's sigmoid, per standard deviation of nearness.
    pub slope: f64,
    /// Standard deviations of nearness at which a picture is half in the place.
    pub threshold: f64,
    /// Weights of what speaks for a support set being a place: alone, surprise, and the constant.
    pub place: [f64; 3],
}

impl Familiarity {
    /// With the weights of the evidence for new words that `other` has.
    #[must_use]
    pub fn with_evidence_of(self, other: &Self) -> Self {
        Self { known: other.known, unknown: other.unknown, ..self }
    }
}

/// What the device must say of a picture that it carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// The picture's file in the bundle.
    pub picture: String,
    /// Its caption, with the manifest's decoding.
    pub caption: String,
    /// The natural logarithm of the caption's probability.
    pub log_probability: f32,
}
