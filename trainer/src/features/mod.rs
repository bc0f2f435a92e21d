//! Prepared corpora: captions, splits and the trunk's features of every picture, computed once.
//!
//! A prepared folder holds
//!
//! ```text
//! pictures.json   format, the trunk's hash, every picture with its captions, split and label, and what was left out
//! features.f16    one row a view: f16[positions * trunk], little-endian; views of a picture stand side by side: as it is,
//!                 mirrored, and crops in other light, each second one mirrored
//! classes.f16     likewise one row a view, f16[classes]: logits of ImageNet's classes, where the trunk has an output `classes`
//! things.f16      f16[pictures * things]: how sure a detector is that each picture shows each of its things, where one was given
//! status.bin      one byte a picture: 0 not yet, 1 done, 2 rejected
//! trunk.onnx      the trunk itself; a training run notes its hash, so that `export` cannot take another
//! ```
//!
//! Rows are kept as long as trunk, detector, views and a picture's name, length and time of change stay the same: captions and splits may
//! change, pictures may come and go. Whoever reads the folder keeps it from being written.

mod crop;
mod look;
mod prepare;
mod staged;
mod store;

pub use look::DetectorFile;
pub use prepare::{PrepareOptions, Prepared, prepare};
pub use store::{Features, FeaturesError, FileState, Index, PreparedPicture, Rejected};
