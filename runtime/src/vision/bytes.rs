//! Reads files that somebody names: an endless one would take all memory.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// No picture that is decoded here has so many bytes.
const MOST: u64 = 512 << 20;

/// The bytes of a file.
///
/// # Errors
/// When it cannot be read, or has no end in sight.
pub fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    read_bytes(File::open(path)?)
}

/// The bytes of an open file.
///
/// # Errors
/// As [`read_file`].
pub fn read_bytes(file: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MOST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST {
        return Err(io::Error::other(format!("more than {} MiB", MOST >> 20)));
    }
    Ok(bytes)
}
