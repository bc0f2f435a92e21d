//! `metalens-trainer compare`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use indicatif::ProgressBar;
use metalens::adaptation::Initialization;
use metalens::cli::{BundleArgument, say};
use metalens_trainer::corpus::{self, Format};
use metalens_trainer::meta::{
    Algorithm, Body, Encodings, Gallery, Learned, MetaConfig, Method, OuterConfig, Protocol, Reached,
    meta_train, table,
};
use metalens_trainer::parallel::bar_style;
use metalens_trainer::tasks::{Pool, Task, TaskFile, TaskPicture};

use super::protocol::{MethodName, pictures_of};

/// Meta-trains a bundle's head with each algorithm in turn, and prints what each reaches on tasks beside the baselines.
#[derive(clap::Args)]
pub struct Arguments {
    /// The pre-trained bundle to start from.
    #[command(flatten)]
    bundle: BundleArgument,
    /// The configuration of `meta-train`; its algorithm and what it says of evidence are not used.
    #[arg(long)]
    config: PathBuf,
    /// What is compared.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["maml", "maml-plus-plus", "fomaml", "meta-sgd", "reptile"])]
    algorithms: Vec<Name>,
    /// Outer steps of each; the configuration's where not given.
    #[arg(long)]
    iterations: Option<usize>,
    /// Files of tasks, which the `tasks` command wrote.
    #[arg(long, required = true, value_delimiter = ',', value_name = "FILE")]
    tasks: Vec<PathBuf>,
    /// The tasks' corpus.
    #[arg(long)]
    data: PathBuf,
    /// How the corpus is written: flickr, karpathy, coco or tsv.
    #[arg(long)]
    format: Format,
    /// Where the outer loops are saved, a folder each; the same command goes on from there.
    #[arg(long)]
    run: PathBuf,
    /// Write all figures into this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Algorithms by their names on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Name {
    /// Exact second order; the step sizes stay as they are.
    Maml,
    /// The same, and a learned step size for each step and layer.
    MamlPlusPlus,
    /// First order, and such step sizes.
    Fomaml,
    /// Exact second order, and a step size for each parameter on top of these.
    MetaSgd,
    /// The mean of adapted parameters; the step sizes stay as they are.
    Reptile,
}

impl Name {
    fn configured(self, config: &MetaConfig, iterations: Option<usize>) -> MetaConfig {
        let (algorithm, learns_sizes) = match self {
            Self::Maml => (Algorithm::Maml, false),
            Self::MamlPlusPlus => (Algorithm::Maml, true),
            Self::Fomaml => (Algorithm::Fomaml, true),
            Self::MetaSgd => (Algorithm::MetaSgd, true),
            Self::Reptile => (Algorithm::Reptile, false),
        };
        let outer = OuterConfig {
            algorithm,
            iterations: iterations.unwrap_or(config.outer.iterations),
            number_rate: if learns_sizes { config.outer.number_rate } else { 0.0 },
            ..config.outer
        };
        MetaConfig { outer, evidence: None, ..config.clone() }
    }

    fn text(self) -> String {
        clap::ValueEnum::to_possible_value(&self)
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// What an algorithm led to.
struct Trained {
    name: String,
    initialization: Initialization<f32>,
    /// Where the schedule does not hold all of the inner loop.
    inner_loop: Option<Learned>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let config = MetaConfig::read(&arguments.config)?;
    anyhow::ensure!(config.places.is_some(), "{}: places: needed to learn from", arguments.config.display());
    let body = Body::open(&arguments.bundle.folder()?)?;
    let own = Initialization::of_bundle(body.bundle())
        .context("compare: needs a bundle that adapts, whose detectors and ordinary pictures all use")?;
    let stop = super::stop_on_ctrl_c()?;
    let mut all = Vec::new();
    for &name in &arguments.algorithms {
        say(format_args!("meta-training with {}", name.text()))?;
        let config = name.configured(&config, arguments.iterations);
        let folder = arguments.run.join(name.text());
        super::meta_train::claim(&folder, &config, &body)?;
        let trained = meta_train(&body, &config, &folder, &stop)?;
        let mut schedule = trained.schedule;
        let places = schedule.familiarity;
        schedule.familiarity = own.schedule.familiarity;
        (schedule.familiarity.slope, schedule.familiarity.threshold) = (places.slope, places.threshold);
        all.push(Trained {
            name: name.text(),
            initialization: Initialization { head: trained.head, schedule, ..own.clone() },
            inner_loop: trained.outer.filter(|_| name == Name::MetaSgd),
        });
    }
    let mut figures = BTreeMap::new();
    for file in &arguments.tasks {
        let reached = tried(arguments, &body, &own, &all, file, &stop)?;
        say(format_args!("\n{}", file.display()))?;
        say(table(&reached))?;
        figures.insert(file.display().to_string(), reached);
    }
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&figures)?;
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// What baselines and algorithms reach on the tasks of a file.
fn tried(
    arguments: &Arguments,
    body: &Body,
    own: &Initialization<f32>,
    all: &[Trained],
    file: &Path,
    stop: &AtomicBool,
) -> anyhow::Result<Vec<Reached>> {
    let corpus = corpus::read(&arguments.data, arguments.format)?;
    let tasks = TaskFile::read(file)?;
    let pictures = pictures_of(&tasks, &corpus);
    let pool = Pool::new(pictures.iter().map(|&picture| TaskPicture::from(picture)));
    let tasks: Vec<Task> = tasks.resolve(&pool)?;
    let files: Vec<PathBuf> = pictures.iter().map(|picture| picture.path.clone()).collect();
    let encodings = body.encode(&files, stop)?;
    let baselines = [MethodName::Before, MethodName::Nearest, MethodName::Memory, MethodName::Pretrained];
    let baselines: Vec<Method> = baselines.into_iter().flat_map(MethodName::methods).collect();
    let trials = tasks.len() * (baselines.len() + all.len());
    let bar = ProgressBar::new(trials as u64).with_style(bar_style("trials"));
    let one = |encodings: Encodings, initialization: &Initialization<f32>, inner_loop, methods: &[Method]| {
        let gallery = Gallery::new(body, &initialization.head, encodings)?;
        let protocol = Protocol {
            body,
            gallery: &gallery,
            pool: &pool,
            tasks: &tasks,
            ordinary: &[],
            ordinary_tasks: 0,
            inner_loop,
        };
        protocol.run(initialization, methods, || {
            bar.inc(1);
            anyhow::ensure!(!stop.load(Ordering::Relaxed), "interrupted");
            Ok(())
        })
    };
    let mut reached = one(encodings.clone(), own, None, &baselines)?;
    for Trained { name, initialization, inner_loop } in all {
        let calibrated = one(encodings.clone(), initialization, inner_loop.as_ref(), &[Method::Calibrated])?;
        let named = |reached: Reached| Reached { method: name.clone(), ..reached };
        reached.extend(calibrated.into_iter().map(named));
    }
    bar.finish_and_clear();
    Ok(reached)
}
