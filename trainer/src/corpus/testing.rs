//! Corpora that tests make.

#![allow(clippy::unwrap_used)]

use std::path::Path;

use tempfile::TempDir;

use super::{Corpus, CorpusError, Format, Picture, read};

/// A temporary folder with the files of a corpus.
pub(super) struct TestFolder(TempDir);

impl TestFolder {
    pub(super) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn file(self, name: &str, text: &str) -> Self {
        self.bytes(name, text.as_bytes())
    }

    pub(super) fn bytes(self, name: &str, bytes: &[u8]) -> Self {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
        self
    }

    /// Files that stand for pictures.
    pub(super) fn pictures(self, names: &[&str]) -> Self {
        names.iter().fold(self, |folder, name| folder.bytes(name, &[0]))
    }

    pub(super) fn read(&self, format: Format) -> Corpus {
        read(self.path(), format).unwrap()
    }

    pub(super) fn error(&self, format: Format) -> CorpusError {
        read(self.path(), format).unwrap_err()
    }
}

pub(super) fn names(corpus: &Corpus) -> Vec<&str> {
    corpus.pictures.iter().map(|picture| picture.name.as_str()).collect()
}

pub(super) fn picture<'a>(corpus: &'a Corpus, name: &str) -> &'a Picture {
    corpus.pictures.iter().find(|picture| picture.name == name).unwrap()
}
