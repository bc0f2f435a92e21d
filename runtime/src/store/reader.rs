//! Reading the state, which needs no lock: every file is replaced as a whole.

use std::io;
use std::path::{Path, PathBuf};

use metalens_models::BundleId;
use serde::de::DeserializeOwned;

use super::error::io_error;
use super::history::History;
use super::{CURRENT, Flaw, Generation, HEADS, SUPPORT, StateError, Warning, head};

/// A head that was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored<T> {
    /// Its number.
    pub generation: Generation,
    /// The head itself.
    pub payload: T,
}

/// What the state says is in use.
#[derive(Debug)]
pub struct Loaded<T> {
    /// None where the bundle's own head, the initialization, is in use.
    pub head: Option<Stored<T>>,
    /// What was passed over.
    pub warnings: Vec<Warning>,
}

impl<T> Loaded<T> {
    /// Whether no head can be used, and one was passed over that is whole: another bundle or another release wrote it.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        let foreign = |warning: &Warning| {
            matches!(warning, Warning::Head { flaw: Flaw::Bundle { .. } | Flaw::Format(_), .. })
        };
        self.head.is_none() && self.warnings.iter().any(foreign)
    }
}

/// A state folder that is only read: nothing is created or locked, and it may lie on a read-only medium.
#[derive(Clone, Debug)]
pub struct StateReader {
    folder: PathBuf,
}

impl StateReader {
    /// Looks for the folder; an empty one is the state of a captioner that never was calibrated.
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn open(folder: &Path) -> Result<Self, StateError> {
        match folder.metadata() {
            Ok(found) if found.is_dir() => Ok(Self { folder: folder.to_owned() }),
            Ok(_) => Err(StateError::NotAFolder(folder.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StateError::NoFolder(folder.to_owned()))
            }
            Err(source) => Err(io_error(folder)(source)),
        }
    }

    /// The head in use with the bundle `bundle`.
    ///
    /// A head that is damaged or belongs to another bundle is passed over with a warning, for the one that was in use
    /// before it, and so on down to the initialization: whoever captions always can. What was undone is no such head.
    /// Where `current` itself is missing or damaged, the newest good head is used.
    #[must_use]
    pub fn newest<T: DeserializeOwned>(&self, bundle: &BundleId) -> Loaded<T> {
        let (history, warning) = self.history();
        let mut warnings = Vec::from_iter(warning);
        for generation in history.generations() {
            let path = self.head(generation);
            let read = std::fs::read(&path).map_err(Flaw::Unreadable);
            match read.and_then(|data| head::decode(&data, bundle)) {
                Ok(payload) => return Loaded { head: Some(Stored { generation, payload }), warnings },
                Err(flaw) => warnings.push(Warning::Head { path, flaw }),
            }
        }
        Loaded { head: None, warnings }
    }

    /// What was in use and when, and a warning where `current` does not say it.
    pub(super) fn history(&self) -> (History, Option<Warning>) {
        match self.current() {
            Ok(history) => (history, None),
            Err(flaw) => {
                let generations = self.generations().unwrap_or_default();
                let fresh = generations.is_empty()
                    && matches!(&flaw, Flaw::Unreadable(error) if error.kind() == io::ErrorKind::NotFound);
                let warning = Warning::Current { path: self.folder.join(CURRENT), flaw };
                (History::of(generations), (!fresh).then_some(warning))
            }
        }
    }

    /// What `current` says.
    pub(super) fn current(&self) -> Result<History, Flaw> {
        let text = std::fs::read(self.folder.join(CURRENT)).map_err(Flaw::Unreadable)?;
        History::parse(&text).ok_or(Flaw::Kind)
    }

    /// The heads of which there is a file, in any order.
    pub(super) fn generations(&self) -> Result<Vec<Generation>, StateError> {
        let heads = self.folder.join(HEADS);
        let mut generations = Vec::new();
        for entry in heads.read_dir().map_err(io_error(&heads))? {
            let name = entry.map_err(io_error(&heads))?.file_name();
            generations.extend(name.to_str().and_then(Generation::of_file_name));
        }
        Ok(generations)
    }

    /// The file of a head.
    #[must_use]
    pub fn head(&self, generation: Generation) -> PathBuf {
        self.folder.join(HEADS).join(generation.file_name())
    }

    pub(super) fn support(&self) -> PathBuf {
        self.folder.join(SUPPORT)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }
}
