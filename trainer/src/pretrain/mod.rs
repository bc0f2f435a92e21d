//! Training of projection, decoder and head on cached features, by cross-entropy or by self-critical rewards. Where what is
//! cached comes before the trunk's last blocks, these are learned too.
//!
//! A batch is cut into shards, one a thread; each shard's gradient is computed on one thread from start to end and the
//! sums are added in the shards' order, so a run is a function of its configuration and data, on one machine bit for
//! bit. What is random is drawn from generators keyed by seed, purpose, epoch, step and shard: going on after an
//! interruption needs the tensors and a place, and nothing else.

mod checkpoint;
mod concepts;
pub mod config;
mod curve;
mod dataset;
mod initial;
mod self_critical;
mod speak;
mod teachers;
mod validate;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::Context;
use candle_core::{DType, Tensor};
use indicatif::{ProgressBar, ProgressStyle};
use rand_chacha::ChaCha8Rng;
use rayon::ThreadPool;

pub use checkpoint::{EpochRow, RunFolder};
pub use validate::Validated;

use crate::captioner::{
    Batch, Captioner, ConceptRows, Dropout, NO_PICTURE, PackedCaptions, Parameters, Sizes, ops,
};
use crate::encoder::{FEATURE_SIZE, learned};
use crate::features::Features;
use crate::optimiser::{self, AdamW, Rates};
use crate::vocabulary::{END, START};
use checkpoint::Progress;
use config::{Config, Objective};
use dataset::{Dataset, generator, purpose};
use initial::read_checkpoints;
use self_critical::Critic;
use speak::speak;
use teachers::Teachers;

/// Whether a run starts anew or goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// From fresh parameters; a folder that holds a run already is refused.
    Anew,
    /// From the folder's latest checkpoint, with the configuration that stands there.
    Resume,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All epochs are done, or as many as patience allowed.
    Finished,
    /// `stop` was set; the checkpoint holds everything.
    Interrupted,
}

/// Trains as `config` says, writing checkpoints, words and curves into `folder`; stops at the next step when `stop` is
/// set.
///
/// # Errors
/// When data or checkpoint cannot be read, or the folder cannot be written.
pub fn run(config: &Config, folder: &Path, start: Start, stop: &AtomicBool) -> anyhow::Result<Outcome> {
    let features = Features::open(&config.data)?;
    let folder = RunFolder(folder.to_owned());
    let dataset = Dataset::new(features, config)?;
    match start {
        Start::Anew => folder.require_empty()?,
        Start::Resume => folder.require_same(&dataset)?,
    }
    let dataset = dataset.with_concepts(config, &folder.evidence_or_of(&config.initial), stop)?;
    let (mut trainer, _held) = match start {
        Start::Anew => Trainer::anew(config, &dataset, &folder)?,
        Start::Resume => {
            let held = folder.hold()?;
            (Trainer::resume(config, &dataset, &folder)?, held)
        }
    };
    while !trainer.progress.is_finished(&config.schedule) {
        if trainer.epoch(stop)? == Outcome::Interrupted {
            folder.save(&trainer.parameters, &trainer.optimiser, &trainer.progress)?;
            return Ok(Outcome::Interrupted);
        }
        trainer.finish_epoch(&folder)?;
    }
    Ok(Outcome::Finished)
}

/// Steps that were timed.
pub struct Timed {
    /// The words of the run.
    pub words: Vec<String>,
    /// How long every step took.
    pub seconds: Vec<f64>,
    /// The mean number of concepts of a picture's caption, and of a caption without a picture, in a step.
    pub concepts: [f64; 2],
}

/// Takes `steps` steps from fresh parameters and writes nothing.
///
/// # Errors
/// When the data cannot be read or hold too few pictures.
pub fn time_steps(config: &Config, steps: usize) -> anyhow::Result<Timed> {
    let dataset = Dataset::new(Features::open(&config.data)?, config)?;
    let dataset = dataset.with_concepts(config, &[], &AtomicBool::new(false))?;
    let mut trainer = Trainer::fresh(config, &dataset)?;
    let per_step = config.schedule.pictures;
    anyhow::ensure!(steps <= trainer.steps_per_epoch(), "an epoch has {} steps", trainer.steps_per_epoch());
    let order = dataset.order(config, 0);
    let mut seconds = Vec::with_capacity(steps);
    for samples in order.chunks_exact(per_step).take(steps) {
        let began = Instant::now();
        trainer.step(samples)?;
        trainer.progress.step += 1;
        seconds.push(began.elapsed().as_secs_f64());
    }
    let rng = |purpose| generator(config.seed, purpose, 0, 0, 0);
    let samples = &order[..per_step.min(order.len())];
    let (batch, _) = dataset.shard(samples, config, &mut rng(purpose::BATCH), &mut rng(purpose::CONCEPTS))?;
    let texts = dataset.texts(config.schedule.texts, &mut rng(purpose::TEXTS));
    let concepts = [Some(batch), texts].map(|batch| {
        let rows = batch.and_then(|batch| batch.concepts).unwrap_or_default();
        rows.concepts.len() as f64 / rows.of_row.len().max(1) as f64
    });
    Ok(Timed { words: dataset.vocabulary.words().to_vec(), seconds, concepts })
}

struct Trainer<'a> {
    config: &'a Config,
    dataset: &'a Dataset,
    parameters: Parameters,
    optimiser: AdamW,
    progress: Progress,
    /// Rewards captions, where the objective asks for it.
    critic: Option<Critic>,
    /// Whom it learns from beside people, where there is somebody.
    teachers: Option<Teachers>,
    /// One pool of one thread a shard: inside it candle's products stay on that thread.
    threads: Vec<ThreadPool>,
}

/// What one shard contributes.
struct Shard {
    /// Summed cross-entropy.
    loss: f64,
    /// Words that it is summed over.
    words: f64,
    /// One flat vector a parameter: the gradient of `loss`.
    gradients: Vec<Vec<f32>>,
}

impl<'a> Trainer<'a> {
    /// The trainer of a new run, and what keeps others from its folder.
    fn anew(
        config: &'a Config,
        dataset: &'a Dataset,
        folder: &RunFolder,
    ) -> anyhow::Result<(Self, std::fs::File)> {
        let path = &folder.0;
        folder.require_empty()?;
        let trainer = Self::fresh(config, dataset)?;
        std::fs::create_dir_all(path).with_context(|| path.display().to_string())?;
        let held = folder.hold()?;
        // Another trainer may have begun here meanwhile.
        folder.require_empty()?;
        folder.write_text("run.toml", &toml::to_string(config)?)?;
        folder.write_words(&dataset.vocabulary)?;
        folder.write_trunk(dataset.features().index())?;
        if let Some(concepts) = dataset.concepts() {
            folder.write_evidence(&concepts.evidence)?;
        }
        let pictures = &dataset.features().index().pictures;
        let held_out: String =
            dataset.validation.iter().map(|&place| format!("{}\n", pictures[place].name)).collect();
        folder.write_text("held-out.txt", &held_out)?;
        // From here on the run can be resumed.
        folder.save(&trainer.parameters, &trainer.optimiser, &trainer.progress)?;
        Ok((trainer, held))
    }

    /// Before the first step.
    fn fresh(config: &'a Config, dataset: &'a Dataset) -> anyhow::Result<Self> {
        let model = &config.model;
        let trunk = &dataset.features().index().trunk;
        let sizes = Sizes {
            trunk: if trunk.cut.is_some() { FEATURE_SIZE } else { trunk.channels },
            cut: trunk.cut,
            token: model.token,
            key: model.key,
            state: model.state,
            word: model.word,
            hidden: model.hidden,
            vocabulary: dataset.vocabulary.len(),
            concepts: config.concepts.is_some(),
        };
        let parameters = match config.initial.as_slice() {
            [] => Parameters::new(sizes, config.seed, DType::F32, &dataset.device)?
                .with_trunk(|| config.published_trunk())?,
            paths => read_checkpoints(paths, dataset).context("initial")?,
        };
        anyhow::ensure!(
            parameters.sizes == sizes,
            "initial: the checkpoint has other widths or words than this run: {:?}, needed {sizes:?}",
            parameters.sizes
        );
        if config.concepts.as_ref().is_some_and(|asked| !asked.pointing) {
            // softplus of this is nothing, and it rests.
            let off = Tensor::new(&[-20.0_f32, 0.0], &dataset.device)?;
            for (name, var) in parameters.iter() {
                match name {
                    "pointer.bias" => var.set(&off)?,
                    "pointer.weight" => var.set(&var.zeros_like()?)?,
                    _ => {}
                }
            }
        }
        let optimiser = AdamW::new(parameters.iter().map(|(_, var)| var))?;
        Self::new(config, dataset, parameters, optimiser, Progress::default())
    }

    fn resume(config: &'a Config, dataset: &'a Dataset, folder: &RunFolder) -> anyhow::Result<Self> {
        folder.require_same(dataset)?;
        let (parameters, optimiser, progress) = folder.load(&dataset.device)?;
        Self::new(config, dataset, parameters, optimiser, progress)
    }

    fn new(
        config: &'a Config,
        dataset: &'a Dataset,
        parameters: Parameters,
        optimiser: AdamW,
        progress: Progress,
    ) -> anyhow::Result<Self> {
        let threads = (0..config.shards)
            .map(|shard| {
                rayon::ThreadPoolBuilder::new()
                    .num_threads(1)
                    // candle walks the graph recursively, one frame a node.
                    .stack_size(64 << 20)
                    .thread_name(move |_| format!("shard-{shard}"))
                    .build()
            })
            .collect::<Result<_, _>>()?;
        let critic = (config.objective == Objective::SelfCritical).then(|| Critic::new(dataset));
        let teachers =
            config.distillation.as_ref().map(|asked| Teachers::open(asked, dataset)).transpose()?;
        Ok(Self { config, dataset, parameters, optimiser, progress, critic, teachers, threads })
    }

    fn steps_per_epoch(&self) -> usize {
        self.dataset.training_pictures() / self.config.schedule.pictures
    }

    fn learning_rate(&self) -> f64 {
        let schedule = &self.config.schedule;
        let total = (schedule.epochs * self.steps_per_epoch()) as f64;
        optimiser::learning_rate(
            schedule.peak_learning_rate,
            schedule.warm_up,
            self.optimiser.steps as f64 / total,
        )
    }

    /// Takes the steps left in the epoch under way.
    fn epoch(&mut self, stop: &AtomicBool) -> anyhow::Result<Outcome> {
        let epoch = self.progress.epoch;
        let order = self.dataset.order(self.config, epoch);
        let per_step = self.config.schedule.pictures;
        let bar = bar((self.steps_per_epoch() * per_step) as u64, epoch + 1, self.config.schedule.epochs);
        bar.set_position((self.progress.step * per_step) as u64);
        bar.reset_eta();
        let spent = self.progress.seconds;
        let begun = Instant::now();
        while self.progress.step < self.steps_per_epoch() {
            if stop.load(Ordering::Relaxed) {
                bar.abandon();
                return Ok(Outcome::Interrupted);
            }
            let samples = &order[self.progress.step * per_step..][..per_step];
            self.step(samples)?;
            self.progress.step += 1;
            self.progress.seconds = spent + begun.elapsed().as_secs_f64();
            bar.set_message(format!("{:.3}", self.progress.loss / self.progress.words));
            bar.inc(per_step as u64);
        }
        bar.finish_and_clear();
        Ok(Outcome::Finished)
    }

    fn step(&mut self, samples: &[usize]) -> anyhow::Result<()> {
        let learning_rate = self.learning_rate();
        let per_shard = samples.len().div_ceil(self.threads.len());
        let this = &*self;
        let shards: Vec<Shard> = std::thread::scope(|scope| {
            let running: Vec<_> = samples
                .chunks(per_shard)
                .zip(&this.threads)
                .enumerate()
                .map(|(shard, (samples, pool))| {
                    scope.spawn(move || pool.install(|| this.shard(samples, shard)))
                })
                .collect();
            running
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect::<anyhow::Result<_>>()
        })?;
        let words: f64 = shards.iter().map(|shard| shard.words).sum();
        self.progress.loss += shards.iter().map(|shard| shard.loss).sum::<f64>();
        self.progress.words += words;
        let mut shards = shards.into_iter();
        let mut gradients = shards.next().map(|shard| shard.gradients).unwrap_or_default();
        for shard in shards {
            for (sum, gradient) in gradients.iter_mut().zip(&shard.gradients) {
                sum.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g);
            }
        }
        let scale = 1.0 / words.max(1.0) as f32;
        gradients.iter_mut().flatten().for_each(|g| *g *= scale);
        let schedule = &self.config.schedule;
        let rates = Rates {
            learning_rate,
            weight_decay: schedule.weight_decay,
            clip: schedule.clip,
            average: schedule.average,
        };
        let share = self.config.trunk.clone().unwrap_or_default().learning_rate;
        let parameters = self.parameters.iter();
        let parameters =
            parameters.map(|(name, var)| (var, if name.starts_with(learned::PREFIX) { share } else { 1.0 }));
        let norm = self.optimiser.step_by_shares(parameters, &gradients, rates)?;
        anyhow::ensure!(
            norm.is_finite(),
            "the gradient is not finite at epoch {}, step {}; lower schedule.peak_learning_rate",
            self.progress.epoch + 1,
            self.progress.step
        );
        Ok(())
    }

    fn shard(&self, samples: &[usize], shard: usize) -> anyhow::Result<Shard> {
        let config = self.config;
        let captioner = Captioner::behind_trunk(&self.parameters);
        let rng = |purpose| generator(config.seed, purpose, self.progress.epoch, self.progress.step, shard);
        let (mut batch_rng, mut of_concepts) = (rng(purpose::BATCH), rng(purpose::CONCEPTS));
        let (cached, views) = self.dataset.shard(samples, config, &mut batch_rng, &mut of_concepts)?;
        let features = match &cached.features {
            Some(features) => Some(Captioner::new(&self.parameters).trunk(features)?),
            None => None,
        };
        let batch = Batch { features, ..cached.clone() };
        let targets = &batch.captions.targets;
        let weights = validate::target_weights(targets);
        let mut words = weights.iter().sum::<f32>();
        let mut dropout = Some(Dropout::new(config.regularisation.dropout, rng(purpose::DROPOUT)));
        let smoothing = config.regularisation.label_smoothing;
        let mut loss = match &self.teachers {
            None => captioner.loss(&batch, &weights, smoothing, &mut dropout)?,
            Some(teachers) => {
                let logits = captioner.teach(&batch, &mut dropout)?;
                let loss = ops::cross_entropy(&logits, targets, &weights, smoothing)?;
                (loss + teachers.correction(&cached, &logits, &weights, smoothing)?)?
            }
        };
        // As many texts a picture as the whole batch has.
        let texts = config.schedule.texts * samples.len() / config.schedule.pictures;
        if let Some(texts) = self.dataset.texts(texts, &mut rng(purpose::TEXTS)) {
            let weights = validate::target_weights(&texts.captions.targets);
            loss = (loss + captioner.loss(&texts, &weights, smoothing, &mut dropout)?)?;
            words += weights.iter().sum::<f32>();
        }
        if let (Some(critic), Some(features)) = (&self.critic, batch.features.clone()) {
            let mut rng = rng(purpose::DRAW);
            let concepts = self.dataset.raised_concepts(samples, &views, &mut rng);
            let (drawn, weights) = self.criticised(critic, samples, features, concepts, &mut rng)?;
            let reward = captioner.loss(&drawn, &weights, 0.0, &mut None)?;
            // Per word, the two stand in the ratio of the configuration.
            let ratio = config.regularisation.likelihood * weights.len() as f64 / f64::from(words);
            loss = (reward + (loss * ratio)?)?;
            words = weights.len() as f32;
        }
        let points = config.concepts.as_ref().is_none_or(|asked| asked.pointing);
        let rests = |name: &str| !points && name.starts_with("pointer.");
        let store = loss.backward()?;
        let gradients = self
            .parameters
            .iter()
            .map(|(name, var)| match store.get(var.as_tensor()).filter(|_| !rests(name)) {
                Some(gradient) => Ok(gradient.flatten_all()?.to_vec1()?),
                // Every picture of the batch may be shown, and there may be no concept.
                None if name == NO_PICTURE
                    || name.starts_with("pointer.")
                    || name.starts_with("concept.") =>
                {
                    Ok(vec![0.0; var.elem_count()])
                }
                None => anyhow::bail!("no gradient reaches {name}"),
            })
            .collect::<anyhow::Result<_>>()?;
        Ok(Shard { loss: f64::from(loss.to_scalar::<f32>()?), words: f64::from(words), gradients })
    }

    /// Captions that the captioner draws for its pictures, and how much each of their words is to be encouraged.
    fn criticised(
        &self,
        critic: &Critic,
        samples: &[usize],
        features: Tensor,
        concepts: Option<ConceptRows>,
        rng: &mut ChaCha8Rng,
    ) -> anyhow::Result<(Batch, Vec<f32>)> {
        let per_picture = self.config.schedule.captions;
        let max_words = self.config.vocabulary.max_words;
        let captioner = Captioner::behind_trunk(&self.parameters);
        let drawn = speak(&captioner, &features, concepts.as_ref(), per_picture, max_words, |logits| {
            self_critical::draw_word(logits, rng)
        })?;
        let advantages: Vec<f32> = samples
            .iter()
            .zip(drawn.chunks_exact(per_picture))
            .flat_map(|(&sample, captions)| critic.advantages(sample, captions, &self.dataset.vocabulary))
            .collect();
        let captions: Vec<&[u32]> = drawn.iter().map(Vec::as_slice).collect();
        let packed = PackedCaptions::new(&captions, START, END);
        let weights = self_critical::word_weights(&packed, &advantages);
        let picture_of_row: Vec<u32> = (0..drawn.len()).map(|row| (row / per_picture) as u32).collect();
        let mut batch = Batch::new(features, &picture_of_row, packed);
        batch.concepts = concepts.map(|rows| ConceptRows { of_row: rows.of(&batch.picture_of_row), ..rows });
        Ok((batch, weights))
    }

    /// Validates the running average, and writes checkpoints and curves.
    fn finish_epoch(&mut self, folder: &RunFolder) -> anyhow::Result<()> {
        let average = checkpoint::average(&self.parameters, &self.optimiser, &self.dataset.device)?;
        let max_words = self.config.vocabulary.max_words;
        let validated = validate::validate(&average, self.dataset, max_words)?;
        let progress = &mut self.progress;
        let best = progress.history.iter().all(|row| validated.is_better_than(&row.validated));
        let seconds = progress.seconds;
        let row = EpochRow {
            epoch: progress.epoch + 1,
            learning_rate: 0.0,
            training_loss: progress.loss / progress.words,
            seconds,
            pictures_per_second: (progress.step * self.config.schedule.pictures) as f64 / seconds,
            validated,
        };
        let row = EpochRow { learning_rate: self.learning_rate(), ..row };
        let line = format!(
            "epoch {:3}  loss {:.3}  validation {:.3}  BLEU-4 {:.3}  CIDEr {:.3}  {:.0} pictures/s{}",
            row.epoch,
            row.training_loss,
            validated.loss,
            validated.scores.bleu4,
            validated.scores.cider,
            row.pictures_per_second,
            if best { "  *" } else { "" }
        );
        // Training goes on when nobody reads any more: the curve has the same numbers.
        let _ = metalens::cli::say(line);
        let epoch = row.epoch;
        let history = std::mem::take(&mut self.progress.history);
        self.progress = Progress { epoch, history, ..Progress::default() };
        self.progress.history.push(row);
        folder.save_average(&average, epoch, best)?;
        folder.write_text("curve.csv", &curve::csv(&self.progress.history))?;
        folder.write_text("curve.svg", &curve::svg(&self.progress.history)?)?;
        folder.save(&self.parameters, &self.optimiser, &self.progress)
    }
}

fn bar(pictures: u64, epoch: usize, epochs: usize) -> ProgressBar {
    let template = format!(
        "epoch {epoch}/{epochs} {{bar:30}} {{pos}}/{{len}} pictures  {{per_sec}}  {{eta}} left  loss {{msg}}"
    );
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(pictures).with_style(style)
}
