//! From visual tokens to words.

mod beam;
mod decoder;
mod family;
mod lines;
mod pointing;
mod scene;
mod speaker;
mod steps;
mod words;

pub use beam::{
    Beam, BeamSettings, Hypothesis, MAX_BEAM, MAX_HYPOTHESES, MAX_REQUIRED, MAX_WORDS, NextWord, Required,
};
pub(crate) use decoder::Applied;
pub use decoder::Decoder;
pub use family::family;
pub use lines::lines;
pub use pointing::Pointing;
pub use scene::Scene;
pub(crate) use speaker::{Reading, Speaker};
pub use words::{Spelled, spelled, words};
