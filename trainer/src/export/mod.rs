//! Writes a bundle from trained parameters.

mod evidence;
mod graphs;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use candle_core::{Device, Tensor};
use metalens::{Captioner, Options, adaptation, vision};
use metalens_models::{
    Bundle, BundleId, Decoding, DetectorShape, FORMAT_VERSION, Golden, Manifest, Shapes, SlotRange,
    SpecialTokens, TokenId, WriteError, file,
};

pub use evidence::EvidenceParts;
pub use graphs::{Beside, GraphError, Phi, Positions, decoder, encoder, head};

use ndarray::{Array1, Array2};

use crate::captioner::Parameters;
use crate::encoder::checkpoint::Weights;
use crate::encoder::{self, Layer, TrunkShape, learned};
use crate::features::Features;
use crate::meta::Body;
use crate::onnx::Precision;
use crate::vocabulary::{END, PADDING, START, TrainingVocabulary, UNKNOWN};

/// What a bundle is made of.
pub struct Parts<'a> {
    /// The bundle's name.
    pub name: &'a str,
    /// The trunk, an ONNX file.
    pub trunk: &'a [u8],
    /// What the trunk takes and makes.
    pub shape: &'a TrunkShape,
    /// The trained captioner.
    pub parameters: &'a Parameters,
    /// The words that it knows.
    pub vocabulary: &'a TrainingVocabulary,
    /// What of a picture becomes a concept; a captioner with concepts needs it.
    pub evidence: Option<EvidenceParts>,
    /// A detector of things, an ONNX file, and what it takes and makes.
    pub detector: Option<(&'a [u8], &'a DetectorShape)>,
    /// How many new words it can take.
    pub slots: usize,
    /// How large weights are stored.
    pub precision: Precision,
    /// How captions are searched for.
    pub decoding: Decoding,
    /// The self-test's picture, a JPEG.
    pub golden: &'a [u8],
    /// The training run, for the manifest.
    pub training: serde_json::Value,
}

/// The most new words that a bundle can take: what a device was measured with.
pub const MAX_SLOTS: usize = 256;

/// The self-test's picture in the bundle.
const GOLDEN: &str = "golden.jpg";

/// Writes the bundle into the new folder `out`, and returns what it says of itself. The self-test's caption is what the
/// runtime says with the graphs just written.
///
/// # Errors
/// When the folder exists, or the runtime refuses the graphs.
pub fn write(parts: &Parts, out: &Path) -> anyhow::Result<Manifest> {
    let positions = Positions(parts.shape.positions());
    let parameters = parts.parameters;
    let mut words = parts.vocabulary.words().to_vec();
    words.extend((0..parts.slots).map(|slot| format!("<slot{slot}>")));
    anyhow::ensure!(
        parameters.sizes.concepts == parts.evidence.is_some(),
        "a captioner that looks at concepts needs evidence for them, and no other can use it"
    );
    let beside = parts.evidence.as_ref().map(EvidenceParts::beside).unwrap_or_default();
    let concepts = parts.evidence.as_ref().map_or(0, |evidence| evidence.concepts);
    let mut files: BTreeMap<String, Vec<u8>> = [
        (file::ENCODER, encoder(parts.trunk, positions, parameters, beside, parts.precision)?),
        (file::DECODER, decoder(positions, parts.slots, UNKNOWN, concepts, parameters, parts.precision)?),
        (file::HEAD, head(parts.slots, parameters, parts.precision)?),
        (file::VOCABULARY, (words.join("\n") + "\n").into_bytes()),
        (GOLDEN, parts.golden.to_vec()),
    ]
    .into_iter()
    .map(|(name, data)| (name.to_owned(), data))
    .collect();

    if let Some(evidence) = &parts.evidence {
        files.insert(file::EVIDENCE.to_owned(), evidence.file()?);
        files.insert(file::CONCEPTS.to_owned(), evidence.text(&words).into_bytes());
    }
    if let Some((detector, _)) = parts.detector {
        files.insert(file::DETECTOR.to_owned(), detector.to_vec());
    }
    let manifest = manifest(parts, words.len());
    write_files(manifest, &files, out)
}

/// Writes a bundle of finished files, whose golden picture is the one that `manifest` names.
///
/// # Errors
/// As [`write()`].
pub fn write_files(
    manifest: Manifest,
    files: &BTreeMap<String, Vec<u8>>,
    out: &Path,
) -> anyhow::Result<Manifest> {
    if out.exists() {
        return Err(WriteError::Exists(out.to_owned()).into());
    }
    let picture = files.get(&manifest.golden.picture).context("the golden picture is missing")?;
    // Written twice: the first bundle says what its golden picture shows.
    let trial = metalens_models::hidden_sibling(out, "trial");
    metalens_models::write(&trial, manifest.clone(), files)?;
    let golden = said(&trial, picture);
    std::fs::remove_dir_all(&trial).with_context(|| trial.display().to_string())?;
    Ok(metalens_models::write(out, Manifest { golden: golden?, ..manifest }, files)?)
}

/// head.onnx of `body`'s bundle with the parameters `head` in the place of its own, at half precision.
///
/// # Errors
/// When a shape does not fit.
pub fn adapted_head(body: &Body, head: &adaptation::Head<f32>, slots: usize) -> anyhow::Result<Vec<u8>> {
    let mut tensors = body.parameters().tensors();
    let matrix = |x: &Array2<f32>| Tensor::from_vec(x.iter().copied().collect(), x.dim(), &Device::Cpu);
    let vector = |x: &Array1<f32>| Tensor::from_vec(x.to_vec(), x.len(), &Device::Cpu);
    tensors.insert("head.fc1.weight".to_owned(), matrix(&head.weight_1)?);
    tensors.insert("head.fc1.bias".to_owned(), vector(&head.bias_1)?);
    let sizes = body.parameters().sizes;
    for (name, words) in
        [("head.fc2.weight", matrix(&head.weight_2)?), ("head.fc2.bias", vector(&head.bias_2)?)]
    {
        // Calibration changes the words' rows. The slot's stays.
        let own = body.parameters().get(name);
        let slot = own.narrow(0, sizes.vocabulary, sizes.rows() - sizes.vocabulary)?;
        tensors.insert(name.to_owned(), Tensor::cat(&[words, slot], 0)?);
    }
    let parameters = Parameters::from_tensors(sizes, &tensors, candle_core::DType::F32, &Device::Cpu)?;
    Ok(graphs::head(slots, &parameters, Precision::F16)?)
}

/// encoder.onnx and decoder.onnx of `body`'s bundle with `parameters` in the place of its own, at half precision, by their names.
///
/// # Errors
/// When a shape does not fit, or the bundle's encoder was not written by this trainer.
pub fn adapted_body(body: &Body, parameters: &Parameters) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let bundle = body.bundle();
    let (shapes, slots) = (bundle.manifest().shapes, bundle.manifest().special.slots.count);
    let (positions, half) = (Positions(shapes.positions()), Precision::F16);
    let bytes = bundle.read(file::ENCODER)?;
    let phi = Phi::of_encoder(&bytes)?;
    let beside = Beside { phi: phi.as_ref(), classes: shapes.classes };
    let encoder = encoder(&bytes, positions, parameters, beside, half)
        .with_context(|| bundle.folder().join(file::ENCODER).display().to_string())?;
    let decoder = decoder(positions, slots, UNKNOWN, shapes.concepts, parameters, half)?;
    Ok(BTreeMap::from([(file::ENCODER.to_owned(), encoder), (file::DECODER.to_owned(), decoder)]))
}

fn said(bundle: &Path, picture: &[u8]) -> anyhow::Result<Golden> {
    let mut captioner = Captioner::from_bundle(&Bundle::open(bundle)?, Options::default())?;
    let picture = vision::decode(picture).context("the golden picture")?;
    let caption = captioner.caption(&picture)?;
    Ok(Golden {
        picture: GOLDEN.to_owned(),
        caption: caption.text(),
        log_probability: caption.log_probability,
    })
}

fn manifest(parts: &Parts, vocabulary: usize) -> Manifest {
    let sizes = parts.parameters.sizes;
    Manifest {
        format: FORMAT_VERSION,
        id: BundleId::default(),
        name: parts.name.to_owned(),
        files: BTreeMap::new(),
        preprocessing: parts.shape.preprocessing.clone(),
        shapes: Shapes {
            grid: parts.shape.grid,
            token: sizes.token,
            key: sizes.key,
            state: sizes.state,
            word: sizes.word,
            feature: sizes.feature(),
            hidden: sizes.hidden,
            vocabulary,
            phi: parts.evidence.as_ref().map_or(0, |evidence| evidence.phi.width()),
            classes: parts.evidence.as_ref().map_or(0, |evidence| evidence.classes),
            concepts: parts.evidence.as_ref().map_or(0, |evidence| evidence.concepts),
        },
        special: SpecialTokens {
            padding: TokenId(PADDING),
            start: TokenId(START),
            end: TokenId(END),
            unknown: TokenId(UNKNOWN),
            slots: SlotRange { first: TokenId(sizes.vocabulary as u32), count: parts.slots },
        },
        decoding: parts.decoding,
        evidence: parts.evidence.as_ref().map(|evidence| evidence.settings),
        detector: parts.detector.map(|(_, shape)| shape.clone()),
        inner_loop: None,
        training: parts.training.clone(),
        scores: BTreeMap::new(),
        golden: Golden { picture: GOLDEN.to_owned(), caption: String::new(), log_probability: 0.0 },
    }
}

/// The trunk that goes with `parameters`: the one that `features` were made with, and behind a part of it the layers that were
/// learned.
///
/// # Errors
/// When the prepared folder's trunk cannot be read, or is not the part that the parameters go on from.
pub fn trunk(
    features: &Features,
    parameters: &Parameters,
    precision: Precision,
) -> anyhow::Result<(Vec<u8>, TrunkShape)> {
    let (path, shape) = (features.trunk(), &features.index().trunk);
    let prepared = std::fs::read(&path).with_context(|| path.display().to_string())?;
    let Some(cut) = shape.cut else { return Ok((prepared, shape.clone())) };
    anyhow::ensure!(
        parameters.sizes.cut == Some(cut),
        "{}: ends before block {cut}, from which on the checkpoint has learned nothing",
        path.display()
    );
    let learned = |layer: &Layer| Ok(learned::convolution(layer, |name| parameters.get(name))?);
    let whole = encoder::complete(&prepared, cut, &learned, None, precision)
        .with_context(|| path.display().to_string())?;
    Ok((whole, encoder::lite0(None)))
}

/// The trunk whose learned layers go `share` of the way from those of the published checkpoint to those of `parameters`
/// (Wortsman et al. 2022, equation 1). It keeps the checkpoint's classifier, which knows nothing of what was learned.
///
/// # Errors
/// When the checkpoint lacks a layer, or the parameters learned none.
pub fn blended_trunk(
    published: &Weights,
    parameters: &Parameters,
    share: f32,
    precision: Precision,
) -> anyhow::Result<Vec<u8>> {
    let cut = parameters.sizes.cut.context("its run learned nothing of the trunk")?;
    let blended = |layer: &Layer| {
        let learned = learned::convolution(layer, |name| parameters.get(name))?;
        Ok(encoder::folded(published, layer)?.towards(&learned, share))
    };
    let lower = encoder::write_lower(published, cut, precision)?;
    Ok(encoder::complete(&lower, cut, &blended, Some(published), precision)?)
}

/// The mean of several checkpoints' parameters, in the processor's memory.
///
/// # Errors
/// As [`Parameters::mean`].
pub fn average(checkpoints: &[PathBuf]) -> anyhow::Result<Parameters> {
    Parameters::mean(checkpoints, &Device::Cpu)
}
