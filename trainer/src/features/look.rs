//! What is computed of a picture: the trunk's features, its classes, and what a detector finds.

use std::path::{Path, PathBuf};

use anyhow::Context;
use half::slice::HalfFloatSliceExt;
use metalens::engine::{EngineError, Graph, Input, Output, Session};
use metalens::vision::{Detector, Picture, Preprocessor, load_detector};
use metalens_models::{DetectorShape, Preprocessing, hexadecimal};
use sha2::{Digest, Sha256};

use super::crop::crop;
use super::store::Index;
use crate::encoder::{CLASSES, TrunkShape};

/// The graphs that look at pictures.
pub(super) struct Graphs {
    trunk: Graph,
    /// Logits that the trunk gives beside its features.
    pub(super) classes: usize,
    detector: Option<LoadedDetector>,
}

/// A detector, an ONNX file, and what it takes and makes.
#[derive(Clone, Debug)]
pub struct DetectorFile {
    /// The file.
    pub path: PathBuf,
    /// Its sizes.
    pub shape: DetectorShape,
}

struct LoadedDetector {
    graph: Graph,
    shape: DetectorShape,
    sha256: String,
}

impl Graphs {
    /// Translates the trunk of the file `path`, with its classes where it has them, and the detector, where there is one.
    ///
    /// # Errors
    /// When one of them is not what its shape says.
    pub(super) fn load(
        path: &Path,
        trunk: &[u8],
        shape: &TrunkShape,
        detector: Option<&DetectorFile>,
    ) -> anyhow::Result<Self> {
        let Preprocessing { width, height, .. } = shape.preprocessing;
        let image = [Input::F32("image", &[1, 3, height, width])];
        let features = [1, shape.positions(), shape.channels];
        let features = Output("features", &features);
        let load = |outputs: &[Output]| Graph::load(trunk, "trunk", &image, outputs);
        let (trunk, classes) = match load(&[features, Output("classes", &[1, CLASSES])]) {
            Err(EngineError::Missing { name, .. }) if name == "classes" => (load(&[features]), 0),
            graph => (graph, CLASSES),
        };
        let trunk = trunk.with_context(|| path.display().to_string())?;
        let detector = detector.map(LoadedDetector::open).transpose()?;
        Ok(Self { trunk, classes, detector })
    }

    /// Classes of the detector; 0 without one.
    pub(super) fn things(&self) -> usize {
        self.detector.as_ref().map_or(0, |detector| detector.shape.things)
    }

    pub(super) fn detector_sha256(&self) -> Option<String> {
        self.detector.as_ref().map(|detector| detector.sha256.clone())
    }

    /// What one thread needs.
    pub(super) fn looker(&self, index: &Index) -> anyhow::Result<Looker> {
        let detector = self.detector.as_ref();
        Ok(Looker {
            preprocessor: Preprocessor::new(index.trunk.preprocessing.clone()),
            trunk: self.trunk.session()?,
            views: index.views,
            classes: self.classes,
            detector: detector.map(|detector| Detector::new(&detector.graph, &detector.shape)).transpose()?,
        })
    }
}

impl LoadedDetector {
    fn open(file: &DetectorFile) -> anyhow::Result<Self> {
        let name = file.path.display().to_string();
        let bytes = std::fs::read(&file.path).with_context(|| name.clone())?;
        let graph = load_detector(&bytes, &name, &file.shape)?;
        Ok(Self { graph, shape: file.shape.clone(), sha256: hexadecimal(&Sha256::digest(&bytes)) })
    }
}

/// Looks at pictures, on one thread.
pub(super) struct Looker {
    preprocessor: Preprocessor,
    trunk: Session,
    views: usize,
    classes: usize,
    detector: Option<Detector>,
}

impl Looker {
    /// What the picture's rows hold, in the order of [`Index::files`].
    ///
    /// # Errors
    /// When a graph fails, or makes no numbers.
    pub(super) fn look(&mut self, image: &Picture, name: &str) -> anyhow::Result<Vec<Vec<u8>>> {
        let (mut features, mut classes) = (Vec::new(), Vec::new());
        for view in 0..self.views {
            match view {
                0 => _ = self.preprocessor.run(image),
                1 => {}
                crop_of => _ = self.preprocessor.run(&crop(image, name, crop_of)),
            }
            if view % 2 == 0 {
                self.trunk.set(0, self.preprocessor.pixels())?;
            } else {
                self.trunk.set(0, &self.preprocessor.mirrored())?;
            }
            self.trunk.run()?;
            let damaged = || {
                format!("{name}: the trunk makes no numbers of it; its weights are damaged, import it again")
            };
            extend_with_halves(&mut features, self.trunk.output(0)?).with_context(damaged)?;
            if self.classes > 0 {
                extend_with_halves(&mut classes, self.trunk.output(1)?).with_context(damaged)?;
            }
        }
        let mut rows = vec![features];
        rows.extend((self.classes > 0).then_some(classes));
        if let Some(detector) = &mut self.detector {
            detector.look(image)?;
            let mut things = Vec::new();
            extend_with_halves(&mut things, detector.scores()).with_context(|| {
                format!("{name}: the detector makes no numbers of it; its weights are damaged")
            })?;
            rows.push(things);
        }
        Ok(rows)
    }
}

/// Nothing where a number is none.
fn extend_with_halves(out: &mut Vec<u8>, numbers: &[f32]) -> Option<()> {
    if !numbers.iter().all(|number| number.is_finite()) {
        return None;
    }
    let mut halves = vec![half::f16::ZERO; numbers.len()];
    halves.convert_from_f32_slice(numbers);
    out.extend(halves.iter().flat_map(|h| h.to_le_bytes()));
    Some(())
}
