//! The concepts of pictures, chosen as a device with the bundle chooses them.

use metalens::engine::Graph;
use metalens::evidence::{Concept, Evidence};
use metalens::vision::{self, Detector, Encoder, Picture};
use metalens_models::{Bundle, DetectorShape, TokenId, Vocabulary, file};
use ndarray::ArrayView2;

use crate::export::Phi;
use crate::features::Features;

/// What finds the concepts of pictures.
pub(super) struct Finder {
    evidence: Evidence,
    phi: Option<Phi>,
    /// Classes that the encoder tells.
    classes: usize,
    detector: Option<(Graph, DetectorShape)>,
}

impl Finder {
    /// That of a bundle; none where it has no concepts.
    pub fn open(bundle: &Bundle, vocabulary: &Vocabulary) -> anyhow::Result<Option<Self>> {
        let Some(evidence) = Evidence::load(bundle, vocabulary)? else { return Ok(None) };
        let detector = match &bundle.manifest().detector {
            None => None,
            Some(shape) => {
                let graph = vision::load_detector(&bundle.read(file::DETECTOR)?, file::DETECTOR, shape)?;
                Some((graph, shape.clone()))
            }
        };
        let phi = Phi::of_encoder(&bundle.read(file::ENCODER)?)?;
        let (found, needed) = (phi.as_ref().map_or(0, Phi::width), bundle.manifest().shapes.phi);
        anyhow::ensure!(
            found == needed,
            "{}: holds the constants of a phi of {found} numbers, needed {needed}; export the bundle again",
            bundle.folder().join(file::ENCODER).display()
        );
        Ok(Some(Self { evidence, phi, classes: bundle.manifest().shapes.classes, detector }))
    }

    /// A detector for [`Self::of_picture`], one a thread; none where the bundle carries none.
    pub fn detector(&self) -> anyhow::Result<Option<Detector>> {
        let Some((graph, shape)) = &self.detector else { return Ok(None) };
        Ok(Some(Detector::new(graph, shape)?))
    }

    /// What `picture` shows, which was encoded last.
    pub fn of_picture(
        &self,
        picture: &Picture,
        encoder: &Encoder,
        detector: Option<&mut Detector>,
    ) -> anyhow::Result<Vec<Concept>> {
        let things = match detector {
            None => None,
            Some(detector) => {
                detector.look(picture)?;
                Some(detector.scores())
            }
        };
        Ok(self.evidence.concepts(encoder.phi()?, encoder.classes()?, things))
    }

    /// The concepts of a picture of which a device would say the new word `new`, which is put for `known`.
    pub fn with_new_word(&self, concepts: &[Concept], new: Concept, known: TokenId) -> Vec<Concept> {
        self.evidence.with_new_word(concepts, new, known)
    }

    /// What pictures of a prepared folder show.
    ///
    /// # Errors
    /// When the folder was prepared without the classes or the detector of the bundle, with which a device would find more.
    pub fn of_prepared(&self, features: &Features, pictures: &[usize]) -> anyhow::Result<Vec<Vec<Concept>>> {
        let (index, trunk) = (features.index(), features.trunk());
        anyhow::ensure!(
            [0, index.classes].contains(&self.classes),
            "{}: tells {} classes, and the bundle's encoder {}; prepare the pictures with the trunk that the bundle was made of",
            trunk.display(),
            index.classes,
            self.classes
        );
        let things = self.detector.as_ref().map_or(0, |(_, shape)| shape.things);
        anyhow::ensure!(
            [0, index.things].contains(&things),
            "{}: the pictures beside it have scores of {} things, and the bundle's detector finds {things}; prepare them with \
             --detector and the bundle's {}",
            trunk.display(),
            index.things,
            file::DETECTOR
        );
        let of = |&picture: &usize| {
            let mut map = Vec::new();
            features.extend(picture, 0, &mut map);
            let map = ArrayView2::from_shape((index.trunk.positions(), index.trunk.channels), &map)?;
            let phi = self.phi.as_ref().map(|phi| phi.of(&map).to_vec());
            let classes = (self.classes > 0).then(|| features.classes(picture, 0)).flatten();
            let scores = (things > 0).then(|| features.things(picture)).flatten();
            Ok(self.evidence.concepts(phi.as_deref(), classes.as_deref(), scores.as_deref()))
        };
        pictures.iter().map(of).collect()
    }
}
