//! Reading a prepared folder.

use std::collections::{HashMap, HashSet};
use std::fs::{File, Metadata, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use half::slice::HalfFloatSliceExt;
use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use crate::corpus::Split;
use crate::encoder::TrunkShape;

pub(super) const INDEX: &str = "pictures.json";
pub(super) const FEATURES: &str = "features.f16";
pub(super) const CLASSES: &str = "classes.f16";
pub(super) const THINGS: &str = "things.f16";
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
    /// Rows a picture: 1, 2 with its mirror image, more with crops.
    pub views: usize,
    /// Classes of ImageNet, of which every view has logits; 0 where the trunk does not tell them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub classes: usize,
    /// Things of which every picture has a detector's scores; 0 without a detector.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub things: usize,
    /// sha256 of that detector, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detector_sha256: Option<String>,
    /// Every picture, in the order of the rows.
    pub pictures: Vec<PreparedPicture>,
    /// Pictures that could not be used, once all were tried.
    pub rejected: Vec<Rejected>,
    /// What the corpus' reader left out, such as pictures that are not on disk; one line each.
    #[serde(default)]
    pub problems: Vec<String>,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
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
    /// By what another picture of the same name is noticed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileState>,
}

/// How a file was when it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    /// Its length.
    pub bytes: u64,
    /// When it was changed, in milliseconds since 1970.
    pub modified_ms: u64,
}

impl FileState {
    /// Nothing where the system does not tell.
    pub(super) fn of(file: &Metadata) -> Option<Self> {
        let since = file.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Self { bytes: file.len(), modified_ms: since.as_millis() as u64 })
    }
}

impl PreparedPicture {
    /// Whether both have one name and, as far as is known, one file.
    pub(super) fn is_same_file(&self, other: &Self) -> bool {
        let changed = self.file.zip(other.file).is_some_and(|(old, new)| old != new);
        self.name == other.name && !changed
    }
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
    /// There is no folder, or one that `prepare` did not make.
    #[error("{path}: no prepared folder; make it with `metalens-trainer prepare --out`", path = .0.display())]
    NotPrepared(PathBuf),
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
    /// Another program writes the folder, or reads it while it is to be written.
    #[error("{path}: in use by another metalens-trainer; wait until it has ended", path = .0.display())]
    InUse(PathBuf),
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
    /// In the order of [`Index::files`].
    maps: Vec<(Rows, Mmap)>,
    /// Holds the lock.
    _locked: File,
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
        let locked = File::open(&path).map_err(FeaturesError::io(&path))?;
        // Until the mappings are gone, `prepare` cannot write to the files.
        lock(&path, locked.try_lock_shared())?;
        let maps = index
            .files()
            .into_iter()
            .map(|rows| {
                let path = folder.join(rows.file);
                let file = File::open(&path).map_err(FeaturesError::io(&path))?;
                let found = file.metadata().map_err(FeaturesError::io(&path))?.len();
                let expected = rows.length(total);
                if found != expected {
                    return Err(FeaturesError::Length { path, found, expected });
                }
                // SAFETY: `prepare`, the one writer, takes an exclusive lock on the features before it writes to any of the folder's
                // files or cuts it, and fails while `_locked` below holds a shared one.
                #[allow(unsafe_code)]
                let map = unsafe { Mmap::map(&file) }.map_err(FeaturesError::io(&path))?;
                Ok((rows, map))
            })
            .collect::<Result<_, FeaturesError>>()?;
        Ok(Self { index, status, maps, _locked: locked, folder: folder.to_owned() })
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

    /// Appends the features `[positions * channels]` of a picture's view (0 as it is, 1 mirrored, from 2 on crops) to `out`.
    ///
    /// # Panics
    /// When there is no such picture or view.
    pub fn extend(&self, picture: usize, view: usize, out: &mut Vec<f32>) {
        assert!(view < self.index.views, "view {view} of {}", self.index.views);
        self.extend_of(FEATURES, picture * self.index.views + view, self.index.row_length(), out);
    }

    /// Logits of ImageNet's classes `[classes]` for a picture's view, where the trunk told them.
    ///
    /// # Panics
    /// When there is no such picture or view.
    #[must_use]
    pub fn classes(&self, picture: usize, view: usize) -> Option<Vec<f32>> {
        assert!(view < self.index.views, "view {view} of {}", self.index.views);
        self.row_of(CLASSES, picture * self.index.views + view, self.index.classes)
    }

    /// How sure the detector is that a picture shows each of its things `[things]`, 0 … 1, where there was one.
    ///
    /// # Panics
    /// When there is no such picture.
    #[must_use]
    pub fn things(&self, picture: usize) -> Option<Vec<f32>> {
        self.row_of(THINGS, picture, self.index.things)
    }

    /// Row `row` of so many numbers, where there are any.
    fn row_of(&self, file: &str, row: usize, length: usize) -> Option<Vec<f32>> {
        let mut out = Vec::with_capacity(length);
        (length > 0).then(|| self.extend_of(file, row, length, &mut out))?;
        Some(out)
    }

    fn extend_of(&self, file: &str, row: usize, length: usize, out: &mut Vec<f32>) {
        let map = self.maps.iter().find(|(rows, _)| rows.file == file);
        let (_, map) = map.expect("every file that the index tells of was opened");
        let row_bytes = length * size_of::<half::f16>();
        let bytes = &map[row * row_bytes..][..row_bytes];
        let halves: Vec<half::f16> =
            bytes.as_chunks::<2>().0.iter().map(|&pair| half::f16::from_le_bytes(pair)).collect();
        let start = out.len();
        out.resize(start + halves.len(), 0.0);
        halves.convert_to_f32_slice(&mut out[start..]);
    }
}

/// A file of numbers, so many bytes of which tell of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rows {
    /// Its name in the folder.
    pub(super) file: &'static str,
    /// Bytes a picture, in all its views.
    pub(super) bytes: usize,
}

impl Rows {
    /// Where a picture's begin.
    pub(super) fn offset(self, picture: usize) -> u64 {
        (picture * self.bytes) as u64
    }

    /// Bytes of so many pictures.
    pub(super) fn length(self, pictures: usize) -> u64 {
        self.offset(pictures)
    }
}

impl Index {
    /// Numbers of one row: positions times channels.
    pub(crate) fn row_length(&self) -> usize {
        self.trunk.positions() * self.trunk.channels
    }

    /// Whether both have the same pictures in the same rows of the same trunk, whatever is said of them.
    pub(super) fn same_rows(&self, other: &Self) -> bool {
        self.other_rows(other).is_none()
            && self.pictures.len() == other.pictures.len()
            && self.pictures.iter().zip(&other.pictures).all(|(old, new)| old.is_same_file(new))
    }

    /// Why no row of the one is a row of the other, if so, for people.
    pub(super) fn other_rows(&self, other: &Self) -> Option<&'static str> {
        if self.trunk_sha256 != other.trunk_sha256 || self.trunk != other.trunk {
            Some("the features that it holds are another trunk's, and are made anew")
        } else if self.views != other.views {
            Some("it holds other mirrored pictures or crops, and is made anew")
        } else if self.classes != other.classes {
            Some("it holds other classes of ImageNet, and is made anew")
        } else if self.things != other.things || self.detector_sha256 != other.detector_sha256 {
            Some("it holds what another detector found, or none, and is made anew")
        } else {
            None
        }
    }

    /// Whether a picture of the one is, by its name, in the other; nothing counts as a part of anything.
    pub(super) fn shares_a_picture(&self, other: &Self) -> bool {
        let names: HashSet<&str> = other.pictures.iter().map(|picture| picture.name.as_str()).collect();
        self.pictures.is_empty() || self.pictures.iter().any(|picture| names.contains(picture.name.as_str()))
    }

    /// What of these features is gone once the folder holds `other`, for people.
    pub(super) fn lost_to(&self, other: &Self) -> Option<String> {
        if let Some(reason) = self.other_rows(other) {
            return Some(reason.to_owned());
        }
        let kept: HashMap<&str, &PreparedPicture> =
            other.pictures.iter().map(|picture| (picture.name.as_str(), picture)).collect();
        let (mut lost, mut changed) = (0, 0);
        for picture in &self.pictures {
            match kept.get(picture.name.as_str()) {
                None => lost += 1,
                Some(new) if !picture.is_same_file(new) => changed += 1,
                Some(_) => {}
            }
        }
        let lost = (lost > 0).then(|| format!("{lost} pictures that it holds are not in the corpus, and go"));
        let changed =
            (changed > 0).then(|| format!("{changed} pictures are other files now, and are made anew"));
        let parts: Vec<String> = lost.into_iter().chain(changed).collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }

    /// The folder's files of numbers.
    pub(super) fn files(&self) -> Vec<Rows> {
        let rows = |file, numbers| Rows { file, bytes: numbers * size_of::<half::f16>() };
        let mut files = vec![rows(FEATURES, self.views * self.row_length())];
        files.extend((self.classes > 0).then(|| rows(CLASSES, self.views * self.classes)));
        files.extend((self.things > 0).then(|| rows(THINGS, self.things)));
        files
    }
}

/// What came of locking the file `path`.
pub(super) fn lock(path: &Path, locked: Result<(), TryLockError>) -> Result<(), FeaturesError> {
    locked.map_err(|error| match error {
        TryLockError::WouldBlock => FeaturesError::InUse(path.to_owned()),
        TryLockError::Error(source) => FeaturesError::Io { path: path.to_owned(), source },
    })
}

pub(super) fn read_index(folder: &Path) -> Result<Index, FeaturesError> {
    let path = folder.join(INDEX);
    let text = std::fs::read(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => FeaturesError::NotPrepared(folder.to_owned()),
        _ => FeaturesError::io(&path)(error),
    })?;
    let index: Index = serde_json::from_slice(&text)
        .map_err(|error| FeaturesError::Index { path: path.clone(), reason: error.to_string() })?;
    if index.format != FORMAT {
        let reason = format!("format {} is not the {FORMAT} that this version reads", index.format);
        return Err(FeaturesError::Index { path, reason });
    }
    Ok(index)
}
