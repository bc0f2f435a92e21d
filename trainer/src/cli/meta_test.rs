//! `metalens-trainer meta-test`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use metalens::cli::{BundleArgument, say};
use metalens::language::MAX_BEAM;
use metalens_models::Bundle;
use metalens_trainer::corpus::{self, Corpus, Format, Picture, Split};
use metalens_trainer::evaluate::{Evaluation, evaluate};
use metalens_trainer::score::{PairedDifference, Scores, ThingScores};
use metalens_trainer::sheet::contact_sheet;
use serde::Serialize;

use super::protocol;

/// Captions a split of a corpus with a bundle, as a device would, and scores the captions; with --tasks, adapts to tasks first.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    bundle: BundleArgument,
    /// The corpus.
    #[arg(long)]
    data: PathBuf,
    /// How the corpus is written: flickr, karpathy, coco or tsv.
    #[arg(long)]
    format: Format,
    /// train, dev or test; all pictures where not given.
    #[arg(long, conflicts_with = "tasks")]
    split: Option<Split>,
    /// Only the pictures whose names stand in this file, one a line, such as a training run's held-out.txt.
    #[arg(long, value_name = "FILE", conflicts_with = "tasks")]
    pictures: Option<PathBuf>,
    /// Only the pictures whose number in COCO is odd or even, such as one half for choosing and the other for reporting.
    #[arg(long, conflicts_with = "tasks")]
    ids: Option<Ids>,
    /// Hypotheses kept while searching; the bundle's own where not given.
    #[arg(long, value_parser = beam_width, conflicts_with = "tasks")]
    beam: Option<usize>,
    /// Also tell how much better the bundle is than another one on the same pictures: the mean difference of CIDEr with its 95 %
    /// interval, paired by picture. The bundle's folder, or the file that --json wrote for it.
    #[arg(long, value_name = "BUNDLE", conflicts_with_all = ["tasks", "record"])]
    against: Option<PathBuf>,
    /// Write scores, captions and references into this file; with --tasks, the figures of each method.
    ///
    /// One object: `beam`; `scores` with bleu1 to bleu4, rouge_l and cider; `things_said`, of COCO's eighty things that at least two
    /// people say of a picture, the share that the caption says; `things_false`, of those that captions say, the share that nobody
    /// says; each as `share` and `of` how many, or null where there are none. `captions` has for each picture `id`, `caption`, `captions`
    /// (people's), `cider` and `things` (`right`, `wrong`, `missed`; `agreed`, those of `right` that two people say), which is null where
    /// fewer than two people said something; `rejected`, what could not be decoded, and why; with --against also `against`: its
    /// `bundle`, `scores`, `things_said`, `things_false`, and `cider_difference` as `mean`, `interval` and `pictures`.
    #[arg(long, value_name = "FILE", value_parser = super::output)]
    json: Option<PathBuf>,
    /// Write a page with every picture, its caption and what people said, worst first, into this file; with --tasks, one with
    /// tables, curves and examples.
    #[arg(long, value_name = "FILE.html", value_parser = super::output)]
    sheet: Option<PathBuf>,
    /// Note the scores in the bundle's manifest under this name, such as flickr8k-dev; the bundle's id changes.
    #[arg(long, value_name = "NAME", conflicts_with = "tasks")]
    record: Option<String>,
    /// Pictures worked on at a time; all cores where not given.
    #[arg(long, value_parser = super::threads, conflicts_with = "tasks")]
    threads: Option<usize>,
    #[command(flatten)]
    protocol: protocol::Arguments,
}

/// Which numbers of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Ids {
    Odd,
    Even,
}

impl Ids {
    fn has(self, id: u64) -> bool {
        self == if id.is_multiple_of(2) { Self::Even } else { Self::Odd }
    }
}

/// What `--json` writes.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(flatten)]
    evaluation: &'a Evaluation,
    #[serde(skip_serializing_if = "Option::is_none")]
    against: Option<&'a Against>,
}

/// What `--against` names.
enum Other<'a> {
    /// A folder.
    Bundle(&'a Path),
    /// A file, and what `--json` wrote into it.
    Written(&'a Path, Box<Evaluation>),
}

impl<'a> Other<'a> {
    /// Refuses what is neither, before the long work.
    fn open(path: &'a Path) -> anyhow::Result<Self> {
        if path.is_file() {
            return Ok(Self::Written(path, Box::new(Evaluation::read(path)?)));
        }
        Bundle::open(path).context("--against")?;
        Ok(Self::Bundle(path))
    }
}

/// Another bundle on the same pictures.
#[derive(Serialize)]
struct Against {
    bundle: PathBuf,
    scores: Scores,
    #[serde(flatten)]
    things: ThingScores,
    cider_difference: PairedDifference,
}

impl Against {
    fn new(evaluation: &Evaluation, path: &Path, other: Evaluation) -> anyhow::Result<Self> {
        let cider_difference =
            evaluation.against(&other).with_context(|| format!("--against {}", path.display()))?;
        Ok(Self { bundle: path.to_owned(), scores: other.scores, things: other.things, cider_difference })
    }
}

fn beam_width(text: &str) -> Result<usize, String> {
    super::up_to(text, 1, MAX_BEAM)
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    super::two_files(("--json", arguments.json.as_deref()), ("--sheet", arguments.sheet.as_deref()))?;
    if arguments.protocol.given() {
        let Arguments { data, format, json, sheet, .. } = arguments;
        let bundle = arguments.bundle.folder()?;
        return protocol::run(&arguments.protocol, &bundle, data, *format, json.as_deref(), sheet.as_deref());
    }
    let corpus = corpus::read(&arguments.data, arguments.format)?;
    let pictures = chosen(arguments, &corpus)?;
    for problem in corpus.problems.iter().filter(|problem| problem.is_defect()) {
        eprintln!("warning: {problem}");
    }
    let stop = super::stop_on_ctrl_c()?;
    let bundle = arguments.bundle.folder()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.unwrap_or(cores);
    let other = arguments.against.as_deref().map(Other::open).transpose()?;
    let caption = |folder: &Path| evaluate(folder, arguments.beam, &pictures, threads, &stop);
    let evaluation = caption(&bundle)?;
    let against = match other {
        Some(Other::Bundle(folder)) => Some(Against::new(&evaluation, folder, caption(folder)?)?),
        Some(Other::Written(file, other)) => Some(Against::new(&evaluation, file, *other)?),
        None => None,
    };
    for (name, reason) in &evaluation.rejected {
        eprintln!("warning: {name}: {reason}");
    }
    say(format_args!(
        "{} pictures captioned, {} rejected",
        evaluation.captions.len(),
        evaluation.rejected.len()
    ))?;
    say(evaluation.scores)?;
    say(evaluation.things)?;
    if let Some(Against { bundle, scores, cider_difference, .. }) = &against {
        say(format_args!("CIDEr against {:.3} of {}: {cider_difference}", scores.cider, bundle.display()))?;
    }
    if let Some(path) = &arguments.json {
        let text =
            serde_json::to_string_pretty(&Report { evaluation: &evaluation, against: against.as_ref() })?;
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    if let Some(path) = &arguments.sheet {
        let title = format!("{} on {}", bundle.display(), arguments.data.display());
        let page = contact_sheet(&title, &evaluation)?;
        std::fs::write(path, page).with_context(|| path.display().to_string())?;
    }
    if let Some(name) = &arguments.record {
        let score = serde_json::json!({
            "scores": evaluation.scores,
            "pictures": evaluation.captions.len(),
            "beam": evaluation.beam,
        });
        let manifest = metalens_models::record_score(&bundle, name, score)?;
        say(format_args!("{}: bundle {}", bundle.display(), manifest.id))?;
    }
    Ok(())
}

/// The pictures that the arguments ask for.
fn chosen<'a>(arguments: &Arguments, corpus: &'a Corpus) -> anyhow::Result<Vec<&'a Picture>> {
    let data = arguments.data.display();
    let mut pictures: Vec<&Picture> =
        corpus.pictures.iter().filter(|p| arguments.split.is_none_or(|split| p.split == split)).collect();
    if let Some(split) = arguments.split {
        anyhow::ensure!(!pictures.is_empty(), "{data}: split {split} is empty");
    }
    if let Some(ids) = arguments.ids {
        anyhow::ensure!(
            pictures.iter().all(|picture| picture.id.is_some()),
            "--ids: pictures of format {} have no numbers; those of coco have",
            arguments.format
        );
        pictures.retain(|picture| picture.id.is_some_and(|id| ids.has(id)));
        anyhow::ensure!(!pictures.is_empty(), "{data}: no picture with such a number");
    }
    if let Some(path) = &arguments.pictures {
        let names = corpus::names(path)?;
        pictures.retain(|picture| names.contains(&picture.name));
        anyhow::ensure!(!pictures.is_empty(), "{}: names no picture of the corpus", path.display());
        let missing = names.len().saturating_sub(pictures.len());
        if missing > 0 {
            eprintln!(
                "warning: {}: {missing} of {} names are of no such picture",
                path.display(),
                names.len()
            );
        }
    }
    Ok(pictures)
}
