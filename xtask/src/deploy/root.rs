//! A device that does not run: its file system is mounted here, a card for instance.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::device::{Content, Device, DeviceError, Facts, Mode, Privilege, Result, Services};
use super::elf::{Glibc, Program};
use super::release::sha256;
use super::verify::verify;

/// A folder that will be a device's `/`.
pub struct Root(PathBuf);

impl Root {
    /// The device in a folder.
    pub fn at(folder: &Path) -> anyhow::Result<Self> {
        anyhow::ensure!(
            folder.is_dir(),
            "{}: no such folder; mount the card's root file system there",
            folder.display()
        );
        Ok(Self(folder.to_owned()))
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    /// The first of these that is a program tells the card's processor.
    fn program(&self) -> Option<Program> {
        let shells = ["/usr/bin/dash", "/usr/bin/bash", "/bin/busybox"];
        shells.iter().find_map(|shell| Program::parse(&fs::read(self.path(shell)).ok()?))
    }

    fn glibc(&self, machine: &str) -> Option<Glibc> {
        const VERSION: &[u8] = b"stable release version ";
        let folder = format!("lib/{machine}-linux-gnu/libc.so.6");
        let data = fs::read(self.path(&folder)).or_else(|_| fs::read(self.path(&format!("/usr/{folder}"))));
        let data = data.ok()?;
        let at = data.windows(VERSION.len()).position(|window| window == VERSION)? + VERSION.len();
        Glibc::parse(std::str::from_utf8(data.get(at..at + 8)?).ok()?)
    }
}

impl Device for Root {
    fn facts(&self) -> Result<Facts> {
        let program = self.program();
        Ok(Facts {
            privilege: Privilege::Root,
            glibc: program.as_ref().and_then(|program| self.glibc(program.machine)),
            machine: program.as_ref().map(|program| program.machine.to_owned()),
            bits: program.map(|program| program.bits),
            model: None,
            free_bytes: None,
            clock: None,
        })
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        found(path, fs::read(self.path(path)))
    }

    fn read_link(&self, path: &str) -> Result<Option<String>> {
        let target = found(path, fs::read_link(self.path(path)))?;
        Ok(target.map(|target| target.to_string_lossy().into_owned()))
    }

    fn names(&self, folder: &str) -> Result<Vec<String>> {
        let list = || -> io::Result<Vec<_>> {
            let entry = |entry: io::Result<fs::DirEntry>| {
                let entry = entry?;
                Ok((entry.metadata()?.modified()?, entry.file_name().to_string_lossy().into_owned()))
            };
            fs::read_dir(self.path(folder))?.map(entry).collect()
        };
        let mut names = found(folder, list())?.unwrap_or_default();
        names.sort_by(|a, b| b.cmp(a));
        Ok(names.into_iter().map(|(_, name)| name).collect())
    }

    fn hashes(&self, folder: &str) -> Result<BTreeMap<String, String>> {
        let mut hashes = BTreeMap::new();
        let mut folders = vec![PathBuf::new()];
        while let Some(inner) = folders.pop() {
            let at = self.path(folder).join(&inner);
            let Some(entries) = found(folder, fs::read_dir(&at))? else { continue };
            for entry in entries {
                let entry = entry.map_err(|error| failed(folder, &error))?;
                let (path, kind) = (inner.join(entry.file_name()), entry.file_type());
                let kind = kind.map_err(|error| failed(folder, &error))?;
                if kind.is_dir() {
                    folders.push(path);
                } else if kind.is_file() {
                    let data = fs::read(entry.path()).map_err(|error| failed(folder, &error))?;
                    hashes.insert(path.to_string_lossy().into_owned(), sha256(&data));
                }
            }
        }
        Ok(hashes)
    }

    fn create_folder(&self, path: &str) -> Result<()> {
        done(path, fs::create_dir_all(self.path(path)))
    }

    fn write(&self, path: &str, data: &[u8], mode: Mode) -> Result<()> {
        let write = || {
            let mut file = File::create(self.path(path))?;
            file.write_all(data)?;
            file.set_permissions(fs::Permissions::from_mode(mode.bits()))
        };
        done(path, write())
    }

    fn send(&self, content: &Content, path: &str, mode: Mode) -> Result<()> {
        // An earlier file of that name may have a second one, whose content would change with it.
        self.remove(path)?;
        match content {
            Content::Bytes(data) => self.write(path, data, mode),
            Content::File(from) => {
                let data = fs::read(from).map_err(|error| failed(&from.display().to_string(), &error))?;
                self.write(path, &data, mode)
            }
        }
    }

    fn hard_link(&self, from: &str, to: &str) -> Result<()> {
        self.remove(to)?;
        let (from, target) = (self.path(from), self.path(to));
        // A card's boot partition and some network mounts know no links.
        done(to, fs::hard_link(&from, &target).or_else(|_| fs::copy(from, target).map(|_| ())))
    }

    fn symlink(&self, target: &str, path: &str) -> Result<()> {
        self.remove(path)?;
        done(path, symlink(target, self.path(path)))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        done(to, fs::rename(self.path(from), self.path(to)))
    }

    fn remove(&self, path: &str) -> Result<()> {
        let at = self.path(path);
        match at.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Ok(metadata) if metadata.is_dir() => done(path, fs::remove_dir_all(at)),
            _ => done(path, fs::remove_file(at)),
        }
    }

    fn sync(&self) -> Result<()> {
        let status = Command::new("sync").status().map_err(|error| failed("sync", &error))?;
        if status.success() { Ok(()) } else { Err(failed("sync", &status)) }
    }

    fn verify(&self, folder: &str, hash: &str) -> Result<()> {
        verify(&|path| self.read(path), folder, hash)
    }

    fn services(&self) -> Option<&dyn Services> {
        None
    }
}

fn found<T>(path: &str, result: io::Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path, &error)),
    }
}

fn done(path: &str, result: io::Result<()>) -> Result<()> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::StorageFull => DeviceError::Full { path: path.to_owned() },
        _ => failed(path, &error),
    })
}

fn failed(what: &str, error: &dyn std::fmt::Display) -> DeviceError {
    DeviceError::Failed { what: what.to_owned(), message: error.to_string() }
}
