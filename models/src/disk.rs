//! Changing files so that a power cut leaves the old one or the new one.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::WriteError;

/// What marks the hidden file or folder that is to be renamed once it is whole.
pub(crate) const NEW: &str = "new";

/// The operations by which files are changed, one method each, so that a test can cut the power between any two.
pub trait Disk: Send + Sync {
    /// Creates or truncates a file and writes it. Nothing is sure to survive a power cut before [`Self::sync_file`].
    ///
    /// # Errors
    /// What the system says; the file may then hold a part of `data`.
    fn write(&self, path: &Path, data: &[u8]) -> io::Result<File>;

    /// Waits until what [`Self::write`] wrote is on the medium.
    ///
    /// # Errors
    /// What the system says.
    fn sync_file(&self, path: &Path, file: &File) -> io::Result<()>;

    /// Gives a file another name, in the place of the file that has it.
    ///
    /// # Errors
    /// What the system says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Waits until the names in a folder are on the medium.
    ///
    /// # Errors
    /// What the system says.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Creates a folder in an existing one; that there is one already is no error.
    ///
    /// # Errors
    /// What the system says.
    fn create_folder(&self, folder: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the system says.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The disk as the system has it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn write(&self, path: &Path, data: &[u8]) -> io::Result<File> {
        let mut file = File::create(path)?;
        file.write_all(data)?;
        Ok(file)
    }

    fn sync_file(&self, _: &Path, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        if !cfg!(unix) {
            // Only Unix opens a folder as a file.
            return Ok(());
        }
        match File::open(folder)?.sync_all() {
            // How a file system says that it knows no such thing; there is nothing more to do there.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            result => result,
        }
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        match std::fs::create_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            result => result,
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }
}

/// A name beside `path` that nothing else has: hidden, with the process' number.
#[must_use]
pub fn hidden_sibling(path: &Path, purpose: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.{purpose}", std::process::id()))
}

/// The folder in which a path's last part lies.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    // The parent of a bare file name is empty, and an empty path is not the current folder to the system.
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Replaces a file as a whole: a reader, or a program after a power cut, sees the old one or the new one; once this has
/// returned, the new one.
///
/// # Errors
/// When the file cannot be written; the message names it.
pub fn replace(path: &Path, data: &[u8]) -> Result<(), WriteError> {
    replace_on(&SystemDisk, path, data)
}

/// [`replace`] on a disk that may be a test's.
///
/// # Errors
/// When the file cannot be written; the message names it. It is then the old one, unless only the last step failed, the
/// wait until its name is on the medium.
pub fn replace_on(disk: &dyn Disk, path: &Path, data: &[u8]) -> Result<(), WriteError> {
    let temporary = hidden_sibling(path, NEW);
    write_whole(disk, &temporary, data)
        .and_then(|()| disk.rename(&temporary, path))
        .inspect_err(|_| {
            // The error that is told is the one that stopped the writing.
            let _ = disk.remove(&temporary);
        })
        .and_then(|()| disk.sync_folder(folder_of(path)))
        .map_err(|source| WriteError::Io { path: path.to_owned(), source })
}

/// Writes a file and waits until its content is on the medium.
pub(crate) fn write_whole(disk: &dyn Disk, path: &Path, data: &[u8]) -> io::Result<()> {
    let file = disk.write(path, data)?;
    disk.sync_file(path, &file)
}

/// Removes the files that power cuts during [`replace`] left in `folder`. Nobody else may be writing there.
pub fn sweep(folder: &Path) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_str().is_some_and(is_left_over) {
            // What cannot be removed costs a little room, and nothing else.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Whether [`hidden_sibling`] makes such names for [`replace`].
fn is_left_over(name: &str) -> bool {
    let process = |name: &str| name.rsplit_once('.').is_some_and(|(_, number)| number.parse::<u32>().is_ok());
    name.strip_prefix('.').and_then(|rest| rest.strip_suffix(NEW)?.strip_suffix('.')).is_some_and(process)
}
