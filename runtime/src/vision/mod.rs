//! From a picture's bytes to visual tokens.

mod bytes;
mod decode;
mod encoder;
mod jpeg;
mod preprocess;

pub use bytes::{read_bytes, read_file};
pub use decode::{DecodeError, MIN_SIDE, Picture, decode};
pub use encoder::load as load_encoder;
pub use encoder::{Encoder, Tokens};
pub use preprocess::Preprocessor;
