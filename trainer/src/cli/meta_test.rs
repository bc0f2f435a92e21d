//! `metalens-trainer meta-test`.

use std::path::PathBuf;

use anyhow::Context;
use metalens::cli::{BundleArgument, say};
use metalens::language::MAX_BEAM;
use metalens_trainer::corpus::{self, Format, Split};
use metalens_trainer::evaluate::evaluate;
use metalens_trainer::sheet::contact_sheet;

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
    /// Hypotheses kept while searching; the bundle's own where not given.
    #[arg(long, value_parser = beam_width, conflicts_with = "tasks")]
    beam: Option<usize>,
    /// Write scores, captions and references into this file; with --tasks, the figures of each method.
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
    let mut pictures: Vec<_> =
        corpus.pictures.iter().filter(|p| arguments.split.is_none_or(|split| p.split == split)).collect();
    if let Some(split) = arguments.split {
        anyhow::ensure!(!pictures.is_empty(), "{}: split {split} is empty", arguments.data.display());
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
    for problem in corpus.problems.iter().filter(|problem| problem.is_defect()) {
        eprintln!("warning: {problem}");
    }
    let stop = super::stop_on_ctrl_c()?;
    let bundle = arguments.bundle.folder()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.unwrap_or(cores);
    let evaluation = evaluate(&bundle, arguments.beam, &pictures, threads, &stop)?;
    for (name, reason) in &evaluation.rejected {
        eprintln!("warning: {name}: {reason}");
    }
    say(format_args!(
        "{} pictures captioned, {} rejected",
        evaluation.captions.len(),
        evaluation.rejected.len()
    ))?;
    say(evaluation.scores)?;
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&evaluation)?;
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
