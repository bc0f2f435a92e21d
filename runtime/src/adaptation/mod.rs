//! Learning from a handful of captioned pictures: only the head changes.

mod calibration;
mod consensus;
mod error;
mod familiarity;
mod head;
mod inner_loop;
mod inverse;
mod leaning;
mod learned;
pub mod load;
mod memory;
mod payload;
mod predictor;
mod product;
mod real;
mod references;
mod rows;
mod support;
#[cfg(test)]
mod tests;
mod usage;

pub use calibration::{Calibrated, Initialization, Losses, Read, Shown};
pub use consensus::{Choice, Consensus};
pub use error::CalibrationError;
pub use familiarity::{Familiarity, Gate, Lifted, Word};
pub use head::{Gradient, Head, Tokens};
pub use inner_loop::{Adapted, adapt};
pub use inverse::positive_inverse;
pub use learned::Learned;
pub use memory::Memory;
pub use payload::{Misfit, NewWord, Payload, Scores, Share};
pub use predictor::{Logits, Row};
pub use real::Real;
pub use references::{Observation, ReferenceParts, References, detect, said};
pub use rows::{mixtures, with_rows};
pub use support::{CAPTIONS, NewWords, Sample, read_support};
pub use usage::{Usage, usages};

/// The logit of words that must not be said: so low that their probability is 0 in any precision.
pub const BARRED: f64 = -1e4;
