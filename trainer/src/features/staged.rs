//! Replacing several files without running out of space in between.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use metalens_models::{Disk, SystemDisk, folder_of, hidden_sibling};

/// Files that stand hidden beside those whose place they are to take: once one of them has taken it, nothing is left to be written.
/// They go with this when they were not asked to.
#[derive(Default)]
pub(super) struct Staged(VecDeque<(PathBuf, PathBuf)>);

impl Staged {
    /// Begins an empty file that is to take the place of `path`.
    pub(super) fn begin(&mut self, path: &Path) -> anyhow::Result<File> {
        let temporary = hidden_sibling(path, "new");
        self.0.push_back((temporary.clone(), path.to_owned()));
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(true).open(&temporary);
        file.with_context(|| path.display().to_string())
    }

    /// Writes a file that is to take the place of `path`.
    pub(super) fn write(&mut self, path: &Path, data: &[u8]) -> anyhow::Result<()> {
        let mut file = self.begin(path)?;
        file.write_all(data).and_then(|()| file.sync_all()).with_context(|| path.display().to_string())
    }

    /// Gives the files their names, in the order in which they were begun.
    pub(super) fn take_their_places(mut self) -> anyhow::Result<()> {
        while let Some((temporary, path)) = self.0.front() {
            std::fs::rename(temporary, path)
                .and_then(|()| SystemDisk.sync_folder(folder_of(path)))
                .with_context(|| path.display().to_string())?;
            self.0.pop_front();
        }
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        for (temporary, _) in &self.0 {
            // The error that is told is the one that stopped the work.
            let _ = std::fs::remove_file(temporary);
        }
    }
}
