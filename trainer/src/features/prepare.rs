//! Computes and caches the trunk's features of every picture of a corpus.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::Context;
use half::slice::HalfFloatSliceExt;
use indicatif::{ProgressBar, ProgressStyle};
use metalens::engine::{Graph, Input, Output};
use metalens::vision::{self, Preprocessor};
use metalens_models::Preprocessing;
use sha2::{Digest, Sha256};

use super::store::{
    DONE, FEATURES, FORMAT, INDEX, Index, PreparedPicture, REJECTED, Rejected, STATUS, TRUNK, read_index,
};
use crate::corpus::{Corpus, Picture};
use crate::encoder::TrunkShape;

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

/// Fills `options.out` with features of all pictures of `corpus`, going on where an earlier call with the same trunk and
/// pictures stopped. Pictures that cannot be decoded are listed, not fatal.
///
/// # Errors
/// When the trunk cannot be loaded or the folder cannot be written.
pub fn prepare(corpus: &Corpus, options: &PrepareOptions, stop: &AtomicBool) -> anyhow::Result<Prepared> {
    let trunk = std::fs::read(&options.trunk).with_context(|| {
        format!("{}: no trunk; make one with `metalens-trainer import-encoder`", options.trunk.display())
    })?;
    let index = Index {
        format: FORMAT,
        trunk_sha256: hex(&Sha256::digest(&trunk)),
        trunk: options.shape.clone(),
        views: if options.mirrored { 2 } else { 1 },
        pictures: corpus.pictures.iter().map(prepared).collect(),
        rejected: Vec::new(),
    };
    let cache = Cache::open(&options.out, index, &trunk)?;
    let Preprocessing { width, height, .. } = options.shape.preprocessing;
    let graph = Graph::load(
        &trunk,
        "trunk",
        &[Input::F32("image", &[1, 3, height, width])],
        &[Output("features", &[1, options.shape.positions(), options.shape.channels])],
    )
    .with_context(|| options.trunk.display().to_string())?;
    cache.fill(&corpus.pictures, &graph, options.threads, stop)
}

fn prepared(picture: &Picture) -> PreparedPicture {
    PreparedPicture {
        name: picture.name.clone(),
        captions: picture.captions.clone(),
        split: picture.split,
        label: picture.label.clone(),
    }
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
    /// Opens the folder if it was made from the same trunk and pictures, else starts it anew.
    fn open(folder: &Path, mut index: Index, trunk: &[u8]) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let mut status = vec![0; index.pictures.len()];
        if let Ok(found) = read_index(folder) {
            let rejected = found.rejected.clone();
            if (Index { rejected: Vec::new(), ..found }) == index {
                let path = folder.join(STATUS);
                let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
                if bytes.len() == status.len() {
                    status = bytes;
                    index.rejected = rejected;
                }
            }
        }
        write(&folder.join(TRUNK), trunk)?;
        write(&folder.join(INDEX), &serde_json::to_vec_pretty(&index)?)?;
        write(&folder.join(STATUS), &status)?;
        let features = open_for_writing(&folder.join(FEATURES))?;
        features.set_len(index.file_length()).with_context(|| folder.join(FEATURES).display().to_string())?;
        let status_file = open_for_writing(&folder.join(STATUS))?;
        let rejected = std::mem::take(&mut index.rejected);
        let pending = (0..status.len()).filter(|&i| status[i] != DONE && status[i] != REJECTED).collect();
        Ok(Self {
            folder: folder.to_owned(),
            index,
            features,
            status: status_file,
            pending,
            rejected: Mutex::new(rejected),
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
        write(&self.folder.join(INDEX), &serde_json::to_vec_pretty(&self.index)?)?;
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
                    session.set(0, preprocessor.run(&image))?;
                    for view in 0..self.index.views {
                        if view == 1 {
                            session.set(0, &preprocessor.mirrored())?;
                        }
                        session.run()?;
                        extend_with_halves(&mut row, session.output(0)?);
                    }
                    let offset = (place * self.index.views * self.index.row_bytes()) as u64;
                    self.features
                        .write_all_at(&row, offset)
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
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .with_context(|| path.display().to_string())
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let write = || -> std::io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().with_context(|| path.display().to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bar(pictures: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} pictures  {per_sec}  {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(pictures).with_style(style)
}
