//! Many devices, a few at a time.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Context;
use serde::Deserialize;

use super::ssh::Target;

/// A file of devices.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inventory {
    device: Vec<Entry>,
}

/// A device of an inventory.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// In the table.
    pub name: String,
    /// `USER@HOST`.
    host: String,
    port: Option<u16>,
    /// The private key; a relative path begins at the inventory.
    identity: Option<PathBuf>,
    /// The kind of device.
    pub profile: String,
}

impl Entry {
    /// Whom to connect to.
    pub fn target(&self) -> Target {
        Target { host: self.host.clone(), port: self.port, identity: self.identity.clone() }
    }
}

/// Reads an inventory.
pub fn read(path: &Path) -> anyhow::Result<Vec<Entry>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let inventory: Inventory = toml::from_str(&text).with_context(|| path.display().to_string())?;
    let mut devices = inventory.device;
    let (mut names, mut hosts) = (BTreeSet::new(), BTreeSet::new());
    for device in &mut devices {
        let twice = |what: &str| format!("{}: {what} stands there twice", path.display());
        anyhow::ensure!(names.insert(device.name.clone()), twice(&device.name));
        // Two deploys to one device at a time would overwrite each other's steps.
        anyhow::ensure!(hosts.insert((device.host.clone(), device.port)), twice(&device.host));
        device.identity = device
            .identity
            .take()
            .map(|identity| path.parent().map_or_else(|| identity.clone(), |folder| folder.join(&identity)));
    }
    anyhow::ensure!(!devices.is_empty(), "{}: no [[device]]", path.display());
    Ok(devices)
}

/// What happened to a device, in a word or the first line of an error.
pub type Summary = Result<String, String>;

/// Runs `deploy` for every device, `jobs` at a time. One that fails stops no other.
pub fn run<D: Sync>(devices: &[D], jobs: usize, deploy: impl Fn(&D) -> Summary + Sync) -> Vec<Summary> {
    let next = AtomicUsize::new(0);
    let results = Mutex::new(vec![None; devices.len()]);
    std::thread::scope(|scope| {
        for _ in 0..jobs.clamp(1, devices.len().max(1)) {
            scope.spawn(|| {
                while let Some((number, device)) = {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    devices.get(number).map(|device| (number, device))
                } {
                    let summary = deploy(device);
                    if let Ok(mut results) = results.lock() {
                        results[number] = Some(summary);
                    }
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.into_iter().map(|result| result.unwrap_or_else(|| Err("was not tried".into()))).collect()
}

/// One line a device.
pub fn table(devices: &[Entry], results: &[Summary]) -> String {
    let width = devices.iter().map(|device| device.name.len()).max().unwrap_or(0);
    let line = |(device, result): (&Entry, &Summary)| {
        let (state, detail) = match result {
            Ok(detail) => ("ok", detail),
            Err(detail) => ("failed", detail),
        };
        format!("{:width$}  {state:6}  {detail}\n", device.name)
    };
    devices.iter().zip(results).map(line).collect()
}
