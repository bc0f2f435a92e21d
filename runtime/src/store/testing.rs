//! A disk that fails after a number of operations, as a full one does or as one whose power is cut.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use metalens_models::{BundleId, Disk, SystemDisk};

/// How the disk fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// One operation fails, and whatever writes after it; renaming and removing go on.
    Full,
    /// Nothing is done any more; of a file that was not synced only a half is left.
    Cut,
    /// As [`Self::Cut`], and every renaming and removal in a folder that was not synced never was.
    CutAndForget,
}

pub(super) const FAULTS: [Fault; 3] = [Fault::Full, Fault::Cut, Fault::CutAndForget];

/// The same disk for all its clones.
#[derive(Clone)]
pub(super) struct FaultyDisk(Arc<Mutex<Inner>>);

struct Inner {
    fault: Fault,
    left: usize,
    struck: bool,
    unsynced_files: Vec<PathBuf>,
    /// Names whose folder was not synced since they changed, and the files that had them before.
    unsynced_names: Vec<(PathBuf, Option<Vec<u8>>)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Works,
    /// This very operation is the first to fail.
    Strikes,
    Dead,
}

impl FaultyDisk {
    /// Does as many operations, and then fails.
    pub fn after(operations: usize, fault: Fault) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            fault,
            left: operations,
            struck: false,
            unsynced_files: Vec::new(),
            unsynced_names: Vec::new(),
        })))
    }

    /// Whether it failed.
    pub fn struck(&self) -> bool {
        self.0.lock().unwrap().struck
    }

    /// Fails now, unless it did.
    pub fn strike(&self) {
        self.0.lock().unwrap().left = 0;
        self.next(true);
    }

    fn next(&self, needs_room: bool) -> Fate {
        let mut inner = self.0.lock().unwrap();
        match (inner.struck, inner.left) {
            (true, _) if needs_room || inner.fault != Fault::Full => Fate::Dead,
            (true, _) => Fate::Works,
            (false, 0) => {
                inner.struck = true;
                inner.forget();
                Fate::Strikes
            }
            (false, left) => {
                inner.left = left - 1;
                Fate::Works
            }
        }
    }

    fn run<T>(&self, needs_room: bool, operation: impl FnOnce(&mut Inner) -> io::Result<T>) -> io::Result<T> {
        if self.next(needs_room) == Fate::Works {
            operation(&mut self.0.lock().unwrap())
        } else {
            Err(self.error())
        }
    }

    fn error(&self) -> io::Error {
        match self.0.lock().unwrap().fault {
            Fault::Full => io::ErrorKind::StorageFull.into(),
            Fault::Cut | Fault::CutAndForget => io::Error::other("the power is cut"),
        }
    }
}

impl Inner {
    fn forget(&mut self) {
        if self.fault == Fault::Full {
            return;
        }
        for path in self.unsynced_files.drain(..) {
            let data = fs::read(&path).unwrap();
            fs::write(&path, &data[..data.len() / 2]).unwrap();
        }
        for (path, before) in self.unsynced_names.drain(..).rev() {
            match before {
                _ if self.fault == Fault::Cut => {}
                Some(data) => fs::write(path, data).unwrap(),
                None => fs::remove_file(path).unwrap(),
            }
        }
    }
}

impl Disk for FaultyDisk {
    fn write(&self, path: &Path, data: &[u8]) -> io::Result<File> {
        match self.next(true) {
            Fate::Works => {
                self.0.lock().unwrap().unsynced_files.push(path.to_owned());
                SystemDisk.write(path, data)
            }
            Fate::Strikes => {
                SystemDisk.write(path, &data[..data.len() / 2])?;
                Err(self.error())
            }
            Fate::Dead => Err(self.error()),
        }
    }

    fn sync_file(&self, path: &Path, _: &File) -> io::Result<()> {
        self.run(true, |inner| {
            inner.unsynced_files.retain(|unsynced| unsynced != path);
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.run(false, |inner| {
            inner.unsynced_names.push((to.to_owned(), fs::read(to).ok()));
            inner
                .unsynced_files
                .iter_mut()
                .filter(|path| *path == from)
                .for_each(|path| *path = to.to_owned());
            SystemDisk.rename(from, to)
        })
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.run(true, |inner| {
            inner.unsynced_names.retain(|(path, _)| path.parent() != Some(folder));
            Ok(())
        })
    }

    fn create_folder(&self, folder: &Path) -> io::Result<()> {
        self.run(true, |_| SystemDisk.create_folder(folder))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.run(false, |inner| {
            inner.unsynced_names.push((path.to_owned(), fs::read(path).ok()));
            inner.unsynced_files.retain(|unsynced| unsynced != path);
            SystemDisk.remove(path)
        })
    }
}

/// A bundle id of 64 such digits.
pub(super) fn bundle(digit: char) -> BundleId {
    let text = digit.to_string().repeat(64);
    serde_json::from_value(text.into()).unwrap()
}

/// Every file below a folder, by its path there.
pub(super) fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(contents(&path));
        } else {
            files.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    files
}
