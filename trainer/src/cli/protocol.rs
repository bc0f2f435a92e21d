//! `metalens-trainer meta-test --tasks`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::Context;
use indicatif::ProgressBar;
use metalens::adaptation::Initialization;
use metalens::cli::say;
use metalens_models::MemoryBlend;
use metalens_trainer::corpus::{self, Corpus, Format, Picture, Split};
use metalens_trainer::meta::{Body, Gallery, Method, Part, Protocol, table, table_by_concept};
use metalens_trainer::parallel::bar_style;
use metalens_trainer::sheet::protocol_sheet;
use metalens_trainer::tasks::{Pool, TaskFile, TaskPicture};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// What `--tasks` needs beside the bundle and the corpus.
#[derive(clap::Args)]
pub struct Arguments {
    /// Adapt to the tasks of this file, which the `tasks` command wrote, and report what each method reaches.
    #[arg(long, value_name = "FILE")]
    tasks: Option<PathBuf>,
    /// What is compared.
    #[arg(long, value_enum, value_delimiter = ',', requires = "tasks",
        default_values = ["before", "nearest", "memory", "pretrained", "calibrated"])]
    methods: Vec<MethodName>,
    /// What the support of a new word says, in the place of people's captions: a text with {} for the word, such as "this is a
    /// {}".
    #[arg(long, value_name = "TEXT", requires = "tasks", value_parser = with_a_word)]
    written: Option<String>,
    /// After calibration also caption ordinary pictures of this corpus, in Flickr8k's format.
    #[arg(long, value_name = "DIR", requires = "tasks")]
    ordinary: Option<PathBuf>,
    /// Take them from this split.
    #[arg(long, default_value_t = Split::Dev)]
    ordinary_split: Split,
    /// How many.
    #[arg(long, default_value_t = 300)]
    ordinary_pictures: usize,
    /// Tasks after which they are captioned.
    #[arg(long, default_value_t = 20)]
    ordinary_tasks: usize,
}

/// Methods by their names on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum MethodName {
    /// No adaptation.
    Before,
    /// The same, the concept's own name counting as its new one: how well the captioner knew it.
    OwnNames,
    /// The most similar support picture's caption.
    Nearest,
    /// The support's caption that most of it agrees on, alike pictures counting most, at several temperatures.
    Consensus,
    /// Nearest-neighbour lookup of words.
    Memory,
    /// The head fine-tuned by Adam, at several step counts and rates.
    Pretrained,
    /// Calibration.
    Calibrated,
    /// Calibration with 0, 1, 2, 5, 10 and 20 steps, and what these make of the head alone.
    Steps,
    /// Calibration on the first 1, 2, 5, 10 and 20 pictures of the support; draw the tasks with the most.
    Shots,
    /// Calibration without each of its parts in turn.
    Ablations,
}

impl MethodName {
    pub(super) fn methods(self) -> Vec<Method> {
        let memory =
            |temperature, share, picture| Method::Memory(MemoryBlend { share, temperature, picture });
        match self {
            Self::Before => vec![Method::Before],
            Self::OwnNames => vec![Method::OwnNames],
            Self::Nearest => vec![Method::Nearest],
            Self::Consensus => {
                [0.05, 0.1, 0.2, 0.3].map(|temperature| Method::Consensus { temperature }).to_vec()
            }
            Self::Memory => vec![memory(0.05, 0.8, 0.0), memory(0.1, 0.8, 0.0)],
            Self::Pretrained => [(20, 3e-3), (60, 1e-3), (60, 3e-3), (100, 1e-3)]
                .map(|(steps, rate)| Method::FineTuned { steps, rate })
                .to_vec(),
            Self::Calibrated => vec![Method::Calibrated],
            Self::Steps => {
                let steps = [0, 1, 2, 5, 10, 20];
                steps.map(Method::Steps).into_iter().chain(steps.map(Method::HeadSteps)).collect()
            }
            Self::Shots => [1, 2, 5, 10, 20].map(Method::Shots).to_vec(),
            Self::Ablations => [
                Part::RowStart,
                Part::Steps,
                Part::Memory,
                Part::Shift,
                Part::Blend,
                Part::Consensus,
                Part::Detectors,
            ]
            .map(Method::Without)
            .into_iter()
            .chain([0.1, 0.3, 1.0].map(Method::ThingSteps))
            .chain([Method::Told])
            .collect(),
        }
    }
}

/// A caption with a place for a word.
fn with_a_word(text: &str) -> Result<String, String> {
    let says = text.contains("{}");
    says.then(|| text.to_owned()).ok_or_else(|| "give a text with {} where the word is to stand".to_owned())
}

impl Arguments {
    /// Whether tasks are asked for.
    pub fn given(&self) -> bool {
        self.tasks.is_some()
    }
}

pub fn run(
    arguments: &Arguments,
    bundle: &Path,
    data: &Path,
    format: Format,
    json: Option<&Path>,
    sheet: Option<&Path>,
) -> anyhow::Result<()> {
    let file = arguments.tasks.as_deref().context("--tasks is needed")?;
    let corpus = corpus::read(data, format)?;
    let tasks = TaskFile::read(file)?;
    let pictures = pictures_of(&tasks, &corpus);
    let pool = Pool::new(pictures.iter().map(|&picture| TaskPicture::from(picture)));
    let mut resolved = tasks.resolve(&pool)?;
    if let Some(written) = &arguments.written {
        resolved.iter_mut().for_each(|task| task.written = Some(written.clone()));
    }
    let others = ordinary(arguments)?;

    let body = Body::open(bundle)?;
    let initialization = Initialization::of_bundle(body.bundle())?;
    let stop = super::stop_on_ctrl_c()?;
    let files: Vec<PathBuf> =
        pictures.iter().copied().chain(others.pictures.iter()).map(|picture| picture.path.clone()).collect();
    let gallery = Gallery::new(&body, &initialization.head, body.encode(&files, &stop)?)?;
    let ordinary: Vec<(usize, Vec<String>)> = others
        .pictures
        .iter()
        .enumerate()
        .map(|(place, picture)| (pictures.len() + place, picture.captions.clone()))
        .collect();
    let protocol = Protocol {
        body: &body,
        gallery: &gallery,
        pool: &pool,
        tasks: &resolved,
        ordinary: &ordinary,
        ordinary_tasks: arguments.ordinary_tasks,
        inner_loop: None,
    };
    // Shots that no support has would repeat those that it has.
    let most = tasks.kind.shots();
    let there = |method: &Method| !matches!(method, Method::Shots(shots) if *shots > most);
    let methods: Vec<Method> =
        arguments.methods.iter().flat_map(|name| name.methods()).filter(there).collect();
    let bar = ProgressBar::new((methods.len() * resolved.len()) as u64).with_style(bar_style("trials"));
    let reached = protocol.run(&initialization, &methods, || {
        bar.inc(1);
        anyhow::ensure!(!stop.load(std::sync::atomic::Ordering::Relaxed), "interrupted");
        Ok(())
    })?;
    bar.finish_and_clear();
    say(format_args!("{} tasks of {}", resolved.len(), file.display()))?;
    say(table(&reached))?;
    let calibrated = Method::Calibrated.to_string();
    if let Some(calibrated) = reached.iter().find(|reached| reached.method == calibrated) {
        let table = table_by_concept(calibrated);
        if !table.is_empty() {
            say(format_args!("\n{}, by concept\n{}", calibrated.method, table.trim_end()))?;
        }
    }
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&reached)?;
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    if let Some(path) = sheet {
        let title = format!("{} on {}", bundle.display(), file.display());
        let page = protocol_sheet(&title, &reached, &resolved, &pool, |place| pictures[place].path.clone())?;
        std::fs::write(path, page).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// The pictures of a corpus that tasks use.
pub(super) fn pictures_of<'a>(tasks: &TaskFile, corpus: &'a Corpus) -> Vec<&'a Picture> {
    let samples = tasks.tasks.iter().flat_map(|task| task.support.iter().chain(&task.query));
    let used: HashSet<&str> = samples.map(|sample| sample.picture.as_str()).collect();
    corpus.pictures.iter().filter(|picture| used.contains(picture.name.as_str())).collect()
}

fn ordinary(arguments: &Arguments) -> anyhow::Result<Corpus> {
    let Some(folder) = &arguments.ordinary else { return Ok(Corpus::default()) };
    let mut corpus = corpus::read(folder, Format::Flickr)?;
    corpus.pictures.retain(|picture| picture.split == arguments.ordinary_split);
    corpus.pictures.shuffle(&mut ChaCha8Rng::seed_from_u64(0));
    corpus.pictures.truncate(arguments.ordinary_pictures);
    anyhow::ensure!(
        !corpus.pictures.is_empty(),
        "--ordinary: {}: no picture of split {}",
        folder.display(),
        arguments.ordinary_split
    );
    Ok(corpus)
}
