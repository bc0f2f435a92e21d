//! A tiny captioner with concepts, whose parameters are drawn: nobody learned anything, and everything has an influence.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use metalens::evidence::Sources;
use metalens_models::{
    CaptionEvidence, ClassEvidence, Decoding, DetectorShape, EvidenceSettings, Manifest, ThingEvidence,
    TokenId,
};
use metalens_trainer::captioner::{Parameters, Sizes};
use metalens_trainer::encoder::CLASSES;
use metalens_trainer::export::{self, EvidenceParts, Parts, Phi};
use metalens_trainer::onnx::Precision;
use metalens_trainer::vocabulary::{SPECIAL, TrainingVocabulary};
use ndarray::{Array1, Array2};

use crate::{drawing, tiny};

/// Concepts that it takes: more than it ever has.
pub const CONCEPTS: usize = 7;
/// Width of phi.
const PHI: usize = 6;
/// Its words.
const WORDS: [&str; 10] =
    ["red", "green", "blue", "circle", "square", "small", "large", "on", "grey", "ground"];

/// What there is of it.
pub struct Drawn {
    /// All of its parameters.
    pub parameters: Parameters,
    /// Its words.
    pub vocabulary: TrainingVocabulary,
    /// From phi to concepts.
    pub evidence: EvidenceParts,
}

/// Numbers around zero that look drawn and are always the same.
fn numbers(count: usize, seed: f32, size: f32) -> Vec<f32> {
    (0..count).map(|i| size * (seed + 1.7 * i as f32).sin()).collect()
}

/// Draws it; a concept is required of its captions from this confidence on.
///
/// # Errors
/// When shapes do not fit.
pub fn drawn(required: f32) -> anyhow::Result<Drawn> {
    let words: Vec<String> = SPECIAL.iter().chain(&WORDS).map(|&word| word.to_owned()).collect();
    let sizes = Sizes {
        trunk: tiny::trunk().1.channels,
        cut: None,
        token: 16,
        key: 12,
        state: 32,
        word: 16,
        hidden: 24,
        vocabulary: words.len(),
        concepts: true,
    };
    let parameters = Parameters::new(sizes, 3, DType::F32, &Device::Cpu)?;
    for (name, var) in parameters.iter() {
        let drawn = match name {
            "pointer.weight" | "word.weight" => numbers(var.elem_count(), 1.0, 0.8),
            "pointer.bias" => vec![0.5, 1.0],
            "concept.bias" | "concept.norm.bias" | "head.fc2.bias" => numbers(var.elem_count(), 2.0, 0.3),
            _ => continue,
        };
        var.set(&Tensor::from_vec(drawn, var.shape(), var.device())?)?;
    }
    let (rows, pooled) = (4, 2 * sizes.trunk);
    let id = |word: usize| TokenId((SPECIAL.len() + word) as u32);
    let evidence = EvidenceParts {
        weight: Array2::from_shape_vec((rows, PHI), numbers(rows * PHI, 3.0, 0.5))?,
        bias: Array1::from_vec(numbers(rows, 4.0, 0.5)),
        phi: Phi {
            projection: Some(Array2::from_shape_vec((pooled, PHI), numbers(pooled * PHI, 5.0, 0.5))?),
            mean: Array1::from_vec(numbers(PHI, 6.0, 0.5)),
            spread: Array1::from_vec(numbers(PHI, 7.0, 0.2)) + 1.0,
        },
        classes: CLASSES,
        concepts: CONCEPTS,
        sources: Sources {
            captions: (0..rows).map(id).collect(),
            classes: vec![(id(5), (0..600).collect()), (id(6), vec![7])],
            things: vec![(id(7), 1)],
        },
        settings: EvidenceSettings {
            captions: CaptionEvidence { most: 3, at_least: 0.05 },
            classes: ClassEvidence { at_least: 0.25, share: 0.8 },
            things: ThingEvidence { at_least: 0.1 },
            required,
        },
    };
    Ok(Drawn { parameters, vocabulary: TrainingVocabulary::from_words(words), evidence })
}

/// Writes it as a bundle with classes and a detector into the new folder `out`.
///
/// # Errors
/// When exporting fails.
pub fn export(drawn: &Drawn, out: &Path) -> anyhow::Result<Manifest> {
    export_with(drawn, &tiny::detector_shape(), out)
}

/// The same with a manifest that tells other sizes of the detector.
///
/// # Errors
/// When exporting fails, as it does where these are not the detector's.
pub fn export_with(drawn: &Drawn, detector: &DetectorShape, out: &Path) -> anyhow::Result<Manifest> {
    let (trunk, (_, shape)) = (tiny::trunk_with_classes(), tiny::trunk());
    let mut golden = std::io::Cursor::new(Vec::new());
    drawing::picture(0, 0).write_to(&mut golden, image::ImageFormat::Png)?;
    export::write(
        &Parts {
            name: "drawn",
            trunk: &trunk,
            shape: &shape,
            parameters: &drawn.parameters,
            vocabulary: &drawn.vocabulary,
            evidence: Some(drawn.evidence.clone()),
            detector: Some((&tiny::detector(), detector)),
            slots: 4,
            precision: Precision::F32,
            decoding: Decoding { beam: 3, length_normalisation: 0.7, max_words: 8 },
            golden: golden.get_ref(),
            training: serde_json::Value::Null,
        },
        out,
    )
}
