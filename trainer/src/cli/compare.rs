//! `metalens-trainer compare`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use indicatif::ProgressBar;
use metalens::adaptation::{Head, Initialization};
use metalens::cli::{BundleArgument, say};
use metalens_models::TokenId;
use metalens_trainer::corpus::{self, Format};
use metalens_trainer::features::Features;
use metalens_trainer::meta::{
    Algorithm, Body, Encodings, Gallery, Learned, MetaConfig, MetaTrainer, Method, OuterConfig, Part,
    Protocol, Reached, table,
};
use metalens_trainer::parallel::bar_style;
use metalens_trainer::score::{self, Sample};
use metalens_trainer::tasks::{Pool, Task, TaskFile, TaskPicture};

use super::protocol::{MethodName, pictures_of};

/// Meta-trains a bundle's head with each algorithm in turn, and prints what each reaches on tasks beside the baselines: as the
/// captioner finds its captions, without the choice among them by what the support agrees on, which would hide what heads
/// differ in. Also what each costs ordinary captions before calibration.
#[derive(clap::Args)]
pub struct Arguments {
    /// The pre-trained bundle to start from.
    #[command(flatten)]
    bundle: BundleArgument,
    /// The configuration of `meta-train`; its algorithm and what it says of evidence are not used.
    #[arg(long)]
    config: PathBuf,
    /// What is compared.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["none", "maml", "maml-plus-plus", "fomaml", "meta-sgd", "reptile", "anil"])]
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
    #[arg(long, value_name = "FILE", value_parser = super::output)]
    json: Option<PathBuf>,
}

/// Algorithms by their names on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Name {
    /// No outer step: the head and the numbers that it starts from.
    None,
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
    /// As maml-plus-plus, and the body learns in the outer loop.
    Anil,
}

impl Name {
    fn configured(self, config: &MetaConfig, iterations: Option<usize>) -> MetaConfig {
        let (algorithm, learns_sizes) = match self {
            Self::None | Self::Maml => (Algorithm::Maml, false),
            Self::MamlPlusPlus | Self::Anil => (Algorithm::Maml, true),
            Self::Fomaml => (Algorithm::Fomaml, true),
            Self::MetaSgd => (Algorithm::MetaSgd, true),
            Self::Reptile => (Algorithm::Reptile, false),
        };
        let outer = OuterConfig {
            algorithm,
            iterations: if self == Self::None { 0 } else { iterations.unwrap_or(config.outer.iterations) },
            number_rate: if learns_sizes { config.outer.number_rate } else { 0.0 },
            body: self == Self::Anil,
            ..config.outer
        };
        MetaConfig { outer, evidence: None, ..config.clone() }
    }

    fn text(self) -> String {
        clap::ValueEnum::to_possible_value(&self)
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// How its head is tried.
const METHOD: Method = Method::Without(Part::Consensus);

/// What an algorithm led to.
struct Trained {
    name: String,
    /// Where the body learned too.
    body: Option<Body>,
    initialization: Initialization<f32>,
    /// Where the schedule does not hold all of the inner loop.
    inner_loop: Option<Learned>,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let config = super::meta_config(&arguments.config)?;
    anyhow::ensure!(config.places.is_some(), "{}: places: needed to learn from", arguments.config.display());
    let body = Body::open(&arguments.bundle.folder()?)?;
    let stop = super::stop_on_ctrl_c()?;
    let trainer = MetaTrainer::new(&body, &config)?;
    let mut all = Vec::new();
    for &name in &arguments.algorithms {
        say(format_args!("meta-training with {}", name.text()))?;
        let config = name.configured(&config, arguments.iterations);
        let folder = arguments.run.join(name.text());
        let _held = super::meta_train::claim(&folder, &config, &body)?;
        let trained = trainer.run(&config, &folder, &stop)?;
        let learned = super::meta_train::with_learned_body(&body, &trained, &config, &folder, &stop)?;
        let (body, trained) = learned.map_or((None, trained), |(body, trained)| (Some(body), trained));
        all.push(Trained {
            name: name.text(),
            body,
            initialization: trained.initialization,
            inner_loop: trained.outer.filter(|_| name == Name::MetaSgd),
        });
    }
    let own = trainer.start(&config)?;
    if config.unseen.is_some() {
        say("\nCIDEr of pictures that the body never saw, before calibration")?;
        let pictures = Ordinary::open(&config)?;
        say(format_args!("own {:.3}", pictures.cider(&body, &own.head)?))?;
        for Trained { name, body: learned, initialization, .. } in &all {
            let body = learned.as_ref().unwrap_or(&body);
            say(format_args!("{name} {:.3}", pictures.cider(body, &initialization.head)?))?;
        }
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

/// Ordinary pictures that the body never saw.
struct Ordinary {
    features: Features,
    places: Vec<usize>,
    references: Vec<Vec<String>>,
}

impl Ordinary {
    fn open(config: &MetaConfig) -> anyhow::Result<Self> {
        let (features, unseen) = (Features::open(&config.things)?, config.unseen()?);
        let pictures = &features.index().pictures;
        let places: Vec<usize> = (0..pictures.len())
            .filter(|&place| features.usable(place) && unseen.contains(&pictures[place].name))
            .collect();
        let words = |text: &String| metalens::language::words(text).join(" ");
        let references =
            places.iter().map(|&place| pictures[place].captions.iter().map(words).collect()).collect();
        Ok(Self { features, places, references })
    }

    /// Of greedy captions by `body` and `head`.
    fn cider(&self, body: &Body, head: &Head<f32>) -> anyhow::Result<f64> {
        let encodings = body.encode_prepared(&self.features, &self.places)?;
        let all: Vec<usize> = (0..self.places.len()).collect();
        let said = Gallery::new(body, head, encodings)?.captions(body, head, &all)?;
        let word = |&id: &u32| body.vocabulary().word(TokenId(id)).unwrap_or_default();
        let samples: Vec<Sample> = said
            .iter()
            .zip(&self.references)
            .map(|(said, references)| Sample {
                hypothesis: said.iter().map(word).collect::<Vec<_>>().join(" "),
                references: references.clone(),
            })
            .collect();
        Ok(score::score(&samples)?.cider)
    }
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
    let baselines = [MethodName::Before, MethodName::Nearest, MethodName::Memory, MethodName::Pretrained];
    let baselines: Vec<Method> = baselines.into_iter().flat_map(MethodName::methods).collect();
    let trials = tasks.len() * (baselines.len() + all.len());
    let bar = ProgressBar::new(trials as u64).with_style(bar_style("trials"));
    let one = |body: &Body,
               encodings: &Encodings,
               initialization: &Initialization<f32>,
               inner_loop,
               methods: &[Method]| {
        let gallery = Gallery::new(body, &initialization.head, encodings.clone())?;
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
    let encodings = body.encode(&files, stop)?;
    let mut reached = one(body, &encodings, own, None, &baselines)?;
    for Trained { name, body: learned, initialization, inner_loop } in all {
        let inner_loop = inner_loop.as_ref();
        let calibrated = match learned {
            None => one(body, &encodings, initialization, inner_loop, &[METHOD])?,
            Some(body) => one(body, &body.encode(&files, stop)?, initialization, inner_loop, &[METHOD])?,
        };
        let named = |reached: Reached| Reached { method: name.clone(), ..reached };
        reached.extend(calibrated.into_iter().map(named));
    }
    bar.finish_and_clear();
    Ok(reached)
}
