//! Computes and caches the trunk's features of every picture of a corpus.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, bail};
use half::slice::HalfFloatSliceExt;
use indicatif::ProgressBar;
use metalens::engine::{Graph, Input, Output};
use metalens::vision::{self, Preprocessor};
use metalens_models::{Preprocessing, hexadecimal, replace, sweep};
use sha2::{Digest, Sha256};

use super::crop::crop;
use super::staged::Staged;
use super::store::{
    self, DONE, FEATURES, FORMAT, FileState, INDEX, Index, PreparedPicture, REJECTED, Rejected, STATUS,
    TRUNK, read_index,
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
    let index = Index {
        format: FORMAT,
        trunk_sha256: hexadecimal(&Sha256::digest(&trunk)),
        trunk: options.shape.clone(),
        views: 1 + usize::from(options.mirrored) + options.crops,
        pictures: corpus.pictures.iter().map(prepared).collect(),
        rejected: Vec::new(),
        problems: corpus.problems.iter().map(ToString::to_string).collect(),
    };
    // Before the folder is touched, which may hold hours of work.
    let Preprocessing { width, height, .. } = options.shape.preprocessing;
    let graph = Graph::load(
        &trunk,
        "trunk",
        &[Input::F32("image", &[1, 3, height, width])],
        &[Output("features", &[1, options.shape.positions(), options.shape.channels])],
    )
    .with_context(|| options.trunk.display().to_string())?;
    let cache = Cache::open(&options.out, index, &trunk)?;
    cache.fill(&corpus.pictures, &graph, options.threads, stop)
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
}

impl Previous {
    /// Nothing when anything about the folder is not as it should be.
    fn read(folder: &Path, features: &File) -> Option<Self> {
        let index = read_index(folder).ok()?;
        let mut status = std::fs::read(folder.join(STATUS)).ok()?;
        let whole =
            status.len() == index.pictures.len() && features.metadata().ok()?.len() == index.file_length();
        status.iter_mut().filter(|status| **status != DONE).for_each(|status| *status = 0);
        whole.then_some(Self { index, status })
    }
}

/// A features file for `index` beside the folder's own, and its status; rows of `previous` that fit are copied from its file `found`.
fn begin_anew(
    staged: &mut Staged,
    folder: &Path,
    index: &Index,
    previous: Option<&Previous>,
    found: &File,
) -> anyhow::Result<(File, Vec<u8>)> {
    let path = folder.join(FEATURES);
    let file = staged.begin(&path)?;
    let mut status = vec![0; index.pictures.len()];
    let mut fill = || -> anyhow::Result<()> {
        store::lock(&path, file.try_lock())?;
        file.set_len(index.file_length())?;
        if let Some(previous) = previous.filter(|previous| previous.index.other_rows(index).is_none()) {
            let old: HashMap<&str, usize> = previous
                .index
                .pictures
                .iter()
                .enumerate()
                .filter(|(place, _)| previous.status[*place] == DONE)
                .map(|(place, picture)| (picture.name.as_str(), place))
                .collect();
            let mut rows = vec![0; index.views * index.row_bytes()];
            for (place, picture) in index.pictures.iter().enumerate() {
                let from = old.get(picture.name.as_str());
                if let Some(&from) = from.filter(|&&from| previous.index.pictures[from].is_same_file(picture))
                {
                    found.read_exact_at(&mut rows, index.offset(from))?;
                    file.write_all_at(&rows, index.offset(place))?;
                    status[place] = DONE;
                }
            }
        }
        Ok(file.sync_all()?)
    };
    fill().with_context(|| path.display().to_string())?;
    Ok((file, status))
}

/// Whether the folder holds files of the names that `prepare` gives, and is none of its folders.
fn is_foreign(folder: &Path, features: &File) -> bool {
    let has = |name| folder.join(name).exists();
    let holds_features = features.metadata().is_ok_and(|file| file.len() > 0);
    (holds_features || has(INDEX) || has(TRUNK)) && read_index(folder).is_err() && !has(STATUS)
}

/// A prepared folder that is being filled.
struct Cache {
    folder: PathBuf,
    index: Index,
    features: File,
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
        let previous = Previous::read(folder, &found);
        if previous.as_ref().is_some_and(|previous| !previous.index.shares_a_picture(&index)) {
            bail!("{}: holds features of another corpus; give another --out, or remove it", folder.display());
        }
        let in_place = previous.as_ref().is_some_and(|previous| previous.index.same_rows(&index));
        if let Some(loss) = previous.as_ref().and_then(|previous| previous.index.lost_to(&index)) {
            eprintln!("warning: {}: {loss}", folder.display());
        }
        let known_as = serde_json::to_vec_pretty(&index)?;
        let mut staged = Staged::default();
        let (features, status) = match previous {
            Some(previous) if in_place => {
                // First: what the old one says of rejected pictures, the new index does not know.
                staged.write(&folder.join(STATUS), &previous.status)?;
                staged.write(&folder.join(INDEX), &known_as)?;
                (found, previous.status)
            }
            previous => {
                // First: it is what the folder is known by.
                staged.write(&folder.join(INDEX), &known_as)?;
                begin_anew(&mut staged, folder, &index, previous.as_ref(), &found)?
            }
        };
        if !std::fs::read(folder.join(TRUNK)).is_ok_and(|found| found == trunk) {
            staged.write(&folder.join(TRUNK), trunk)?;
        }
        if !in_place {
            staged.write(&folder.join(STATUS), &status)?;
            // Without a status, or with one of another length, nothing in the folder is trusted: it goes first and comes last.
            match std::fs::remove_file(folder.join(STATUS)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| folder.join(STATUS).display().to_string());
                }
                _ => {}
            }
        }
        staged.take_their_places()?;
        Ok(Self {
            pending: (0..status.len()).filter(|&i| status[i] != DONE).collect(),
            status: open_for_writing(&folder.join(STATUS))?,
            folder: folder.to_owned(),
            index,
            features,
            rejected: Mutex::new(Vec::new()),
            unflushed: Mutex::new(Vec::new()),
        })
    }

    fn fill(
        mut self,
        pictures: &[Picture],
        graph: &Graph,
        threads: usize,
        stop: &AtomicBool,
    ) -> anyhow::Result<Prepared> {
        let bar = bar(self.index.pictures.len() as u64);
        bar.set_position((self.index.pictures.len() - self.pending.len()) as u64);
        bar.reset_eta();
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads.max(1))
                .map(|_| scope.spawn(|| self.work(pictures, graph, &next, stop, &bar)))
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
        graph: &Graph,
        next: &AtomicUsize,
        stop: &AtomicBool,
        bar: &ProgressBar,
    ) -> anyhow::Result<()> {
        let mut session = graph.session()?;
        let mut preprocessor = Preprocessor::new(self.index.trunk.preprocessing.clone());
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
                    let mut row = Vec::with_capacity(self.index.row_bytes() * self.index.views);
                    for view in 0..self.index.views {
                        match view {
                            0 => _ = preprocessor.run(&image),
                            1 => {}
                            crop_of => _ = preprocessor.run(&crop(&image, &picture.name, crop_of)),
                        }
                        if view % 2 == 0 {
                            session.set(0, preprocessor.pixels())?;
                        } else {
                            session.set(0, &preprocessor.mirrored())?;
                        }
                        session.run()?;
                        let features = session.output(0)?;
                        anyhow::ensure!(
                            features.iter().all(|feature| feature.is_finite()),
                            "{}: the trunk makes no numbers of it; its weights are damaged, import it again",
                            picture.name
                        );
                        extend_with_halves(&mut row, features);
                    }
                    self.features
                        .write_all_at(&row, self.index.offset(place))
                        .with_context(|| self.folder.join(FEATURES).display().to_string())?;
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
            self.features.sync_data()?;
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

fn extend_with_halves(out: &mut Vec<u8>, features: &[f32]) {
    let mut halves = vec![half::f16::ZERO; features.len()];
    halves.convert_from_f32_slice(features);
    out.extend(halves.iter().flat_map(|h| h.to_le_bytes()));
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
