//! A calibration, ready to caption with.

use std::sync::Arc;

use metalens_models::{Bundle, TokenId};
use ndarray::{Array2, ArrayView2};

use super::calibration::{Calibrated, Initialization};
use super::consensus::Consensus;
use super::familiarity::{Gate, Lifted};
use super::head::Head;
use super::payload::{Misfit, Payload};
use super::predictor::Row;
use super::references::Observation;
use crate::CaptionerError;
use crate::evidence::Concept;
use crate::store::{Flaw, Loaded, StateReader, Stored, Warning};

/// What was learned from a support set, beside the initialization that it was learned from.
#[derive(Clone, Debug)]
pub struct Learned {
    initialization: Arc<Initialization<f32>>,
    calibrated: Calibrated<f32, Head<f32>>,
    consensus: Option<Consensus<f32>>,
    /// The new words as they are printed, in the order of their slots.
    words: Vec<String>,
}

impl Learned {
    /// What a calibration made; `words` are its new words as they are printed.
    pub(crate) fn from_calibrated(
        initialization: Arc<Initialization<f32>>,
        calibrated: Calibrated<f32, Head<f32>>,
        words: Vec<String>,
    ) -> Self {
        Self { consensus: initialization.consensus(&calibrated), initialization, calibrated, words }
    }

    /// What a payload holds.
    ///
    /// # Errors
    /// When it was made from another bundle.
    pub fn new(initialization: Arc<Initialization<f32>>, payload: Payload) -> Result<Self, Misfit> {
        let words = payload.new_words.iter().map(|word| word.written.clone()).collect();
        let calibrated = payload.into_calibrated(&initialization)?;
        Ok(Self::from_calibrated(initialization, calibrated, words))
    }

    /// What a state says is in use with a bundle. A head that cannot be used is passed over with a warning.
    ///
    /// # Errors
    /// When the bundle is refused.
    pub fn of_state(bundle: &Bundle, state: &StateReader) -> Result<Loaded<Arc<Self>>, CaptionerError> {
        let Loaded { head, mut warnings } = state.newest::<Payload>(&bundle.manifest().id);
        let Some(Stored { generation, payload }) = head else { return Ok(Loaded { head: None, warnings }) };
        let initialization = Arc::new(Initialization::of_bundle(bundle)?);
        let head = match Self::new(initialization, payload) {
            Ok(learned) => Some(Stored { generation, payload: Arc::new(learned) }),
            Err(misfit) => {
                let flaw = Flaw::Payload(misfit.to_string());
                warnings.push(Warning::Head { path: state.head(generation), flaw });
                None
            }
        };
        Ok(Loaded { head, warnings })
    }

    /// Where it was learned from.
    #[must_use]
    pub fn initialization(&self) -> &Initialization<f32> {
        &self.initialization
    }

    /// Directions `[pictures, token]` of the pictures that it was learned from.
    #[must_use]
    pub fn support(&self) -> ArrayView2<'_, f32> {
        self.calibrated.familiarity.support.view()
    }

    /// How far it applies to a picture.
    #[must_use]
    pub fn gate(&self, picture: &Observation<f32>) -> Gate<f32> {
        self.initialization.gate(&self.calibrated, picture)
    }

    /// Which new word this is, counted from the first one; none for other words.
    #[must_use]
    pub fn new_word(&self, id: TokenId) -> Option<usize> {
        id.index().checked_sub(self.initialization.head.words()).filter(|&place| place < self.words.len())
    }

    /// The new word that the caption of a picture with this gate should hold, as a concept, and the known word that it is put for.
    #[must_use]
    pub fn wanted(&self, gate: &Gate<f32>) -> Option<(Concept, TokenId)> {
        let Lifted { word, like, confidence } = self.calibrated.familiarity.lifted(gate)?;
        let id = |place: usize| TokenId(place as u32);
        Some((Concept { word: id(self.initialization.head.words() + word), confidence }, id(like)))
    }

    /// What the support's captions agree on, where it is a place of its own.
    #[must_use]
    pub fn consensus(&self) -> Option<&Consensus<f32>> {
        self.consensus.as_ref()
    }

    /// How a new word is printed; none for other words.
    #[must_use]
    pub fn written(&self, id: TokenId) -> Option<&str> {
        self.new_word(id).map(|place| self.words[place].as_str())
    }

    /// Probabilities `[rows, words]`, new words included, of the words after z `[rows, feature]`.
    #[must_use]
    pub fn probabilities(&self, z: &ArrayView2<f32>, asked: &[Row<f32>]) -> Array2<f32> {
        self.initialization.probabilities(&self.calibrated, z, asked)
    }
}
