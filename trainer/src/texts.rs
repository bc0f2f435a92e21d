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
    /// Captions as they stand there, with their lines, counted from 1.
    captions: Vec<(usize, String)>,
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
        let captions: Vec<(usize, String)> =
            lines(&text).map(|(number, line)| (number, line.to_owned())).collect();
        if captions.iter().all(|(_, caption)| words(caption).is_empty()) {
            return Err(TextsError::Empty(path.to_owned()));
        }
        Ok(Self { path: path.to_owned(), captions })
    }

    /// Its captions.
    pub fn captions(&self) -> impl ExactSizeIterator<Item = &str> {
        self.captions.iter().map(|(_, caption)| caption.as_str())
    }

    /// Leaves out what is said of pictures that are held out: of each five lines, such as a picture has, all, where one is among
    /// `held_out`, which are normalised to their words. Returns how many captions that were.
    pub fn leave_out(&mut self, held_out: &HashSet<String>) -> usize {
        let before = self.captions.len();
        let picture = |line: usize| (line - 1) / CAPTIONS_OF_A_PICTURE;
        let hidden = self.captions.iter().filter(|(_, caption)| held_out.contains(&normalised(caption)));
        let hidden: HashSet<usize> = hidden.map(|(line, _)| picture(*line)).collect();
        self.captions.retain(|(line, _)| !hidden.contains(&picture(*line)));
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
            let texts = Texts::read(&path).unwrap();
            assert!(texts.captions().eq(["A dog runs .", "Two cats"]));
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
        // The first line is blank, and counts.
        let lines: String = (2..13).map(|line| format!("Caption of line {line} .\n")).collect();
        let (_folder, path) = file(format!("\n{lines}").as_bytes());
        let mut texts = Texts::read(&path).unwrap();
        let held_out = HashSet::from(["caption of line 6".to_owned(), "something else".to_owned()]);
        assert_eq!(texts.leave_out(&held_out), 5);
        let kept: Vec<String> = [2, 3, 4, 5, 11, 12].map(|line| format!("Caption of line {line} .")).to_vec();
        assert!(texts.captions().eq(kept.iter().map(String::as_str)));
    }
}
