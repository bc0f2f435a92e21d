//! Where the lab keeps things: below the user's cache folder, each under a name that follows from its content.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use metalens_models::hexadecimal;
use sha2::{Digest, Sha256};

/// The lab's folder.
pub fn folder() -> anyhow::Result<PathBuf> {
    let folder = crate::run::cache()?.join("lab");
    fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
    Ok(folder)
}

/// A name for what is made of these parts.
pub fn key<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hexadecimal(&hash.finalize())[..12].to_owned()
}

/// The folder `NAME-KEY`, which `fill` makes where it is not there; what older ones of that name hold goes.
pub fn made(
    name: &str,
    key: &str,
    fill: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
    let lab = folder()?;
    let (made, new) = (lab.join(format!("{name}-{key}")), lab.join(format!(".{name}.new")));
    if made.is_dir() {
        return Ok(made);
    }
    for entry in fs::read_dir(&lab)? {
        let path = entry?.path();
        let old = path.file_name().is_some_and(|old| old.to_string_lossy().starts_with(&format!("{name}-")));
        if old || path == new {
            fs::remove_dir_all(&path).with_context(|| path.display().to_string())?;
        }
    }
    fs::create_dir_all(&new).with_context(|| new.display().to_string())?;
    fill(&new)?;
    fs::rename(&new, &made).with_context(|| made.display().to_string())?;
    Ok(made)
}
