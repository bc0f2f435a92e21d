//! Passwords, which never stand in the configuration.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;

use serde::Serialize;

/// Where a password is to be found. It is looked up when it is needed, so that a changed file serves at the next connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Secret {
    /// An environment variable, by name.
    Env(String),
    /// A file; white space at its end is no part of the password.
    File(PathBuf),
}

impl Secret {
    /// Looks the password up.
    ///
    /// # Errors
    /// When the variable or the file is missing, empty or no UTF-8; the message names it, and never its content.
    pub fn reveal(&self) -> Result<Revealed, SecretError> {
        match self {
            Self::Env(name) => from_variable(name, std::env::var_os(name)),
            Self::File(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| SecretError::File { path: path.clone(), source })?;
                match text.trim_end() {
                    "" => Err(SecretError::EmptyFile(path.clone())),
                    password => Ok(Revealed(password.to_owned())),
                }
            }
        }
    }
}

fn from_variable(name: &str, value: Option<OsString>) -> Result<Revealed, SecretError> {
    match value.map(OsString::into_string) {
        None => Err(SecretError::NoVariable(name.to_owned())),
        Some(Err(_)) => Err(SecretError::NotUtf8(name.to_owned())),
        Some(Ok(password)) if password.is_empty() => Err(SecretError::NoVariable(name.to_owned())),
        Some(Ok(password)) => Ok(Revealed(password)),
    }
}

/// A password in the clear. Nothing prints it: `Debug` does not show it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct Revealed(String);

impl Revealed {
    /// The password.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Revealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Revealed(…)")
    }
}

/// Why a password cannot be looked up.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set, or empty.
    #[error("the environment variable {0} is not set; set it where the daemon is started")]
    NoVariable(String),
    /// The variable's content is no text.
    #[error("the environment variable {0} is no UTF-8; set it anew")]
    NotUtf8(String),
    /// The file cannot be read.
    #[error("{path}: {source}; the daemon's user must be able to read it", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file holds nothing.
    #[error("{path}: holds no password; write it on the first line", path = .0.display())]
    EmptyFile(PathBuf),
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_its_text_without_the_line_end_and_never_shows_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "open sesame\n").unwrap();
        let secret = Secret::File(path);
        let revealed = secret.reveal().unwrap();
        assert_eq!(revealed.expose(), "open sesame");
        assert!(!format!("{secret:?} {revealed:?}").contains("sesame"));
    }

    #[test]
    fn an_empty_file_is_no_password() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "\n").unwrap();
        assert!(matches!(Secret::File(path).reveal(), Err(SecretError::EmptyFile(_))));
    }

    #[test]
    fn a_missing_variable_or_file_is_named() {
        let error = from_variable("METALENS_PASSWORD", None).unwrap_err();
        assert!(error.to_string().contains("METALENS_PASSWORD"));
        let error = Secret::File("/no/such/file".into()).reveal().unwrap_err();
        assert!(error.to_string().starts_with("/no/such/file: "));
    }

    #[test]
    fn a_variable_gives_its_value() {
        assert_eq!(from_variable("A", Some("b".into())).unwrap().expose(), "b");
    }
}
