//! Finding and reading the files of a corpus.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use metalens::language::lines;
use serde::de::DeserializeOwned;

use super::{CorpusError, Format};

/// A file that names pictures, and the folders in which they may lie.
#[derive(Debug)]
pub(super) struct Source {
    /// The file.
    pub(super) file: PathBuf,
    /// Existing folders, the likeliest first.
    pub(super) folders: Vec<PathBuf>,
}

impl Source {
    /// `names` are folders below `root`, the likeliest first; an empty name is `root` itself.
    pub(super) fn new(file: PathBuf, root: &Path, names: &[&str]) -> Self {
        let places = names.iter().map(|name| if name.is_empty() { root.to_owned() } else { root.join(name) });
        Self { file, folders: places.filter(|place| place.is_dir()).collect() }
    }

    /// The picture's file, if it is on disk, without `.` and doubled separators in its path.
    pub(super) fn find(&self, name: &str) -> Option<PathBuf> {
        let paths = self.folders.iter().map(|folder| folder.join(name).components().collect::<PathBuf>());
        paths.into_iter().find(|path| path.is_file())
    }
}

pub(super) fn check_folder(root: &Path) -> Result<(), CorpusError> {
    let path = || root.to_owned();
    match std::fs::metadata(root) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(CorpusError::NotAFolder { path: path() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(CorpusError::NotFound { path: path() })
        }
        Err(source) => Err(CorpusError::Io { path: path(), source }),
    }
}

/// The visible files of a folder whose names pass, sorted.
pub(super) fn matching(folder: &Path, pass: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, CorpusError> {
    let io = |source| CorpusError::Io { path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let named = entry.file_name().to_str().is_some_and(|name| !name.starts_with('.') && pass(name));
        if named && entry.path().is_file() {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// The file if there is one, nothing if there is none, and an error if there are several.
pub(super) fn at_most_one(
    folder: &Path,
    mut found: Vec<PathBuf>,
    expected: &'static str,
) -> Result<Option<PathBuf>, CorpusError> {
    if found.len() > 1 {
        let names: Vec<&str> = found.iter().map(|path| file_name(path)).collect();
        let found = names.join(", ");
        return Err(CorpusError::SeveralFiles { folder: folder.to_owned(), expected, found });
    }
    Ok(found.pop())
}

/// The last part of a path that [`matching`] found.
pub(super) fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// The text of a file, without its byte order mark.
pub(super) fn read_text(file: &Path) -> Result<String, CorpusError> {
    let bytes = std::fs::read(file).map_err(|source| CorpusError::Io { path: file.to_owned(), source })?;
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|&&byte| byte == b'\n').count();
        CorpusError::NotUtf8 { file: file.to_owned(), line }
    })?;
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(text)
}

/// The names in a file, one a line.
///
/// # Errors
/// When the file cannot be read, or has none.
pub fn names(file: &Path) -> anyhow::Result<BTreeSet<String>> {
    let text = read_text(file)?;
    let names: BTreeSet<String> = lines(&text).map(|(_, line)| line.trim().to_owned()).collect();
    anyhow::ensure!(!names.is_empty(), "{}: is empty; give one name a line", file.display());
    Ok(names)
}

/// The content of a JSON file.
pub(super) fn read_json<T: DeserializeOwned>(file: &Path, format: Format) -> Result<T, CorpusError> {
    let text = read_text(file)?;
    serde_json::from_str(&text).map_err(|source| CorpusError::Json { file: file.to_owned(), format, source })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_without_the_mark_that_editors_put_before_them() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("names.txt");
        std::fs::write(&path, "\u{feff}b.jpg\n\n a.jpg \n").unwrap();
        assert_eq!(names(&path).unwrap().into_iter().collect::<Vec<_>>(), ["a.jpg", "b.jpg"]);
        std::fs::write(&path, "\n").unwrap();
        assert!(names(&path).unwrap_err().to_string().ends_with("names.txt: is empty; give one name a line"));
    }
}
