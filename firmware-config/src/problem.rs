//! What can be wrong with a configuration.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1: the key's, or its section's where the key is missing.
    pub line: usize,
    /// The key with its sections, such as `http.listen`; empty where the text is no TOML.
    pub key: String,
    /// What is wrong; what to do.
    pub message: String,
}

/// Everything that is wrong with a configuration, in the order of its lines. Printed, it is one line each:
/// `FILE:LINE: KEY: what is wrong; what to do`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems {
    file: Option<PathBuf>,
    list: Vec<Problem>,
}

impl Problems {
    /// `list` is not empty; its order does not matter.
    pub(crate) fn new(mut list: Vec<Problem>) -> Self {
        list.sort_by_key(|problem| problem.line);
        Self { file: None, list }
    }

    /// The same problems, of this file.
    #[must_use]
    pub fn of_file(self, file: &Path) -> Self {
        Self { file: Some(file.to_owned()), ..self }
    }

    /// The problems, in the order of their lines; there is one at least.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.list.iter()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Problem { line, key, message }) in self.list.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            match &self.file {
                Some(file) => write!(f, "{}:{line}: ", file.display())?,
                None => write!(f, "line {line}: ")?,
            }
            if !key.is_empty() {
                write!(f, "{key}: ")?;
            }
            f.write_str(message)?;
        }
        Ok(())
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{path}: {source}; give the configuration's file with --config", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file says something that cannot be.
    #[error(transparent)]
    Problems(#[from] Problems),
}
