//! What a run needs to go on bit for bit, in one safetensors file; and the averaged parameters of every epoch.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::Context;
use candle_core::{DType, Device, Tensor};
use metalens_models::replace;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};

use super::config::Schedule;
use super::dataset::Dataset;
use super::validate::Validated;
use crate::captioner::{Parameters, Sizes};
use crate::evidence::Evidence;
use crate::features::Index;
use crate::optimiser::{AdamW, Memory};
use crate::vocabulary::TrainingVocabulary;

/// The file that `--resume` reads.
const LATEST: &str = "latest.safetensors";
/// The averaged parameters of the best epoch.
const BEST: &str = "best.safetensors";

/// The words, one a line.
const WORDS: &str = "words.txt";
/// The hash of the trunk that made the features.
const TRUNK: &str = "trunk.sha256";

/// What tells the words of captions.
const EVIDENCE: &str = "evidence.safetensors";

/// Where a run stands.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Epochs finished.
    pub epoch: usize,
    /// Steps taken in the epoch under way.
    pub step: usize,
    /// Loss and words of the epoch under way.
    pub loss: f64,
    pub words: f64,
    /// Seconds spent in the epoch under way.
    pub seconds: f64,
    /// One row an epoch.
    pub history: Vec<EpochRow>,
}

impl Progress {
    /// Whether all epochs are done, or too many have passed since the best one.
    pub fn is_finished(&self, schedule: &Schedule) -> bool {
        let mut best = 0;
        for (place, row) in self.history.iter().enumerate() {
            if row.validated.is_better_than(&self.history[best].validated) {
                best = place;
            }
        }
        let since_best = self.epoch.saturating_sub(best + 1);
        self.epoch >= schedule.epochs || schedule.patience.is_some_and(|patience| since_best >= patience)
    }
}

/// What an epoch brought.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochRow {
    /// From 1.
    pub epoch: usize,
    /// At its last step.
    pub learning_rate: f64,
    /// Per word, as the objective has it: smoothed cross-entropy with dropout, or that and negative rewards.
    pub training_loss: f64,
    /// Training time, without validation.
    pub seconds: f64,
    /// Training speed.
    pub pictures_per_second: f64,
    /// On the held-out pictures, with averaged parameters.
    #[serde(flatten)]
    pub validated: Validated,
}

/// A run's folder.
pub struct RunFolder(pub PathBuf);

impl RunFolder {
    /// Makes sure that a new run may begin here.
    pub(super) fn require_empty(&self) -> anyhow::Result<()> {
        let path = self.0.display();
        anyhow::ensure!(
            !self.0.join(LATEST).exists(),
            "{path}: holds a run already; go on with --resume, or name another folder"
        );
        let empty = std::fs::read_dir(&self.0).map_or(true, |mut entries| entries.next().is_none());
        anyhow::ensure!(
            empty,
            "{path}: holds files, and no checkpoint to go on from; empty it, or name another folder"
        );
        Ok(())
    }

    /// Keeps other trainers from the folder, as long as what is returned lives.
    ///
    /// # Errors
    /// When another one trains into it.
    pub fn hold(&self) -> anyhow::Result<File> {
        let path = self.0.display();
        let folder = File::open(&self.0).with_context(|| path.to_string())?;
        match folder.try_lock() {
            Err(TryLockError::WouldBlock) => {
                anyhow::bail!("{path}: another metalens-trainer trains into it; wait until it has ended")
            }
            // A file system without locks is no reason not to train.
            Ok(()) | Err(TryLockError::Error(_)) => Ok(folder),
        }
    }

    /// Writes everything that the run needs to go on.
    pub(super) fn save(
        &self,
        parameters: &Parameters,
        optimiser: &AdamW,
        progress: &Progress,
    ) -> anyhow::Result<()> {
        let mut tensors = Vec::new();
        for ((name, var), memory) in parameters.iter().zip(&optimiser.memory) {
            let shape = var.dims().to_vec();
            tensors.push((format!("parameter.{name}"), shape.clone(), var.flatten_all()?.to_vec1::<f32>()?));
            tensors.push((format!("first_moment.{name}"), shape.clone(), memory.first_moment.clone()));
            tensors.push((format!("second_moment.{name}"), shape.clone(), memory.second_moment.clone()));
            tensors.push((format!("average.{name}"), shape, memory.average.clone()));
        }
        let metadata = HashMap::from([
            ("progress".to_owned(), serde_json::to_string(progress)?),
            ("sizes".to_owned(), serde_json::to_string(&parameters.sizes)?),
            ("steps".to_owned(), optimiser.steps.to_string()),
        ]);
        write(&self.0.join(LATEST), tensors, metadata)
    }

    /// Notes the words of the run.
    pub(super) fn write_words(&self, vocabulary: &TrainingVocabulary) -> anyhow::Result<()> {
        self.write_text(WORDS, &(vocabulary.words().join("\n") + "\n"))
    }

    /// Keeps the run's evidence.
    pub(super) fn write_evidence(&self, evidence: &Evidence) -> anyhow::Result<()> {
        evidence.write(&self.0.join(EVIDENCE))
    }

    /// The run's evidence for so many views of pictures.
    ///
    /// # Errors
    /// When the folder holds none, or it is of other pictures.
    pub fn evidence(&self, views: usize) -> anyhow::Result<Evidence> {
        Evidence::read(&self.0.join(EVIDENCE), views)
    }

    /// Where the run's evidence may be: in its folder, or beside the checkpoints that it starts from.
    pub(super) fn evidence_or_of(&self, initial: &[PathBuf]) -> Vec<PathBuf> {
        let beside = initial.iter().map(|path| path.with_file_name(EVIDENCE));
        std::iter::once(self.0.join(EVIDENCE)).chain(beside).collect()
    }

    /// Notes which trunk made the features that the run learns from.
    pub(super) fn write_trunk(&self, index: &Index) -> anyhow::Result<()> {
        self.write_text(TRUNK, &format!("{}\n", index.trunk_sha256))
    }

    /// The words of the run.
    ///
    /// # Errors
    /// When the folder holds none.
    pub fn words(&self) -> anyhow::Result<TrainingVocabulary> {
        let path = self.0.join(WORDS);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(TrainingVocabulary::from_words(text.lines().map(str::to_owned).collect()))
    }

    /// Makes sure that the run learned from features of this trunk.
    ///
    /// # Errors
    /// When it did not; the message names both trunks.
    pub fn require_trunk(&self, index: &Index) -> anyhow::Result<()> {
        let path = self.0.join(TRUNK);
        let found = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        anyhow::ensure!(
            found.trim() == index.trunk_sha256,
            "{}: the run learned from features of trunk {}, the prepared folder now has those of {}",
            path.display(),
            found.trim(),
            index.trunk_sha256
        );
        Ok(())
    }

    /// Makes sure that trunk and words of the run are those that the data now gives.
    pub(super) fn require_same(&self, dataset: &Dataset) -> anyhow::Result<()> {
        self.require_trunk(dataset.features().index())?;
        self.require_words(dataset)
    }

    /// Makes sure that the words of the run are those that the data now gives.
    pub(super) fn require_words(&self, dataset: &Dataset) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.words()? == dataset.vocabulary,
            "{}: not the words that the training pictures now give; the prepared folder or vocabulary.min_count or \
             validation.pictures has changed",
            self.0.join(WORDS).display()
        );
        Ok(())
    }

    /// Reads what [`Self::save`] wrote.
    pub(super) fn load(&self, device: &Device) -> anyhow::Result<(Parameters, AdamW, Progress)> {
        let path = self.0.join(LATEST);
        let bytes = std::fs::read(&path)
            .with_context(|| format!("{}: no checkpoint to resume from", path.display()))?;
        load(&bytes, device).with_context(|| format!("{}: not a checkpoint of this version", path.display()))
    }

    /// Writes the averaged parameters of an epoch; of the best one twice.
    pub(super) fn save_average(&self, average: &Parameters, epoch: usize, best: bool) -> anyhow::Result<()> {
        self.write_parameters(&format!("epoch-{epoch:03}.safetensors"), average)?;
        if best {
            self.write_parameters(BEST, average)?;
        }
        Ok(())
    }

    fn write_parameters(&self, name: &str, parameters: &Parameters) -> anyhow::Result<()> {
        let tensors = parameters
            .iter()
            .map(|(name, var)| Ok((name.to_owned(), var.dims().to_vec(), var.flatten_all()?.to_vec1()?)))
            .collect::<candle_core::Result<_>>()?;
        write(&self.0.join(name), tensors, HashMap::new())
    }

    /// Writes a small text file whole or not at all.
    pub(super) fn write_text(&self, name: &str, text: &str) -> anyhow::Result<()> {
        Ok(replace(&self.0.join(name), text.as_bytes())?)
    }
}

/// The running averages as parameters.
pub(super) fn average(
    parameters: &Parameters,
    optimiser: &AdamW,
    device: &Device,
) -> candle_core::Result<Parameters> {
    let tensors = parameters
        .iter()
        .zip(&optimiser.memory)
        .map(|((name, var), memory)| {
            let tensor = Tensor::from_slice(&memory.average, var.shape(), var.device())?;
            Ok((name.to_owned(), tensor))
        })
        .collect::<candle_core::Result<_>>()?;
    Parameters::from_tensors(parameters.sizes, &tensors, DType::F32, device)
}

fn load(bytes: &[u8], device: &Device) -> anyhow::Result<(Parameters, AdamW, Progress)> {
    let (_, header) = SafeTensors::read_metadata(bytes)?;
    let text = header.metadata().as_ref().context("no metadata")?;
    let field = |name: &str| text.get(name).with_context(|| format!("no metadata field {name}"));
    let progress: Progress = serde_json::from_str(field("progress")?)?;
    let sizes: Sizes = serde_json::from_str(field("sizes")?)?;
    let steps = field("steps")?.parse()?;
    let file = SafeTensors::deserialize(bytes)?;
    let read = |name: &str| -> anyhow::Result<(Vec<usize>, Vec<f32>)> {
        let view = file.tensor(name).with_context(|| format!("no tensor {name}"))?;
        let data = view.data().as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
        Ok((view.shape().to_vec(), data))
    };
    let mut tensors = HashMap::new();
    for name in file.names() {
        if let Some(short) = name.strip_prefix("parameter.") {
            let (shape, data) = read(name)?;
            tensors.insert(short.to_owned(), Tensor::from_vec(data, shape, device)?);
        }
    }
    let parameters = Parameters::from_tensors(sizes, &tensors, DType::F32, device)?;
    let memory = parameters
        .iter()
        .map(|(name, _)| {
            Ok(Memory {
                first_moment: read(&format!("first_moment.{name}"))?.1,
                second_moment: read(&format!("second_moment.{name}"))?.1,
                average: read(&format!("average.{name}"))?.1,
            })
        })
        .collect::<anyhow::Result<_>>()?;
    Ok((parameters, AdamW { memory, steps }, progress))
}

type Named = (String, Vec<usize>, Vec<f32>);

fn write(path: &Path, tensors: Vec<Named>, metadata: HashMap<String, String>) -> anyhow::Result<()> {
    let raw: Vec<(String, Vec<usize>, Vec<u8>)> = tensors
        .into_iter()
        .map(|(name, shape, data)| (name, shape, data.iter().flat_map(|x| x.to_le_bytes()).collect()))
        .collect();
    let views = raw
        .iter()
        .map(|(name, shape, data)| Ok((name, TensorView::new(Dtype::F32, shape.clone(), data)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    let metadata = (!metadata.is_empty()).then_some(metadata);
    Ok(replace(path, &safetensors::serialize(views, metadata)?)?)
}
