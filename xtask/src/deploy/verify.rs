//! Checking a release where its files can be read from here: on a card, and in tests. A running device checks with its own
//! tools.

use super::device::DeviceError;
use super::layout::{TRUSTED_KEY, file};
use super::release::sha256;
use super::sign;

/// A file's content by its path on the device.
pub type Read<'a> = &'a dyn Fn(&str) -> Result<Option<Vec<u8>>, DeviceError>;

/// Checks the release in `folder`, whose name ends in `hash`.
pub fn verify(read: Read<'_>, folder: &str, hash: &str) -> Result<(), DeviceError> {
    let tampered = |reason: String| DeviceError::Tampered { release: folder.to_owned(), reason };
    let sums = read(&format!("{folder}/{}", file::SUMS))?.unwrap_or_default();
    if !sha256(&sums).starts_with(hash) {
        return Err(tampered(format!("{} is not the one of this release", file::SUMS)));
    }
    for line in String::from_utf8_lossy(&sums).lines() {
        let (hash, path) = line.split_once("  ").ok_or_else(|| tampered(format!("no sum: {line:?}")))?;
        let data =
            read(&format!("{folder}/{path}"))?.ok_or_else(|| tampered(format!("{path} is missing")))?;
        if sha256(&data) != hash {
            return Err(tampered(format!("{path} has another sha256")));
        }
    }
    let Some(key) = read(TRUSTED_KEY)? else { return Ok(()) };
    let signature = read(&format!("{folder}/{}", file::SIGNATURE))?.unwrap_or_default();
    let (key, signature) = (String::from_utf8_lossy(&key), String::from_utf8_lossy(&signature));
    sign::verify(&key, &signature, &sums).map_err(|error| tampered(format!("its signature: {error:#}")))
}
