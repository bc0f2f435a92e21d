//! What a deploy will do, from what a device has: a pure function, printed by `--dry-run`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::layout::{RELEASES, ReleaseName, file};
use super::release::{Release, ReleaseFile};

/// How a file gets to its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// It is there already.
    There,
    /// The device has the same bytes elsewhere.
    Reuse(String),
    /// It is copied.
    Copy,
}

/// What a deploy will do to the release's files.
#[derive(Clone, Debug)]
pub struct Plan<'a> {
    /// The release.
    pub release: &'a Release,
    /// How each of its files gets to the folder where the release is put together.
    pub ways: Vec<(&'a ReleaseFile, Way)>,
    /// What lies in that folder and does not belong to the release.
    pub strangers: Vec<String>,
    /// Whether the device has the release already, whole.
    pub installed: bool,
}

impl<'a> Plan<'a> {
    /// What is to be done on a device with these files below [`RELEASES`], by path and hash.
    pub fn of(release: &'a Release, hashes: &BTreeMap<String, String>) -> Self {
        let folder = release.name.to_string();
        let incoming = release.name.incoming()[RELEASES.len() + 1..].to_owned();
        let has = |folder: &str, file: &ReleaseFile| {
            hashes.get(&format!("{folder}/{}", file.path)).is_some_and(|hash| {
                // Two signatures of the same sums differ; the device checks the one that it has.
                *hash == file.sha256 || (folder == release.name.to_string() && file.path == file::SIGNATURE)
            })
        };
        let installed = release.files.iter().all(|file| has(&folder, file));
        let elsewhere: BTreeMap<&str, &str> =
            hashes.iter().map(|(path, hash)| (hash.as_str(), path.as_str())).collect();
        let way = |file: &ReleaseFile| {
            if installed || has(&incoming, file) {
                return Way::There;
            }
            match elsewhere.get(file.sha256.as_str()) {
                Some(path) => Way::Reuse(format!("{RELEASES}/{path}")),
                None => Way::Copy,
            }
        };
        let known: BTreeSet<&str> = release.files.iter().map(|file| file.path.as_str()).collect();
        let strangers = hashes.keys().filter_map(|path| path.strip_prefix(&incoming)?.strip_prefix('/'));
        Self {
            release,
            ways: release.files.iter().map(|file| (file, way(file))).collect(),
            strangers: strangers.filter(|path| !known.contains(path)).map(str::to_owned).collect(),
            installed,
        }
    }

    /// What is copied.
    pub fn copies(&self) -> impl Iterator<Item = &'a ReleaseFile> {
        self.ways.iter().filter(|(_, way)| *way == Way::Copy).map(|(file, _)| *file)
    }

    /// The size of what is copied.
    pub fn bytes(&self) -> u64 {
        self.copies().map(|file| file.bytes).sum()
    }

    /// One line: how many files of how many, and their bytes.
    pub fn summary(&self) -> String {
        format!("copies {} of {} files, {} bytes", self.copies().count(), self.ways.len(), self.bytes())
    }
}

impl fmt::Display for Plan<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "release {}: {}", self.release.name, self.summary())?;
        for (file, way) in &self.ways {
            let way = match way {
                Way::There => "is there",
                Way::Reuse(_) => "is on the device",
                Way::Copy => "is copied",
            };
            writeln!(formatter, "  {:40}{:>12} bytes  {way}", file.path, file.bytes)?;
        }
        Ok(())
    }
}

/// Which releases go once another one is confirmed: all but `keep`, first those that are in use, then the newest.
pub fn superfluous(names: &[ReleaseName], in_use: &[&ReleaseName], keep: usize) -> Vec<ReleaseName> {
    let others = names.iter().filter(|name| !in_use.contains(name));
    let in_use = names.len() - others.clone().count();
    others.skip(keep.saturating_sub(in_use)).cloned().collect()
}
