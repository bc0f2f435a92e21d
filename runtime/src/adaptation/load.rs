//! What a bundle carries for calibration: its head, its schedule, and `adaptation.safetensors`.
//!
//! ```text
//! references.pooled  [references, token]       pooled visual vectors of ordinary pictures
//! references.detections [references, detected] what the detectors make of them
//! references.said    [words]                   how probably each known word is said of an ordinary picture
//! detectors.words    u32[detected]             the words that have detectors
//! detectors.weight   [detected, 3 token + 1]   [A b G M] of `References`
//! ```
//!
//! in f32 or f16.

use metalens_models::{Bundle, file};
use ndarray::{Array1, Array2, s};
use safetensors::{Dtype, SafeTensors};

use super::calibration::Initialization;
use super::references::{ReferenceParts, References};
use super::{BARRED, CalibrationError, Head};
use crate::CaptionerError;
use crate::engine::{self, Constant};

/// Names of the tensors in `adaptation.safetensors`.
pub mod tensor {
    /// `[references, token]`.
    pub const POOLED: &str = "references.pooled";
    /// `[words]`.
    pub const SAID: &str = "references.said";
    /// `u32[detected]`.
    pub const WORDS: &str = "detectors.words";
    /// `[detected, 3 token + 1]`.
    pub const WEIGHT: &str = "detectors.weight";
    /// `[references, detected]`.
    pub const DETECTIONS: &str = "references.detections";
}

impl Head<f32> {
    /// The head of a bundle, for its known words. Words that must not be said are barred.
    ///
    /// # Errors
    /// When the bundle's file is refused or is not the head that the manifest describes.
    pub fn of_bundle(bundle: &Bundle) -> Result<Self, CaptionerError> {
        let constants = engine::constants(&bundle.read(file::HEAD)?, file::HEAD)?;
        let vocabulary = bundle.vocabulary()?;
        let shapes = bundle.manifest().shapes;
        let known = bundle.manifest().special.slots.first.index();
        let take = |name: &str, shape: &[usize]| match constants.get(name) {
            Some(Constant { shape: found, values }) if found == shape => Ok(values.clone()),
            found => Err(CalibrationError::Bundle {
                path: bundle.folder().join(file::HEAD),
                reason: format!("{name} is {:?}, needed {shape:?}", found.map(|c| c.shape.as_slice())),
            }),
        };
        let matrix = |name: &str, rows, columns| {
            let values = take(name, &[rows, columns])?;
            Ok::<_, CalibrationError>(
                Array2::from_shape_vec((rows, columns), values).expect("the shape was checked"),
            )
        };
        let vector = |name: &str, size| take(name, &[size]).map(Array1::from_vec);
        let mut bias_2 = vector("head.fc2.bias", shapes.vocabulary)?.slice(s![..known]).to_owned();
        for (word, bias) in bias_2.iter_mut().enumerate() {
            if !vocabulary.can_be_said(metalens_models::TokenId(word as u32)) {
                *bias = BARRED as f32;
            }
        }
        Ok(Self {
            weight_1: matrix("head.fc1.weight", shapes.hidden, shapes.feature)?,
            bias_1: vector("head.fc1.bias", shapes.hidden)?,
            weight_2: matrix("head.fc2.weight", shapes.vocabulary, shapes.hidden)?
                .slice(s![..known, ..])
                .to_owned(),
            bias_2,
        })
    }
}

impl Initialization<f32> {
    /// Where calibration with a bundle starts.
    ///
    /// # Errors
    /// When the bundle was not meta-learned, or a file is refused or contradicts the manifest.
    pub fn of_bundle(bundle: &Bundle) -> Result<Self, CaptionerError> {
        let manifest = bundle.manifest();
        let schedule = manifest
            .inner_loop
            .clone()
            .ok_or_else(|| CalibrationError::NoSchedule(bundle.folder().to_owned()))?;
        if let Some(temperature) =
            schedule.consensus.filter(|temperature| temperature.is_nan() || *temperature <= 0.0)
        {
            let reason = format!("inner_loop.consensus is {temperature}, needed more than 0");
            return Err(
                CalibrationError::Bundle { path: bundle.folder().join(file::MANIFEST), reason }.into()
            );
        }
        let head = Head::of_bundle(bundle)?;
        let path = bundle.folder().join(file::ADAPTATION);
        let wrong = |reason: String| CalibrationError::Bundle { path: path.clone(), reason };
        let bytes = bundle.read(file::ADAPTATION)?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| wrong(error.to_string()))?;
        let numbers = |name: &str, dimensions: usize| {
            let view = tensors.tensor(name).map_err(|_| wrong(format!("{name} is missing")))?;
            if view.shape().len() != dimensions {
                return Err(wrong(format!(
                    "{name} has shape {:?}, needed {dimensions} dimensions",
                    view.shape()
                )));
            }
            let values: Vec<f32> = match view.dtype() {
                Dtype::F32 => view.data().as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
                Dtype::F16 => {
                    view.data().as_chunks().0.iter().map(|&b| half::f16::from_le_bytes(b).to_f32()).collect()
                }
                Dtype::U32 => {
                    view.data().as_chunks().0.iter().map(|&b| u32::from_le_bytes(b) as f32).collect()
                }
                other => return Err(wrong(format!("{name} is of type {other:?}"))),
            };
            Ok((view.shape().to_vec(), values))
        };
        let vector = |name: &str| numbers(name, 1).map(|(_, values)| Array1::from_vec(values));
        let matrix = |name: &str| {
            let (shape, values) = numbers(name, 2)?;
            Array2::from_shape_vec((shape[0], shape[1]), values).map_err(|error| wrong(error.to_string()))
        };
        let parts = ReferenceParts {
            pooled: matrix(tensor::POOLED)?,
            said: vector(tensor::SAID)?,
            detected: vector(tensor::WORDS)?.iter().map(|&word| word as usize).collect(),
            detectors: matrix(tensor::WEIGHT)?,
            detections: matrix(tensor::DETECTIONS)?,
        };
        let (words, token) = (head.words(), manifest.shapes.token);
        let fits = parts.pooled.ncols() == token
            && parts.pooled.nrows() > 1
            && parts.said.len() == words
            && parts.detectors.ncols() == 3 * token + 1
            && parts.detectors.nrows() == parts.detected.len()
            && parts.detections.dim() == (parts.pooled.nrows(), parts.detected.len())
            && parts.detected.iter().all(|&word| word < words);
        if !fits {
            return Err(wrong("its tensors contradict each other or the manifest's shapes".to_owned()).into());
        }
        let end = manifest.special.end.index();
        Ok(Self { head, end, references: References::new(parts), schedule })
    }
}
