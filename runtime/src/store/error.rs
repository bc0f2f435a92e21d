//! What can go wrong with a state folder.

use std::io;
use std::path::{Path, PathBuf};

use metalens_models::WriteError;

use super::Generation;

/// Why the state could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The folder does not exist.
    #[error("{path}: no such folder; `metalens calibrate` makes it, or name another with --state", path = .0.display())]
    NoFolder(PathBuf),
    /// A file lies where the folder, or one of those in it, belongs.
    #[error("{path}: a file, where a folder of the state belongs; move it away, or name another with --state", path = .0.display())]
    NotAFolder(PathBuf),
    /// Somebody else has the state open for changes.
    #[error("{path}: in use by another metalens; wait until it is done, or name another folder with --state", path = .0.display())]
    Locked(PathBuf),
    /// A file cannot be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A head that cannot be written down.
    #[error("{path}: the head cannot be written down: {reason}", path = path.display())]
    Encode {
        /// Where it was to be kept.
        path: PathBuf,
        /// What the encoder said.
        reason: postcard::Error,
    },
    /// The initialization is in use already.
    #[error("{path}: there is no calibration to undo", path = .0.display())]
    NothingToUndo(PathBuf),
    /// The calibration that was in use before is no longer kept.
    #[error("{path}: the calibration before, {generation}, is no longer kept; calibrate again, or remove `current` beside `heads` to caption as before any calibration", path = path.display())]
    Pruned {
        /// Where it was kept.
        path: PathBuf,
        /// Its number.
        generation: Generation,
    },
    /// A sample without a word.
    #[error("{0}: a sample without a caption; give it one")]
    NoCaption(String),
    /// The support set has no such sample.
    #[error("{path}: names no sample {name}", path = path.display())]
    NoSample {
        /// The file that names the samples.
        path: PathBuf,
        /// The name that was asked for.
        name: String,
    },
    /// A line that names no sample.
    #[error("{path}: line {line}: expected `file<TAB>caption`, the file lying in the same folder; mend or remove the line", path = path.display())]
    Malformed {
        /// The file that names the samples.
        path: PathBuf,
        /// Its number, from 1.
        line: usize,
    },
}

impl From<WriteError> for StateError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Io { path, source } => Self::Io { path, source },
            WriteError::Exists(path) => Self::Io { path, source: io::ErrorKind::AlreadyExists.into() },
        }
    }
}

pub(super) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> StateError {
    let path = path.to_owned();
    move |source| StateError::Io { path, source }
}

/// What was passed over when the state was read; captioning goes on without it.
#[derive(Debug, thiserror::Error)]
pub enum Warning {
    /// A head cannot be used.
    #[error("{path}: {flaw}; using what was in use before", path = path.display())]
    Head {
        /// Its file.
        path: PathBuf,
        /// What is wrong with it.
        flaw: Flaw,
    },
    /// Nothing says which head is in use.
    #[error("{path}: {flaw}; using the newest calibration", path = path.display())]
    Current {
        /// The file that should say it.
        path: PathBuf,
        /// What is wrong with it.
        flaw: Flaw,
    },
}

/// What is wrong with a file of the state.
#[derive(Debug, thiserror::Error)]
pub enum Flaw {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// It is another kind of file.
    #[error("not a file of this kind")]
    Kind,
    /// It was written by another release.
    #[error("format version {0}, this program reads {version}", version = super::head::FORMAT_VERSION)]
    Format(u32),
    /// A part of it is missing, or there is too much of it.
    #[error("{found} bytes, {expected} expected")]
    Length {
        /// Its length.
        found: u64,
        /// The length that follows from its first bytes.
        expected: u64,
    },
    /// Its content changed after it was written.
    #[error("damaged: checksum {found:08x}, {expected:08x} follows from its content")]
    Checksum {
        /// The one that stands in it.
        found: u32,
        /// The one that follows from its content.
        expected: u32,
    },
    /// It was calibrated on another bundle.
    #[error("calibrated on bundle {found}, this is {expected}")]
    Bundle {
        /// The first digits of that bundle's id.
        found: String,
        /// The first digits of the id of the bundle in use.
        expected: String,
    },
    /// Its content is whole, and not what this program keeps in such a file.
    #[error("cannot be decoded: {0}")]
    Payload(String),
}
