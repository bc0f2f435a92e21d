//! Computes and caches the trunk's features of every picture of a corpus.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, bail};
use indicatif::ProgressBar;
use metalens::vision;
use metalens_models::{hexadecimal, replace, sweep};
use sha2::{Digest, Sha256};

use super::look::{DetectorFile, Graphs};
use super::staged::Staged;
use super::store::{
    self, CLASSES, DONE, FEATURES, FORMAT, FileState, INDEX, Index, PreparedPicture, REJECTED, Rejected,
    Rows, STATUS, THINGS, TRUNK, read_index,
};
use crate::corpus::{Corpus, Picture};
use crate::encoder::TrunkShape;
use crate::parallel::bar_style;

/// How a corpus is prepared.
#[derive(Clone, Debug)]
pub struct PrepareOptions {
    /// The trunk, an ONNX file such as `import-encoder` writes.
    pub trunk: PathBuf,
    /// What it takes and makes.
    pub shape: TrunkShape,
    /// Keep what this detector finds in the pictures too.
    pub detector: Option<DetectorFile>,
    /// The folder to fill.
    pub out: PathBuf,
    /// Keep features of the mirrored picture too.
    pub mirrored: bool,
    /// Keep features of so many crops of the picture too; only beside the mirrored picture.
    pub crops: usize,
    /// How many pictures are worked on at a time.
    pub threads: usize,
}

/// How `prepare` ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Prepared {
    /// Every picture was tried.
    Finished {
        /// Pictures with features.
        usable: usize,
        /// Pictures without, and why.
        rejected: Vec<Rejected>,
    },
    /// `stop` was set; the same call goes on where this one stopped.
    Interrupted {
        /// Pictures still to do.
        pending: usize,
    },
}

/// Status bytes are written after so many rows have reached the disk.
const FLUSH_EVERY: usize = 64;

/// Fills `options.out` with features of all pictures of `corpus`. What an earlier call with the same trunk computed for
/// pictures of the same names, lengths and times is kept. Pictures that cannot be decoded are listed, not fatal.
///
/// # Errors
/// When the trunk cannot be loaded, or the folder cannot be written or is in use.
pub fn prepare(corpus: &Corpus, options: &PrepareOptions, stop: &AtomicBool) -> anyhow::Result<Prepared> {
    let trunk = std::fs::read(&options.trunk).with_context(|| {
        format!("{}: no trunk; make one with `metalens-trainer import-encoder`", options.trunk.display())
    })?;
    anyhow::ensure!(options.mirrored || options.crops == 0, "crops are kept beside mirrored pictures only");
    // Before the folder is touched, which may hold hours of work.
    let graphs = Graphs::load(&options.trunk, &trunk, &options.shape, options.detector.as_ref())?;
    let index = Index {
        format: FORMAT,
        trunk_sha256: hexadecimal(&Sha256::digest(&trunk)),
        trunk: options.shape.clone(),
        views: 1 + usize::from(options.mirrored) + options.crops,
        classes: graphs.classes,
        things: graphs.things(),
        detector_sha256: graphs.detector_sha256(),
        pictures: corpus.pictures.iter().map(prepared).collect(),
        rejected: Vec::new(),
        problems: corpus.problems.iter().map(ToString::to_string).collect(),
    };
    let cache = Cache::open(&options.out, index, &trunk)?;
    cache.fill(&corpus.pictures, &graphs, options.threads, stop)
}

fn prepared(picture: &Picture) -> PreparedPicture {
    PreparedPicture {
        name: picture.name.clone(),
        captions: picture.captions.clone(),
        split: picture.split,
        label: picture.label.clone(),
        file: std::fs::metadata(&picture.path).ok().and_then(|file| FileState::of(&file)),
    }
}

/// What a folder holds already.
struct Previous {
    index: Index,
    /// [`DONE`] or 0, one a picture.
    status: Vec<u8>,
    /// Files of numbers, in the order of [`Index::files`].
    files: Vec<File>,
}

impl Previous {
    /// Nothing when anything about the folder is not as it should be.
    fn read(folder: &Path) -> Option<Self> {
        let index = read_index(folder).ok()?;
        let mut status = std::fs::read(folder.join(STATUS)).ok()?;
        let pictures = index.pictures.len();
        let open = |rows: Rows| {
            let file = open_existing(&folder.join(rows.file)).ok()?;
            (file.metadata().ok()?.len() == rows.length(pictures)).then_some(file)
        };
        let files = index.files().into_iter().map(open).collect::<Option<Vec<File>>>()?;
        status.iter_mut().filter(|status| **status != DONE).for_each(|status| *status = 0);
        (status.len() == pictures).then_some(Self { index, status, files })
    }
}

/// Files of numbers for `index` beside the folder's own, and their status; rows of `previous` that fit are copied.
fn begin_anew(
    staged: &mut Staged,
    folder: &Path,
    index: &Index,
    previous: Option<&Previous>,
) -> anyhow::Result<(Vec<File>, Vec<u8>)> {
    // For each picture, where its rows are in the previous files, which are of the same layout then.
    let mut kept = vec![None; index.pictures.len()];
    let previous = previous.filter(|previous| previous.index.other_rows(index).is_none());
    if let Some(previous) = previous {
        let old: HashMap<&str, usize> = previous
            .index
            .pictures
            .iter()
            .enumerate()
            .filter(|(place, _)| previous.status[*place] == DONE)
            .map(|(place, picture)| (picture.name.as_str(), place))
            .collect();
        for (kept, picture) in kept.iter_mut().zip(&index.pictures) {
            let from = old.get(picture.name.as_str()).copied();
            *kept = from.filter(|&from| previous.index.pictures[from].is_same_file(picture));
        }
    }
    let mut files = Vec::new();
    for (number, rows) in index.files().into_iter().enumerate() {
        let path = folder.join(rows.file);
        let file = staged.begin(&path)?;
        let fill = || -> anyhow::Result<()> {
            store::lock(&path, file.try_lock())?;
            file.set_len(rows.length(index.pictures.len()))?;
            if let Some(previous) = previous {
                let mut bytes = vec![0; rows.bytes];
                for (place, from) in kept.iter().enumerate() {
                    if let Some(from) = *from {
                        previous.files[number].read_exact_at(&mut bytes, rows.offset(from))?;
                        file.write_all_at(&bytes, rows.offset(place))?;
                    }
                }
            }
            Ok(file.sync_all()?)
        };
        fill().with_context(|| path.display().to_string())?;
        files.push(file);
    }
    let status = kept.iter().map(|from| if from.is_some() { DONE } else { 0 }).collect();
    Ok((files, status))
}

/// Whether the folder holds files of the names that `prepare` gives, and is none of its folders.
fn is_foreign(folder: &Path, features: &File) -> bool {
    let has = |name| folder.join(name).exists();
    let holds_features = features.metadata().is_ok_and(|file| file.len() > 0);
    let holds_any = holds_features || [INDEX, TRUNK, CLASSES, THINGS].into_iter().any(has);
    holds_any && read_index(folder).is_err() && !has(STATUS)
}

/// A prepared folder that is being filled.
struct Cache {
    folder: PathBuf,
    index: Index,
    /// Files of numbers, in the order of [`Index::files`]; the first holds the lock.
    files: Vec<File>,
    status: File,
    pending: Vec<usize>,
    /// Rejections of this call and of earlier ones.
    rejected: Mutex<Vec<Rejected>>,
    /// Rows on their way to the disk.
    unflushed: Mutex<Vec<(usize, u8)>>,
}

impl Cache {
    /// Opens the folder for writing. Rows that it holds already, of the same trunk and of the same pictures, are
    /// kept; pictures that were rejected are tried again.
    fn open(folder: &Path, index: Index, trunk: &[u8]) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let path = folder.join(FEATURES);
        let is_new = !path.exists();
        let found = open_for_writing(&path)?;
        store::lock(&path, found.try_lock())?;
        if is_foreign(folder, &found) {
            if is_new {
                let _ = std::fs::remove_file(&path);
            }
            bail!("{}: holds files that `prepare` did not write; give another --out", folder.display());
        }
        // What a call left that was killed.
        sweep(folder);
        let previous = Previous::read(folder);
        if previous.as_ref().is_some_and(|previous| !previous.index.shares_a_picture(&index)) {
            bail!("{}: holds features of another corpus; give another --out, or remove it", folder.display());
        }
        let in_place = previous.as_ref().is_some_and(|previous| previous.index.same_rows(&index));
        if let Some(loss) = previous.as_ref().and_then(|previous| previous.index.lost_to(&index)) {
            eprintln!("warning: {}: {loss}", folder.display());
        }
        let known_as = serde_json::to_vec_pretty(&index)?;
        let mut staged = Staged::default();
        let (files, status) = match previous {
            Some(mut previous) if in_place => {
                // First: what the old one says of rejected pictures, the new index does not know.
                staged.write(&folder.join(STATUS), &previous.status)?;
                staged.write(&folder.join(INDEX), &known_as)?;
                // Which holds the lock.
                previous.files[0] = found;
                (previous.files, previous.status)
            }
            previous => {
                // First: it is what the folder is known by.
                staged.write(&folder.join(INDEX), &known_as)?;
                begin_anew(&mut staged, folder, &index, previous.as_ref())?
            }
        };
        if !std::fs::read(folder.join(TRUNK)).is_ok_and(|found| found == trunk) {
            staged.write(&folder.join(TRUNK), trunk)?;
        }
        if !in_place {
            staged.write(&folder.join(STATUS), &status)?;
            // Without a status, or with one of another length, nothing in the folder is trusted: it goes first and comes last.
            remove(&folder.join(STATUS))?;
            let is_known = |name: &&str| index.files().iter().any(|rows| rows.file == *name);
            for name in [CLASSES, THINGS].iter().filter(|name| !is_known(name)) {
                remove(&folder.join(name))?;
            }
        }
        staged.take_their_places()?;
        Ok(Self {
            pending: (0..status.len()).filter(|&i| status[i] != DONE).collect(),
            status: open_for_writing(&folder.join(STATUS))?,
            folder: folder.to_owned(),
            index,
            files,
            rejected: Mutex::new(Vec::new()),
            unflushed: Mutex::new(Vec::new()),
        })
    }

    fn fill(
        mut self,
        pictures: &[Picture],
        graphs: &Graphs,
        threads: usize,
        stop: &AtomicBool,
    ) -> anyhow::Result<Prepared> {
        let bar = bar(self.index.pictures.len() as u64);
        bar.set_position((self.index.pictures.len() - self.pending.len()) as u64);
        bar.reset_eta();
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.max(1))
                .map(|_| scope.spawn(|| self.work(pictures, graphs, &next, stop, &bar)))
                .collect();
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect::<anyhow::Result<Vec<()>>>()
        })?;
        self.flush()?;
        let tried = next.load(Ordering::Relaxed).min(self.pending.len());
        let pending = self.pending.len() - tried;
        bar.finish_and_clear();

        let mut rejected = self.rejected.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        rejected.sort_by(|a, b| a.name.cmp(&b.name));
        self.index.rejected.clone_from(&rejected);
        replace(&self.folder.join(INDEX), &serde_json::to_vec_pretty(&self.index)?)?;
        if pending > 0 {
            return Ok(Prepared::Interrupted { pending });
        }
        Ok(Prepared::Finished { usable: self.index.pictures.len() - rejected.len(), rejected })
    }

    /// Works on one picture after another until none is left.
    fn work(
        &self,
        pictures: &[Picture],
        graphs: &Graphs,
        next: &AtomicUsize,
        stop: &AtomicBool,
        bar: &ProgressBar,
    ) -> anyhow::Result<()> {
        let mut looker = graphs.looker(&self.index)?;
        while !stop.load(Ordering::Relaxed) {
            let Some(&place) = self.pending.get(next.fetch_add(1, Ordering::Relaxed)) else {
                break;
            };
            let picture = &pictures[place];
            let decoded = std::fs::read(&picture.path)
                .map_err(|error| error.to_string())
                .and_then(|bytes| vision::decode(&bytes).map_err(|error| error.to_string()));
            match decoded {
                Ok(image) => {
                    let found = looker.look(&image, &picture.name)?;
                    for ((rows, file), bytes) in self.index.files().into_iter().zip(&self.files).zip(found) {
                        file.write_all_at(&bytes, rows.offset(place))
                            .with_context(|| self.folder.join(rows.file).display().to_string())?;
                    }
                    self.mark(place, DONE)?;
                }
                Err(reason) => {
                    let rejected = Rejected { name: picture.name.clone(), reason };
                    lock(&self.rejected).push(rejected);
                    self.mark(place, REJECTED)?;
                }
            }
            bar.inc(1);
        }
        Ok(())
    }

    /// A status byte must not say more than the disk holds after a power cut: rows are synced before their bytes.
    fn mark(&self, place: usize, status: u8) -> anyhow::Result<()> {
        let full = {
            let mut unflushed = lock(&self.unflushed);
            unflushed.push((place, status));
            unflushed.len() >= FLUSH_EVERY
        };
        if full { self.flush() } else { Ok(()) }
    }

    fn flush(&self) -> anyhow::Result<()> {
        let marks = std::mem::take(&mut *lock(&self.unflushed));
        let write = || -> std::io::Result<()> {
            self.files.iter().try_for_each(File::sync_data)?;
            for (place, status) in marks {
                self.status.write_all_at(&[status], place as u64)?;
            }
            Ok(())
        };
        write().with_context(|| self.folder.display().to_string())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Removes a file that may not be there.
fn remove(path: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| path.display().to_string())
        }
        _ => Ok(()),
    }
}

fn open_existing(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

fn open_for_writing(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .with_context(|| path.display().to_string())
}

fn bar(pictures: u64) -> ProgressBar {
    ProgressBar::new(pictures).with_style(bar_style("pictures"))
}
