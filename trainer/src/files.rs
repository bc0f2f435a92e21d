//! Files that a power cut leaves as they were or as they should be.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::Context;

/// Replaces a file as a whole: a reader, or a run after a power cut, sees the old one or the new one.
///
/// # Errors
/// When the file cannot be written; the message names it.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let temporary = metalens_models::hidden_sibling(path, "new");
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().with_context(|| path.display().to_string())
}
