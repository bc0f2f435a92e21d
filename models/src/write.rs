//! Writing a bundle.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::{BundleId, FileEntry, Manifest, file};

/// Why a bundle could not be written.
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
    manifest.id = BundleId::of(&manifest.files);
    let text = serde_json::to_string_pretty(&manifest).map_err(|error| WriteError::Io {
        path: folder.join(file::MANIFEST),
        source: io::Error::other(error),
    })?;

    let temporary = folder.with_extension("new");
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| WriteError::Io { path, source }
    };
    if temporary.exists() {
        std::fs::remove_dir_all(&temporary).map_err(io(&temporary))?;
    }
    std::fs::create_dir_all(&temporary).map_err(io(&temporary))?;
    let manifest_file = (file::MANIFEST.to_owned(), (text + "\n").into_bytes());
    for (name, data) in files.iter().chain([(&manifest_file.0, &manifest_file.1)]) {
        let path = temporary.join(name);
        let mut opened = File::create(&path).map_err(io(&path))?;
        opened.write_all(data).and_then(|()| opened.sync_all()).map_err(io(&path))?;
    }
    std::fs::rename(&temporary, folder).map_err(io(folder))?;
    Ok(manifest)
}
