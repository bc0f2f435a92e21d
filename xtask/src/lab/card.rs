//! Cards: a guest's system with whatever else is on it, as an image.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::run::run;

/// SD cards have sizes that are powers of two.
const SIZE: u64 = 1 << 30;

/// Copies a system's tree, in order to put something on it.
pub fn copy_tree(system: &Path, into: &Path) -> anyhow::Result<()> {
    if into.exists() {
        fs::remove_dir_all(into).with_context(|| into.display().to_string())?;
    }
    run(Command::new("cp").args(["--archive", "--reflink=auto"]).arg(system).arg(into))
}

/// Makes a card's image of a tree.
pub fn make(tree: &Path, image: &Path) -> anyhow::Result<()> {
    let file = fs::File::create(image).with_context(|| image.display().to_string())?;
    file.set_len(SIZE)?;
    // Everything belongs to root there, whoever unpacked it here.
    let is_root = is_root()?;
    let mke2fs = program("mke2fs").context("no mke2fs; the package e2fsprogs has it")?;
    let mut command = Command::new(if is_root { mke2fs.as_path() } else { Path::new("unshare") });
    if !is_root {
        command.arg("--map-root-user").arg(&mke2fs);
    }
    run(command.args(["-q", "-F", "-t", "ext4", "-d"]).arg(tree).arg(image))
}

/// Whether this computer's user is root.
pub fn is_root() -> anyhow::Result<bool> {
    Ok(fs::metadata("/proc/self").context("/proc")?.uid() == 0)
}

/// A program, also where only root has its folder in PATH.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|path| path.is_file())
}
