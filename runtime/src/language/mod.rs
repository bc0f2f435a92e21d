//! From visual tokens to words.

mod beam;
mod decoder;
mod words;

pub use beam::{Beam, BeamSettings, Hypothesis, MAX_BEAM, MAX_WORDS, NextWord};
pub use decoder::Decoder;
pub(crate) use decoder::Graphs;
pub use words::{Spelled, spelled, words};
