//! From visual tokens to words.

mod beam;
mod decoder;
mod lines;
mod speaker;
mod steps;
mod words;

pub use beam::{Beam, BeamSettings, Hypothesis, MAX_BEAM, MAX_WORDS, NextWord};
pub(crate) use decoder::Applied;
pub use decoder::Decoder;
pub use lines::lines;
pub(crate) use speaker::{Reading, Speaker};
pub use words::{Spelled, spelled, words};
