//! Captions without pictures: text files with a caption a line, plain or compressed by gzip.

use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use metalens::language::{lines, words};

/// Lines of a file that belong together, as Flickr's corpora have five captions a picture.
const CAPTIONS_OF_A_PICTURE: usize = 5;
/// The first bytes of a gzip file.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Why a text file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TextsError {
    /// It could not be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not UTF-8.
    #[error("{path}: not UTF-8 after {bytes} bytes; save it as UTF-8", path = path.display())]
    Encoding {
        /// The file.
        path: PathBuf,
        /// Bytes that are.
        bytes: usize,
    },
    /// It holds no caption.
    #[error("{path}: holds no caption; it needs one a line", path = .0.display())]
    Empty(PathBuf),
}

/// The captions of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Texts {
    /// The file.
    pub path: PathBuf,
    /// A caption a line, as it stands there.
    pub captions: Vec<String>,
}

impl Texts {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, is no UTF-8, or holds no words.
    pub fn read(path: &Path) -> Result<Self, TextsError> {
        let io = |source| TextsError::Io { path: path.to_owned(), source };
        let mut bytes = std::fs::read(path).map_err(io)?;
        if bytes.starts_with(&GZIP) {
            let mut unpacked = Vec::new();
            MultiGzDecoder::new(bytes.as_slice()).read_to_end(&mut unpacked).map_err(io)?;
            bytes = unpacked;
        }
        let text = String::from_utf8(bytes).map_err(|error| TextsError::Encoding {
            path: path.to_owned(),
            bytes: error.utf8_error().valid_up_to(),
        })?;
        let captions: Vec<String> = lines(&text).map(|(_, line)| line.to_owned()).collect();
        if captions.iter().all(|caption| words(caption).is_empty()) {
            return Err(TextsError::Empty(path.to_owned()));
        }
        Ok(Self { path: path.to_owned(), captions })
    }

    /// Leaves out what is said of pictures that are held out: all five lines of a picture of which one is among `held_out`, each
    /// normalised to its words. Returns how many lines that were.
    pub fn leave_out(&mut self, held_out: &HashSet<String>) -> usize {
        let before = self.captions.len();
        let kept = self
            .captions
            .chunks(CAPTIONS_OF_A_PICTURE)
            .filter(|of_picture| !of_picture.iter().any(|caption| held_out.contains(&normalised(caption))));
        self.captions = kept.flatten().cloned().collect();
        before - self.captions.len()
    }
}

/// A caption's words, separated by spaces.
#[must_use]
pub fn normalised(caption: &str) -> String {
    words(caption).join(" ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("texts");
        std::fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    #[test]
    fn plain_and_compressed_files_are_read_alike() {
        let text = "A dog runs .\n\nTwo cats\r\n";
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        for bytes in [text.as_bytes().to_vec(), gzip.finish().unwrap()] {
            let (_folder, path) = file(&bytes);
            assert_eq!(Texts::read(&path).unwrap().captions, ["A dog runs .", "Two cats"]);
        }
    }

    #[test]
    fn what_is_no_text_is_named() {
        for (bytes, reason) in [
            (&b"a dog\nca\xff"[..], "not UTF-8 after 8 bytes"),
            (b" \n . \n", "holds no caption"),
            (b"\x1f\x8b\x08\x00 cut", "texts: "),
        ] {
            let (_folder, path) = file(bytes);
            let error = Texts::read(&path).unwrap_err().to_string();
            assert!(error.contains(reason) && error.lines().count() == 1, "{error}");
        }
    }

    #[test]
    fn all_lines_of_a_held_out_picture_are_left_out() {
        let captions: Vec<String> = (0..12).map(|line| format!("Caption number {line} .")).collect();
        let mut texts = Texts { path: PathBuf::new(), captions: captions.clone() };
        let held_out = HashSet::from(["caption number 7".to_owned(), "something else".to_owned()]);
        assert_eq!(texts.leave_out(&held_out), 5);
        assert_eq!(texts.captions, [&captions[..5], &captions[10..]].concat());
    }
}
