//! Changing a device's files so that a power cut leaves the old one or the new one.

use super::device::{Device, Mode, Result};

/// A name beside `path` that no program looks at.
fn hidden(path: &str) -> String {
    let (folder, name) = split(path);
    format!("{folder}/.{name}.new")
}

/// A path's folder and last part.
pub fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Replaces a file as a whole; once this has returned, the new one is on the medium.
pub fn replace(device: &dyn Device, path: &str, data: &[u8], mode: Mode) -> Result<()> {
    let temporary = hidden(path);
    device.create_folder(split(path).0)?;
    device.write(&temporary, data, mode)?;
    device.sync()?;
    device.rename(&temporary, path)?;
    device.sync()
}

/// Lets a link point elsewhere, by one rename; once this has returned, it is on the medium.
pub fn point(device: &dyn Device, path: &str, target: &str) -> Result<()> {
    let temporary = hidden(path);
    device.create_folder(split(path).0)?;
    device.symlink(target, &temporary)?;
    device.rename(&temporary, path)?;
    device.sync()
}

/// Removes something for good.
pub fn remove(device: &dyn Device, path: &str) -> Result<()> {
    device.remove(path)?;
    device.sync()
}
