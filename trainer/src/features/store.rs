//! Reading a prepared folder.

use std::fs::File;
use std::path::{Path, PathBuf};

use half::slice::HalfFloatSliceExt;
use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use crate::corpus::Split;
use crate::encoder::TrunkShape;

pub(super) const INDEX: &str = "pictures.json";
pub(super) const FEATURES: &str = "features.f16";
pub(super) const STATUS: &str = "status.bin";
pub(super) const TRUNK: &str = "trunk.onnx";
pub(super) const FORMAT: u32 = 1;

pub(super) const DONE: u8 = 1;
pub(super) const REJECTED: u8 = 2;

/// What `pictures.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Index {
    /// Version of the folder's layout.
    pub format: u32,
    /// sha256 of the trunk, in hexadecimal.
    pub trunk_sha256: String,
    /// What the trunk takes and makes.
    pub trunk: TrunkShape,
    /// Rows a picture: 1, or 2 with its mirror image.
    pub views: usize,
    /// Every picture, in the order of the rows.
    pub pictures: Vec<PreparedPicture>,
    /// Pictures that could not be used, once all were tried.
    pub rejected: Vec<Rejected>,
}

/// A picture with its captions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PreparedPicture {
    /// Its name in the corpus.
    pub name: String,
    /// What people said of it.
    pub captions: Vec<String>,
    /// Where it belongs.
    pub split: Split,
    /// Its scene or class, where the corpus tells.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

/// A picture that could not be used, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rejected {
    /// Its name in the corpus.
    pub name: String,
    /// Why.
    pub reason: String,
}

/// Why a prepared folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FeaturesError {
    /// A file of the folder could not be read or written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The index is no JSON of the right form.
    #[error("{path}: {reason}; run `metalens-trainer prepare` again", path = path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        reason: String,
    },
    /// `prepare` was interrupted and not resumed.
    #[error("{path}: {pending} of {total} pictures are not prepared yet; run the same `prepare` command again", path = path.display())]
    Unfinished {
        /// The folder.
        path: PathBuf,
        /// Pictures without features.
        pending: usize,
        /// Pictures in all.
        total: usize,
    },
    /// A file has another length than the index says.
    #[error("{path}: {found} bytes, {expected} expected; run `metalens-trainer prepare` again", path = path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: u64,
        /// What the index makes of it.
        expected: u64,
    },
}

impl FeaturesError {
    pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        |source| Self::Io { path: path.to_owned(), source }
    }
}

/// A prepared folder, mapped into memory.
#[derive(Debug)]
pub struct Features {
    index: Index,
    status: Vec<u8>,
    map: Mmap,
    folder: PathBuf,
}

impl Features {
    /// Opens a folder that `prepare` finished.
    ///
    /// # Errors
    /// When it is missing, malformed or unfinished.
    pub fn open(folder: &Path) -> Result<Self, FeaturesError> {
        let index = read_index(folder)?;
        let status_path = folder.join(STATUS);
        let status = std::fs::read(&status_path).map_err(FeaturesError::io(&status_path))?;
        let total = index.pictures.len();
        let done = status.iter().filter(|&&s| s == DONE || s == REJECTED).count();
        if status.len() != total || done < total {
            return Err(FeaturesError::Unfinished {
                path: folder.to_owned(),
                pending: total - done.min(total),
                total,
            });
        }
        let path = folder.join(FEATURES);
        let file = File::open(&path).map_err(FeaturesError::io(&path))?;
        let found = file.metadata().map_err(FeaturesError::io(&path))?.len();
        let expected = index.file_length();
        if found != expected {
            return Err(FeaturesError::Length { path, found, expected });
        }
        // SAFETY: the file is only replaced as a whole by `prepare`, which refuses to run on a folder in use.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(FeaturesError::io(&path))?;
        Ok(Self { index, status, map, folder: folder.to_owned() })
    }

    /// What the folder holds.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// The trunk that made the features, an ONNX file.
    #[must_use]
    pub fn trunk(&self) -> PathBuf {
        self.folder.join(TRUNK)
    }

    /// Whether the picture has features.
    #[must_use]
    pub fn usable(&self, picture: usize) -> bool {
        self.status[picture] == DONE
    }

    /// Appends the features `[positions * channels]` of a picture's view (0 as it is, 1 mirrored) to `out`.
    ///
    /// # Panics
    /// When there is no such picture or view.
    pub fn extend(&self, picture: usize, view: usize, out: &mut Vec<f32>) {
        assert!(view < self.index.views, "view {view} of {}", self.index.views);
        let row = self.index.row_bytes();
        let bytes = &self.map[(picture * self.index.views + view) * row..][..row];
        debug_assert_eq!(bytes.len(), 2 * self.index.row_length());
        let halves: Vec<half::f16> =
            bytes.as_chunks::<2>().0.iter().map(|&pair| half::f16::from_le_bytes(pair)).collect();
        let start = out.len();
        out.resize(start + halves.len(), 0.0);
        halves.convert_to_f32_slice(&mut out[start..]);
    }
}

impl Index {
    /// Numbers of one row: positions times channels.
    pub(crate) fn row_length(&self) -> usize {
        self.trunk.positions() * self.trunk.channels
    }

    /// Bytes of one row.
    pub(super) fn row_bytes(&self) -> usize {
        self.row_length() * size_of::<half::f16>()
    }

    pub(super) fn file_length(&self) -> u64 {
        (self.pictures.len() * self.views * self.row_bytes()) as u64
    }
}

pub(super) fn read_index(folder: &Path) -> Result<Index, FeaturesError> {
    let path = folder.join(INDEX);
    let text = std::fs::read(&path).map_err(FeaturesError::io(&path))?;
    let index: Index = serde_json::from_slice(&text)
        .map_err(|error| FeaturesError::Index { path: path.clone(), reason: error.to_string() })?;
    if index.format != FORMAT {
        let reason = format!("format {} is not the {FORMAT} that this version reads", index.format);
        return Err(FeaturesError::Index { path, reason });
    }
    Ok(index)
}
