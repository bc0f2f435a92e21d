//! Calibration on the device: samples are kept, the head is adapted beside captioning, and undone.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use metalens_models::Bundle;
use serde::Serialize;
use tokio::sync::watch;

use super::hub::{Head, Hub, lock};
use super::jpeg::jpeg;
use super::metrics::Kind;
use super::published::rfc3339;
use crate::adaptation::{self, CalibrationError, Learned};
use crate::calibrator::{Calibrator, Proof, SampleReport, Summary};
use crate::camera::FrameError;
use crate::language::spelled;
use crate::store::{Generation, NewSample, Sample, State, StateError, StateReader};
use crate::{CaptionerError, Options};

/// By how much a calibration stands behind captions for the processor.
const LATER: i32 = 10;

/// Why the workshop did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum WorkshopError {
    /// The state cannot be read or written, or has not what was asked for.
    #[error(transparent)]
    State(#[from] StateError),
    /// The bundle or the samples cannot be calibrated with, or that did not help.
    #[error(transparent)]
    Calibration(#[from] CaptionerError),
    /// A calibration is under way.
    #[error("a calibration is under way; ask again when it is done")]
    Busy,
    /// The caption of a sample has no word.
    #[error("caption: no word in {0:?}; say what the picture shows")]
    NoWord(String),
    /// No frame was looked at yet.
    #[error("nothing was seen yet; ask again in a second")]
    NothingSeen,
    /// The frame in sight is no whole picture.
    #[error("the frame in sight cannot be kept: {0}")]
    Frame(#[from] FrameError),
}

/// How calibration stands.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Standing {
    /// Whether one is under way.
    pub adapting: bool,
    /// What became of the last one since the start.
    pub outcome: Option<Outcome>,
    /// The same for people, on one line.
    pub message: Option<String>,
    /// The calibration in use; none is the bundle's own head.
    pub generation: Option<Generation>,
    /// What the last one did.
    pub last: Option<Summary>,
}

/// What became of a calibration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is in use.
    Committed,
    /// It did not help, or nothing can tell whether it does, and was not kept.
    Refused,
    /// It could not be made.
    Failed,
    /// The one before it is in use.
    Undone,
}

/// A sample, with what the last calibration since the start did to it.
#[derive(Clone, Debug, Serialize)]
pub struct SampleStanding {
    /// Its name.
    pub name: String,
    /// What was said of it, by people.
    pub captions: Vec<String>,
    /// Loss per word before; none before a calibration.
    pub loss_before: Option<f32>,
    /// Loss per word after; none before a calibration.
    pub loss_after: Option<f32>,
    /// What the device said of it after; none before a calibration.
    pub now_says: Option<String>,
}

/// Where the device learns.
pub struct Workshop {
    bundle: Bundle,
    /// What captions are made with.
    options: Options,
    folder: PathBuf,
    hub: Arc<Hub>,
    /// None while it cannot be opened, such as on a read-only medium.
    state: Mutex<Option<State>>,
    adapting: AtomicBool,
    standing: watch::Sender<Standing>,
    reports: Mutex<Vec<SampleReport>>,
    /// The caption of the sample that was kept last, since the start.
    last_label: Mutex<Option<String>>,
}

impl Workshop {
    /// Opens the state in `folder` and captions with what it holds. Where it cannot be opened the daemon captions all the
    /// same, and samples are refused until it can. What was learned with another bundle is learned again from the samples,
    /// beside captioning.
    #[must_use]
    pub fn open(bundle: Bundle, options: Options, folder: PathBuf, hub: Arc<Hub>) -> Arc<Self> {
        let new = Arc::new(Self {
            bundle,
            options,
            folder,
            hub,
            state: Mutex::new(None),
            adapting: AtomicBool::new(false),
            standing: watch::Sender::new(Standing::default()),
            reports: Mutex::default(),
            last_label: Mutex::default(),
        });
        if let Err(error) = new.with_state(|_| Ok(())) {
            new.hub.metrics.error(Kind::disk);
            tracing::warn!("no samples can be kept: {error}");
        }
        if new.load() {
            new.learn_again();
        }
        new
    }

    /// Adapts to the samples with a bundle that has not seen them yet.
    fn learn_again(self: &Arc<Self>) {
        let samples = self.kept().map_or(0, |samples| samples.len());
        if samples == 0 {
            tracing::warn!("nothing can be learned again: no samples are kept");
        } else if self.adapt(Proof::Required).is_ok() {
            tracing::info!("learns again from {samples} samples, with the bundle that is here now");
        }
    }

    /// Captions with what the state says is in use; says whether all of that is another bundle's.
    fn load(&self) -> bool {
        let loaded = StateReader::open(&self.folder)
            .map_err(WorkshopError::from)
            .and_then(|state| Ok(Learned::of_state(&self.bundle, &state)?));
        let mut is_foreign = false;
        let head = match loaded {
            Ok(loaded) => {
                is_foreign = loaded.is_foreign();
                for warning in &loaded.warnings {
                    tracing::warn!("{warning}");
                }
                loaded.head.map_or_else(Head::default, |head| Head {
                    learned: Some(head.payload),
                    generation: Some(head.generation),
                })
            }
            Err(error) => {
                tracing::warn!("captions without a calibration: {error}");
                Head::default()
            }
        };
        self.use_head(head);
        is_foreign
    }

    fn use_head(&self, head: Head) {
        self.standing.send_modify(|standing| standing.generation = head.generation);
        self.hub.use_head(head);
    }

    fn with_state<R>(
        &self,
        act: impl FnOnce(&mut State) -> Result<R, StateError>,
    ) -> Result<R, WorkshopError> {
        let mut state = lock(&self.state);
        let state = match &mut *state {
            Some(state) => state,
            closed => closed.insert(State::open(&self.folder)?),
        };
        act(state).map_err(|error| {
            self.hub.metrics.error(Kind::disk);
            error.into()
        })
    }

    /// The samples, in the order in which they were kept.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn samples(&self) -> Result<Vec<SampleStanding>, WorkshopError> {
        let samples = self.kept()?;
        let reports = lock(&self.reports);
        let standing = |sample: Sample| {
            let report = reports.iter().find(|report| report.name == sample.name);
            SampleStanding {
                name: sample.name,
                captions: sample.captions,
                loss_before: report.map(|report| report.losses.before),
                loss_after: report.map(|report| report.losses.after),
                now_says: report.map(|report| report.caption.clone()),
            }
        };
        Ok(samples.into_iter().map(standing).collect())
    }

    fn kept(&self) -> Result<Vec<Sample>, WorkshopError> {
        match StateReader::open(&self.folder) {
            Ok(state) => Ok(state.samples()?),
            Err(StateError::NoFolder(_)) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    /// The picture of a sample.
    ///
    /// # Errors
    /// When there is none of that name, or it cannot be read.
    pub fn picture(&self, name: &str) -> Result<Option<Vec<u8>>, WorkshopError> {
        let sample = self.kept()?.into_iter().find(|sample| sample.name == name);
        Ok(sample.and_then(|sample| std::fs::read(sample.path).ok()))
    }

    /// Keeps a picture's file and its caption, and tells the name under which that is. Once it returns, the sample survives
    /// a power cut.
    ///
    /// # Errors
    /// When the caption has no word, or the sample cannot be written; the samples are then what they were.
    pub fn keep(&self, name: &str, picture: &[u8], caption: &str) -> Result<String, WorkshopError> {
        if spelled(caption).is_empty() {
            return Err(WorkshopError::NoWord(caption.to_owned()));
        }
        let captions = [caption.to_owned()];
        let name = self.with_state(|state| {
            state.keep_sample(&NewSample { name, bytes: picture, captions: &captions })
        })?;
        *lock(&self.last_label) = Some(caption.to_owned());
        Ok(name)
    }

    /// The caption of the sample that was kept last, since the start.
    #[must_use]
    pub fn last_label(&self) -> Option<String> {
        lock(&self.last_label).clone()
    }

    /// The same with the frame in sight.
    ///
    /// # Errors
    /// As [`Self::keep`], and when nothing was seen yet.
    pub fn keep_seen(&self, caption: &str) -> Result<String, WorkshopError> {
        let frame = self.hub.seen().ok_or(WorkshopError::NothingSeen)?;
        self.keep(&sample_name(), &jpeg(&frame)?, caption)
    }

    /// Removes a sample.
    ///
    /// # Errors
    /// When there is none of that name, or it cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), WorkshopError> {
        self.with_state(|state| state.remove_sample(name))
    }

    /// How calibration stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        self.standing.borrow().clone()
    }

    /// How calibration stands, as it changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Goes back to the calibration before the one in use, or to the bundle's own head.
    ///
    /// # Errors
    /// When there is nothing to undo, or the state cannot be written.
    pub fn undo(&self) -> Result<Option<Generation>, WorkshopError> {
        let generation = self.with_state(State::undo)?;
        self.load();
        self.finish(Outcome::Undone, "the calibration before it is in use".to_owned(), None);
        Ok(generation)
    }

    /// Starts to adapt the head to the samples, on a thread of its own.
    ///
    /// # Errors
    /// When a calibration is under way.
    pub fn adapt(self: &Arc<Self>, proof: Proof) -> Result<(), WorkshopError> {
        if self.adapting.swap(true, Ordering::AcqRel) {
            return Err(WorkshopError::Busy);
        }
        self.standing.send_modify(|standing| standing.adapting = true);
        self.hub.health_mut(|health| (health.calibrating, health.refused) = (true, false));
        let workshop = self.clone();
        std::thread::spawn(move || {
            // Captions come first. Of this thread alone; where that is not allowed, they share.
            let _ = rustix::process::setpriority_process(None, LATER);
            let (outcome, message, summary) = workshop.adapt_now(proof);
            workshop.adapting.store(false, Ordering::Release);
            workshop.finish(outcome, message, summary);
        });
        Ok(())
    }

    fn finish(&self, outcome: Outcome, message: String, summary: Option<Summary>) {
        let adapting = self.adapting.load(Ordering::Acquire);
        tracing::info!("calibration {outcome:?}: {message}");
        self.hub.health_mut(|health| {
            health.calibrating = adapting;
            health.refused = matches!(outcome, Outcome::Refused | Outcome::Failed);
        });
        self.standing.send_modify(|standing| {
            standing.adapting = adapting;
            standing.outcome = Some(outcome);
            standing.message = Some(message);
            if outcome != Outcome::Undone {
                standing.last = summary;
            }
        });
    }

    fn adapt_now(&self, proof: Proof) -> (Outcome, String, Option<Summary>) {
        let failed = |error: WorkshopError| {
            use CalibrationError::OnePicture;
            use CaptionerError::Calibration;
            // It could be made, if somebody insists.
            let refused = matches!(error, WorkshopError::Calibration(Calibration(OnePicture)));
            (if refused { Outcome::Refused } else { Outcome::Failed }, error.to_string(), None)
        };
        let calibrated = self.kept().and_then(|samples| {
            let samples: Vec<adaptation::Sample> = samples.into_iter().map(Into::into).collect();
            if samples.is_empty() {
                return Err(CaptionerError::from(CalibrationError::NoSamples).into());
            }
            Ok(Calibrator::open_with(&self.bundle, self.options)?.calibrate(&samples, proof)?)
        });
        let calibration = match calibrated {
            Ok(calibration) => calibration,
            Err(error) => return failed(error),
        };
        let report = &calibration.report;
        lock(&self.reports).clone_from(&report.samples);
        if let Err(error) = report.accept(proof) {
            return (Outcome::Refused, error.to_string(), Some(report.summary(None)));
        }
        match self.with_state(|state| state.commit(&self.bundle.manifest().id, &calibration.payload)) {
            Ok(generation) => {
                self.use_head(Head {
                    learned: Some(calibration.learned.clone()),
                    generation: Some(generation),
                });
                let message = format!("kept as calibration {generation}");
                (Outcome::Committed, message, Some(report.summary(Some(generation))))
            }
            Err(error) => failed(error),
        }
    }
}

/// The file name of a sample that is kept now.
#[must_use]
pub fn sample_name() -> String {
    format!("{}.jpg", rfc3339(SystemTime::now()).replace([':', '.'], "-"))
}

impl From<Sample> for adaptation::Sample {
    fn from(Sample { name, path, captions }: Sample) -> Self {
        Self { name, path, captions }
    }
}
