//! How the daemon goes, for people, lights and `/healthz`.

use serde::Serialize;

/// How the camera goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CameraHealth {
    /// It was not opened yet.
    #[default]
    Starting,
    /// Frames come.
    Open,
    /// None come; it is being looked for.
    Missing,
    /// There will be no more.
    Ended,
}

/// What the daemon does, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// No caption yet.
    Starting,
    /// Captions frames.
    Captioning,
    /// Captions frames, and adapts the head beside that.
    Calibrating,
    /// The board is too hot; no captions until it has cooled down.
    Cooling,
    /// No frames come.
    NoCamera,
}

/// How the daemon goes.
#[derive(Clone, Debug, Default)]
pub struct Health {
    /// How the camera goes.
    pub camera: CameraHealth,
    /// Captions since the start.
    pub captions: u64,
    /// A calibration is under way.
    pub calibrating: bool,
    /// The last calibration was refused, and nothing was done since.
    pub refused: bool,
    /// The board is too hot.
    pub cooling: bool,
    /// Of the board, in degrees Celsius.
    pub temperature: Option<f32>,
    /// Captions in the last seconds, per second.
    pub rate: f32,
}

impl Health {
    /// What the daemon does, in one word.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self {
            Self { camera: CameraHealth::Missing, .. } => Phase::NoCamera,
            Self { cooling: true, .. } => Phase::Cooling,
            Self { calibrating: true, .. } => Phase::Calibrating,
            Self { captions: 0, .. } => Phase::Starting,
            _ => Phase::Captioning,
        }
    }
}
