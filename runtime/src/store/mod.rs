//! What a calibration leaves on the device, so that it survives a power cut.
//!
//! ```text
//! state/
//!   support/   the samples: pictures as they were given, and captions.tsv (file<TAB>caption, a line a caption)
//!   heads/     NNNNNN.postcard, an adapted head each; the number is its generation
//!   current    the generation in use, then those that were in use before it; the last line is `initialization`
//!   lock       held by the process that changes the state
//! ```
//!
//! Every file is written beside its place, brought to the medium, and renamed into it; what names another file is
//! written after it. A cut between any two steps leaves the old state or the new one, and files that nobody names.
//! [`State`] changes the state, one process at a time; [`StateReader`] reads it meanwhile.
//!
//! ```no_run
//! # let bundle = metalens_models::Bundle::open("models/flickr8k-lite0".as_ref())?.manifest().id.clone();
//! let mut state = metalens::store::State::open("state".as_ref())?;
//! state.commit(&bundle, &vec![0.5_f32; 3])?;
//! let loaded = state.newest::<Vec<f32>>(&bundle);
//! assert_eq!(loaded.head.map(|head| head.payload), Some(vec![0.5; 3]));
//! state.undo()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod head;
mod history;
mod names;
mod reader;
mod support;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;

use metalens_models::{BundleId, Disk, SystemDisk, folder_of, replace_on, sweep};
use serde::Serialize;
use serde::de::DeserializeOwned;

use error::io_error;
use history::History;

pub use error::{Flaw, StateError, Warning};
pub use history::Generation;
pub use reader::{Loaded, StateReader, Stored};
pub use support::{NewSample, Sample};

const SUPPORT: &str = "support";
const HEADS: &str = "heads";
const CURRENT: &str = "current";
const LOCK: &str = "lock";

/// How many heads are kept, the newest first. What is in use and what was before it are kept beside them.
pub const KEEP: usize = 8;

/// A state folder that this process, and no other, may change.
pub struct State {
    reader: StateReader,
    disk: Box<dyn Disk>,
    /// Locked as long as it is open.
    _lock: File,
}

impl State {
    /// Opens the state in `folder`, which is created where it is missing.
    ///
    /// # Errors
    /// When somebody else has it open, when the folder cannot be created or written, or when a file lies in its place.
    pub fn open(folder: &Path) -> Result<Self, StateError> {
        Self::open_on(Box::new(SystemDisk), folder)
    }

    fn open_on(disk: Box<dyn Disk>, folder: &Path) -> Result<Self, StateError> {
        make_folder(&*disk, folder)?;
        let lock = lock(folder)?;
        let (heads, support) = (folder.join(HEADS), folder.join(SUPPORT));
        for folder in [&heads, &support] {
            make_folder(&*disk, folder)?;
        }
        for folder in [folder, &heads, &support] {
            sweep(folder);
        }
        Ok(Self { reader: StateReader::open(folder)?, disk, _lock: lock })
    }

    /// The head in use, as [`StateReader::newest`].
    #[must_use]
    pub fn newest<T: DeserializeOwned>(&self, bundle: &BundleId) -> Loaded<T> {
        self.reader.newest(bundle)
    }

    /// Keeps a head and makes it the one in use. Old heads are removed, but for [`KEEP`].
    ///
    /// # Errors
    /// When it cannot be written. What was in use then stays in use; only where the very last step fails, the wait
    /// until `current` is on the medium, the new head may be.
    pub fn commit<T: Serialize + ?Sized>(
        &mut self,
        bundle: &BundleId,
        payload: &T,
    ) -> Result<Generation, StateError> {
        let mut generations = self.reader.generations()?;
        let mut history = self.reader.history().0;
        let generation = Generation::after(generations.iter().copied().chain(history.generations()));
        let path = self.reader.head(generation);
        let data = head::encode(bundle, payload)
            .map_err(|reason| StateError::Encode { path: path.clone(), reason })?;
        generations.push(generation);
        history.push(generation);
        let kept = kept(&generations, &history);
        history.cut(&kept);
        replace_on(&*self.disk, &path, &data)
            .map_err(StateError::from)
            .and_then(|()| self.point_to(&history))
            .inspect_err(|_| {
                if !self.reader.current().is_ok_and(|history| history.current() == Some(generation)) {
                    // Nobody names it; the error that is told is the one that stopped the writing.
                    let _ = self.disk.remove(&path);
                }
            })?;
        for generation in generations.into_iter().filter(|generation| !kept.contains(generation)) {
            // The new head is in use; what cannot be removed now is removed after the next.
            let _ = self.disk.remove(&self.reader.head(generation));
        }
        Ok(generation)
    }

    /// Goes back to what was in use before the last commit that was not undone, and tells which head that is; none is
    /// the initialization. Its file is as it was committed.
    ///
    /// # Errors
    /// When the initialization is in use, when the head before is no longer kept, or when `current` cannot be written.
    pub fn undo(&mut self) -> Result<Option<Generation>, StateError> {
        let mut history = self.reader.history().0;
        if history.pop().is_none() {
            return Err(StateError::NothingToUndo(self.reader.folder().to_owned()));
        }
        let current = history.current();
        if let Some(generation) = current {
            let path = self.reader.head(generation);
            if !path.try_exists().map_err(io_error(&path))? {
                return Err(StateError::Pruned { path, generation });
            }
        }
        self.point_to(&history)?;
        Ok(current)
    }

    fn point_to(&self, history: &History) -> Result<(), StateError> {
        Ok(replace_on(&*self.disk, &self.reader.folder().join(CURRENT), history.text().as_bytes())?)
    }
}

fn kept(generations: &[Generation], history: &History) -> Vec<Generation> {
    let mut kept: Vec<Generation> = History::of(generations.to_vec()).generations().take(KEEP).collect();
    let needed = [history.current(), history.before()].into_iter().flatten();
    kept.extend(needed.filter(|needed| generations.contains(needed)));
    kept
}

/// A new folder is on the medium once the one that it lies in is.
fn make_folder(disk: &dyn Disk, folder: &Path) -> Result<(), StateError> {
    match folder.metadata() {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(StateError::NotAFolder(folder.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = folder_of(folder);
            make_folder(disk, parent)?;
            disk.create_folder(folder).and_then(|()| disk.sync_folder(parent)).map_err(io_error(folder))
        }
        Err(source) => Err(io_error(folder)(source)),
    }
}

fn lock(folder: &Path) -> Result<File, StateError> {
    let path = folder.join(LOCK);
    let file =
        File::options().create(true).truncate(false).write(true).open(&path).map_err(io_error(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StateError::Locked(folder.to_owned())),
        Err(TryLockError::Error(source)) => Err(io_error(&path)(source)),
    }
}
