//! Writing a bundle.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, NEW, SystemDisk, folder_of, hidden_sibling, replace, write_whole};
use crate::{Bundle, BundleError, BundleId, FileEntry, Manifest, file};

/// Why a bundle or a file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The folder exists already.
    #[error("{path}: exists already; remove it, or name another folder", path = .0.display())]
    Exists(PathBuf),
    /// A file could not be written.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Writes a bundle into the new folder `folder`, whole or not at all.
///
/// `files` are the bytes of every file but the manifest; the model card among them is written and not hashed. The
/// manifest's `files` and `id` are computed here, whatever stands in them.
///
/// # Errors
/// When the folder exists or cannot be written.
pub fn write(
    folder: &Path,
    mut manifest: Manifest,
    files: &BTreeMap<String, Vec<u8>>,
) -> Result<Manifest, WriteError> {
    if folder.exists() {
        return Err(WriteError::Exists(folder.to_owned()));
    }
    manifest.files = files
        .iter()
        .filter(|(name, _)| name.as_str() != file::MODEL_CARD)
        .map(|(name, data)| (name.clone(), FileEntry::of(data)))
        .collect();
    let manifest = Manifest { id: BundleId::of(&manifest), ..manifest };
    let temporary = hidden_sibling(folder, NEW);
    std::fs::create_dir_all(&temporary).map_err(io_error(&temporary))?;
    let disk = SystemDisk;
    let write_file = |name: &str, data: &[u8]| {
        let path = temporary.join(name);
        write_whole(&disk, &path, data).map_err(io_error(&path))
    };
    let write = || {
        for (name, data) in files {
            write_file(name, data)?;
        }
        write_file(file::MANIFEST, &text(&manifest))?;
        disk.sync_folder(&temporary).map_err(io_error(&temporary))?;
        disk.rename(&temporary, folder).map_err(io_error(folder))
    };
    write().inspect_err(|_| {
        // The error that is told is the one that stopped the writing.
        let _ = std::fs::remove_dir_all(&temporary);
    })?;
    disk.sync_folder(folder_of(folder)).map_err(io_error(folder))?;
    Ok(manifest)
}

/// Writes what was measured on a bundle into its manifest, whole or not at all, in the place of what stands there under
/// the same name.
///
/// # Errors
/// When the bundle is refused or its manifest cannot be written.
pub fn record_score(folder: &Path, name: &str, score: serde_json::Value) -> Result<Manifest, RecordError> {
    let mut manifest = Bundle::open(folder)?.manifest().clone();
    manifest.scores.insert(name.to_owned(), score);
    let manifest = Manifest { id: BundleId::of(&manifest), ..manifest };
    replace(&folder.join(file::MANIFEST), &text(&manifest))?;
    Ok(manifest)
}

/// Why a score could not be recorded.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The bundle is refused.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The manifest could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

fn text(manifest: &Manifest) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(manifest).expect("a manifest has no keys but strings");
    text.push(b'\n');
    text
}

fn io_error(path: &Path) -> impl FnOnce(io::Error) -> WriteError {
    let path = path.to_owned();
    move |source| WriteError::Io { path, source }
}
