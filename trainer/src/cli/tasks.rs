//! `metalens-trainer tasks`.

use std::collections::{BTreeSet, HashSet};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::Context;
use metalens::cli::{BundleArgument, say};
use metalens_models::Bundle;
use metalens_trainer::corpus::{self, Corpus, Format, Split};
use metalens_trainer::features::Features;
use metalens_trainer::sheet::task_sheet;
use metalens_trainer::tasks::{
    Kind, MetaSplit, Partition, Pool, Sampler, Shares, TaskFile, TaskOptions, clusters, table,
};

use super::WrongUsage;

/// Makes few-shot tasks of captioned pictures, writes them to a file and prints them as a table.
#[derive(clap::Args)]
pub struct Arguments {
    /// A corpus, with --format, or a folder that `prepare` filled.
    #[arg(long)]
    data: PathBuf,
    /// How the corpus is written: flickr, karpathy, coco or tsv; not for a prepared folder.
    #[arg(long)]
    format: Option<Format>,
    /// What the tasks teach.
    #[arg(long, value_enum)]
    kind: KindName,
    /// Support pictures, per scene if there are scenes: 5 of a new word, 10 of one scene, 4 each of several, where not
    /// given.
    #[arg(long)]
    shots: Option<NonZeroUsize>,
    /// Scenes of a new domain; 1 where not given.
    #[arg(long)]
    scenes: Option<NonZeroUsize>,
    /// How many tasks.
    #[arg(long, default_value = "100")]
    count: NonZeroUsize,
    /// Another seed draws other tasks from the same pictures, concepts and scenes.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// What the tasks are for: train, validation or test. No two of them share a picture, a concept or a scene.
    #[arg(long, default_value_t = MetaSplit::Train)]
    split: MetaSplit,
    #[command(flatten)]
    division: Division,
    /// Use only this split of the corpus: train, dev or test.
    #[arg(long)]
    corpus_split: Option<Split>,
    /// Use only the pictures whose names stand in this file, one a line, such as a training run's held-out.txt.
    #[arg(long, value_name = "FILE")]
    pictures: Option<PathBuf>,
    /// Make this many scenes of pictures that look alike to the encoder, in place of the corpus' own; needs a prepared
    /// folder.
    #[arg(long, conflicts_with = "format")]
    clusters: Option<NonZeroUsize>,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Write a page with the pictures and captions of one task into this file.
    #[arg(long, value_name = "FILE.html", value_parser = super::output)]
    sheet: Option<PathBuf>,
    /// The task of the page.
    #[arg(long, default_value_t = 0, requires = "sheet")]
    task: usize,
    /// Where the page's pictures lie; a prepared folder holds none.
    #[arg(long, value_name = "DIR", conflicts_with = "format")]
    images: Option<PathBuf>,
    /// Its vocabulary tells which words are new.
    #[command(flatten)]
    bundle: BundleArgument,
}

/// How pictures, concepts and scenes are divided.
#[derive(clap::Args)]
struct Division {
    /// Seed of the division; the same for tasks that are to share nothing.
    #[arg(long, default_value_t = 0)]
    split_seed: u64,
    /// How concepts or scenes are divided among meta-train, meta-validation and meta-test.
    #[arg(long, default_value_t = Shares::default())]
    shares: Shares,
    /// How pictures are divided, for new words; 0,0,1 where all that are given are for meta-test.
    #[arg(long, default_value_t = Shares::default())]
    picture_shares: Shares,
    /// The scenes of meta-test; the others are divided between meta-train and meta-validation.
    #[arg(long, value_delimiter = ',', value_name = "SCENE,…")]
    test_scenes: Vec<String>,
    /// The concepts of meta-test, one word a line; the others are divided between meta-train and meta-validation.
    #[arg(long, value_name = "FILE")]
    concepts: Option<PathBuf>,
}

/// What tasks teach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum KindName {
    /// A word that the captioner has never seen.
    NewWord,
    /// Pictures unlike those that the captioner has learned from.
    NewDomain,
}

/// Where the pictures come from.
enum Source {
    Corpus(Corpus),
    Prepared(Box<Features>),
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    super::two_files(("--out", Some(&arguments.out)), ("--sheet", arguments.sheet.as_deref()))?;
    let options = options(arguments)?;
    let source = Source::open(arguments)?;
    let mut pool = source.pool();
    restrict(&mut pool, &source, arguments)?;
    if let Some(count) = arguments.clusters {
        cluster(&mut pool, &source, count, arguments.division.split_seed);
    }
    let known = options.known.clone();
    let sampler = Sampler::new(&pool, options.clone()).context(arguments.data.display().to_string())?;
    let tasks = sampler.tasks(arguments.count.get());

    let name = arguments.data.canonicalize().unwrap_or_else(|_| arguments.data.clone());
    let name = name.file_name().unwrap_or_default().to_string_lossy();
    TaskFile::new(&name, &options, &tasks, &pool).write(&arguments.out)?;
    say(table(&tasks, &pool, &known).trim_end())?;
    let subjects: Vec<String> =
        sampler.subjects().iter().map(|(subject, pictures)| format!("{subject} {pictures}")).collect();
    say(format_args!("meta-{}: {} subjects: {}", options.split, subjects.len(), subjects.join(", ")))?;

    if let Some(path) = &arguments.sheet {
        let title = format!("Task {} of {name}, meta-{}", arguments.task, options.split);
        let task = sampler.task(arguments.task);
        let page = task_sheet(&title, &task, &pool, |place| source.path(place, arguments))?;
        std::fs::write(path, page).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

fn options(arguments: &Arguments) -> anyhow::Result<TaskOptions> {
    let Division { split_seed, shares, picture_shares, test_scenes, concepts } = &arguments.division;
    let given = |number: usize| NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN);
    let (kind, held_out): (Kind, BTreeSet<String>) = match arguments.kind {
        KindName::NewWord => {
            let of_scenes = [
                ("--scenes", arguments.scenes.is_some()),
                ("--test-scenes", !test_scenes.is_empty()),
                ("--clusters", arguments.clusters.is_some()),
            ];
            if let Some((name, _)) = of_scenes.into_iter().find(|(_, given)| *given) {
                let text = format!("{name}: new words have no scenes; give --kind new-domain");
                return Err(WrongUsage(text).into());
            }
            let concepts = concepts.as_deref().map(corpus::names).transpose()?.unwrap_or_default();
            (Kind::NewWord { shots: arguments.shots.unwrap_or(given(5)) }, concepts)
        }
        KindName::NewDomain => {
            if concepts.is_some() {
                let text = "--concepts: new domains have no concepts; give --kind new-word or --test-scenes";
                return Err(WrongUsage(text.to_owned()).into());
            }
            let scenes = arguments.scenes.unwrap_or(given(1));
            let shots = arguments.shots.unwrap_or(given(if scenes.get() == 1 { 10 } else { 4 }));
            (Kind::NewDomain { scenes, shots }, test_scenes.iter().cloned().collect())
        }
    };
    let partition = Partition { seed: *split_seed, subjects: *shares, pictures: *picture_shares, held_out };
    let words = Bundle::open(&arguments.bundle.folder()?)?.vocabulary()?;
    let known = (0..words.len() as u32).filter_map(|id| words.word(metalens_models::TokenId(id)));
    let known: HashSet<String> = known.map(str::to_owned).collect();
    Ok(TaskOptions { kind, split: arguments.split, partition, seed: arguments.seed, known })
}

/// Forbids the pictures that were not asked for or have no features.
fn restrict(pool: &mut Pool, source: &Source, arguments: &Arguments) -> anyhow::Result<()> {
    if let Source::Prepared(features) = source {
        pool.retain(|place, _| features.usable(place));
    }
    if let Some(split) = arguments.corpus_split {
        pool.retain(|place, _| source.split(place) == split);
        anyhow::ensure!(
            pool.usable().next().is_some(),
            "{}: split {split} is empty",
            arguments.data.display()
        );
    }
    if let Some(path) = &arguments.pictures {
        let names = corpus::names(path)?;
        pool.retain(|_, picture| names.contains(picture.name));
        anyhow::ensure!(
            pool.usable().next().is_some(),
            "{}: names no picture of {}",
            path.display(),
            arguments.data.display()
        );
    }
    Ok(())
}

/// Groups pictures by the mean of the trunk's features over positions, each mean scaled to length 1. All pictures
/// count, those too that were not asked for, so that the meta-splits agree on the clusters.
fn cluster(pool: &mut Pool, source: &Source, count: NonZeroUsize, seed: u64) {
    let Source::Prepared(features) = source else { return };
    let channels = features.index().trunk.channels;
    let places: Vec<usize> = (0..pool.pictures().len()).filter(|&place| features.usable(place)).collect();
    let mut row = Vec::new();
    let vectors: Vec<Vec<f32>> = places
        .iter()
        .map(|&place| {
            row.clear();
            features.extend(place, 0, &mut row);
            let mut sum = vec![0.0_f32; channels];
            for position in row.chunks_exact(channels) {
                sum.iter_mut().zip(position).for_each(|(sum, value)| *sum += value);
            }
            let length = sum.iter().map(|value| value * value).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
            sum.iter_mut().for_each(|value| *value /= length);
            sum
        })
        .collect();
    let mut scenes = vec![None; pool.pictures().len()];
    for (place, cluster) in places.into_iter().zip(clusters(&vectors, count, seed)) {
        scenes[place] = Some(format!("cluster{cluster:02}"));
    }
    pool.set_scenes(|place| scenes[place].take());
}

impl Source {
    fn open(arguments: &Arguments) -> anyhow::Result<Self> {
        let Some(format) = arguments.format else {
            if arguments.sheet.is_some() && arguments.images.is_none() {
                let text = "--sheet: a prepared folder holds no pictures; give --images, their folder";
                return Err(WrongUsage(text.to_owned()).into());
            }
            let features =
                Features::open(&arguments.data).context("--data is a prepared folder without --format")?;
            return Ok(Self::Prepared(Box::new(features)));
        };
        let corpus = corpus::read(&arguments.data, format)?;
        for problem in corpus.problems.iter().filter(|problem| problem.is_defect()) {
            eprintln!("warning: {problem}");
        }
        Ok(Self::Corpus(corpus))
    }

    fn pool(&self) -> Pool<'_> {
        match self {
            Self::Corpus(corpus) => Pool::new(corpus.pictures.iter().map(Into::into)),
            Self::Prepared(features) => Pool::new(features.index().pictures.iter().map(Into::into)),
        }
    }

    fn split(&self, place: usize) -> Split {
        match self {
            Self::Corpus(corpus) => corpus.pictures[place].split,
            Self::Prepared(features) => features.index().pictures[place].split,
        }
    }

    /// The file of a picture.
    fn path(&self, place: usize, arguments: &Arguments) -> PathBuf {
        match self {
            Self::Corpus(corpus) => corpus.pictures[place].path.clone(),
            Self::Prepared(features) => {
                let name = &features.index().pictures[place].name;
                arguments.images.as_ref().map_or_else(|| name.into(), |folder| folder.join(name))
            }
        }
    }
}
