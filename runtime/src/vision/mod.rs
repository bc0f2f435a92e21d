//! From a picture's bytes to visual tokens, and to the things that a detector finds.

mod bytes;
mod decode;
mod detector;
mod encoder;
mod jpeg;
mod preprocess;

pub use bytes::{read_bytes, read_file};
pub use decode::{DecodeError, MIN_SIDE, Picture, decode};
pub use detector::load as load_detector;
pub use detector::{Detector, Thing};
pub use encoder::load as load_encoder;
pub use encoder::{Encoder, Tokens};
pub use preprocess::Preprocessor;
