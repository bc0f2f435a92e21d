//! When a caption is published, and which pictures the device asks about: `[caption]` and `[calibration]`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::document::Check;
use crate::units::FramesPerSecond;

/// When a caption is published, and how it is searched for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Caption {
    /// How far a scene must have moved for a new caption: cosine distance of its pooled features to those of the last caption, 0
    /// to 2. 0 captions every frame.
    pub min_change: f32,
    /// A caption is made anew after so many seconds, however still the scene is.
    pub max_age_s: f64,
    /// Captions a second, at most; the profile's where not given, and no limit where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rate: Option<FramesPerSecond>,
    /// Hypotheses that the search keeps, 1 to 8; the bundle's where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beam: Option<usize>,
    /// Whether the bundle's detector looks too, where it has one. Without, captions come sooner and miss things.
    pub detector: bool,
}

impl Default for Caption {
    fn default() -> Self {
        Self { min_change: 0.05, max_age_s: 30.0, max_rate: None, beam: None, detector: true }
    }
}

impl Caption {
    /// With the profile's `max_rate` where none is given.
    pub(super) fn validate(self, max_rate: Option<FramesPerSecond>, check: &mut Check) -> Self {
        if !(0.0..=2.0).contains(&self.min_change) {
            let message =
                format!("{} is no cosine distance; give 0 to 2, 0 captions every frame", self.min_change);
            check.problem("caption.min_change", message);
        }
        if !(self.max_age_s > 0.0 && self.max_age_s <= 86_400.0) {
            let message = format!("{} seconds; give more than 0, at most 86400", self.max_age_s);
            check.problem("caption.max_age_s", message);
        }
        if let Some(beam) = self.beam
            && !(1..=8).contains(&beam)
        {
            check.problem("caption.beam", format!("{beam} hypotheses; give 1 to 8"));
        }
        Self { max_rate: self.max_rate.or(max_rate), ..self }
    }
}

/// What helps to calibrate on the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Calibration {
    /// Pictures kept that the device would learn most from, to ask about; 0 keeps none.
    pub suggestions: usize,
    /// The caption of a picture that is kept with the button, until another is set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

impl Default for Calibration {
    fn default() -> Self {
        Self { suggestions: 12, label: None }
    }
}

impl Calibration {
    pub(super) fn validate(self, check: &mut Check) -> Self {
        if self.suggestions > 1000 {
            check
                .problem("calibration.suggestions", format!("{} pictures; give 0 to 1000", self.suggestions));
        }
        if self.label.as_ref().is_some_and(|label| label.trim().is_empty()) {
            check.problem("calibration.label", "has no words; give a caption, or take the key out");
        }
        self
    }
}
