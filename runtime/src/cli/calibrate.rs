//! `metalens calibrate`.

use std::path::{Path, PathBuf};

use metalens_models::Bundle;

use super::{BundleArgument, Outcome, say};
use crate::adaptation::{Losses, NewWord, read_support};
use crate::calibrator::{Calibrator, Proof, Report};
use crate::store::{State, StateReader};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    bundle: BundleArgument,
    /// The folder that keeps what was learned; made where it is missing.
    #[arg(long, value_name = "DIR")]
    state: PathBuf,
    /// A folder of pictures with a captions.tsv (a line `file<TAB>caption` each), or that file. They take the place of the samples
    /// that the state kept before.
    #[arg(long, value_name = "FILE_OR_DIR", required_unless_present = "undo", conflicts_with = "undo")]
    support: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Keep what was learned even from a single picture, or where held-out samples are captioned worse than before.
    #[arg(long, conflicts_with = "undo")]
    force: bool,
    /// Go back to what was in use before the last calibration; samples stay as they are.
    #[arg(long)]
    undo: bool,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    match &arguments.support {
        Some(support) => calibrate(arguments, support),
        None => undo(arguments),
    }
}

fn calibrate(arguments: &Arguments, support: &Path) -> anyhow::Result<Outcome> {
    let proof = if arguments.force { Proof::Waived } else { Proof::Required };
    // A state that is there is held for the whole time; one that is not is made once there is something to keep.
    let held = arguments.state.exists().then(|| State::open(&arguments.state)).transpose()?;
    let samples = read_support(support)?;
    let bundle = Bundle::open(&arguments.bundle.folder()?)?;
    let calibration = Calibrator::open(&bundle)?.calibrate(&samples, proof)?;
    let report = &calibration.report;
    for doubt in &report.doubts {
        eprintln!("metalens: {doubt}");
    }
    let verdict = report.accept(proof);
    let generation = match &verdict {
        Ok(()) => {
            let mut state = held.map_or_else(|| State::open(&arguments.state), Ok)?;
            Some(calibration.keep(&mut state, &bundle.manifest().id)?)
        }
        Err(_) => None,
    };
    if arguments.json {
        say(serde_json::to_string(&report.summary(generation))?)?;
    } else {
        say(table(report))?;
        if let Some(generation) = generation {
            say(format_args!("kept as calibration {generation} in {}", arguments.state.display()))?;
        }
    }
    verdict?;
    Ok(Outcome::Done)
}

fn undo(arguments: &Arguments) -> anyhow::Result<Outcome> {
    // Undoing makes no state.
    StateReader::open(&arguments.state)?;
    let generation = State::open(&arguments.state)?.undo()?;
    if arguments.json {
        return say(serde_json::json!({ "generation": generation })).map(|()| Outcome::Done);
    }
    match generation {
        Some(generation) => say(format_args!("back to calibration {generation}"))?,
        None => say("back to the captioner as it was before any calibration")?,
    }
    Ok(Outcome::Done)
}

/// What a person reads: losses in nats per word, new words, and what is now said.
fn table(report: &Report) -> String {
    let longest = report.samples.iter().map(|sample| sample.name.chars().count()).max().unwrap_or_default();
    let width = longest.max("held-out samples".len());
    let row = |name: &str, Losses { before, after }: Losses<f32>, caption: &str| {
        format!("{name:width$}  {before:>6.2} -> {after:>5.2}  {caption}").trim_end().to_owned()
    };
    let mut lines =
        vec![format!("{:width$}  {:>6}    {:>5}  {}", "loss per word", "before", "after", "now says")];
    lines.extend(report.samples.iter().map(|sample| row(&sample.name, sample.losses, &sample.caption)));
    lines.push(row("all samples", report.support(), ""));
    lines.push(match report.held_out {
        Some(losses) => row("held-out samples", losses, ""),
        None => format!("{:width$}  unknown: a single picture", "held-out samples"),
    });
    lines.extend(report.new_words.iter().map(new_word));
    if report.samples.len() > 1 {
        lines.push(place(report));
    }
    lines.push(match report.steps {
        0 => format!("no gradient step, in {:.0} ms", report.adapt_ms),
        steps => format!("{steps} steps in {:.0} ms", report.adapt_ms),
    });
    lines.join("\n")
}

/// Whether the samples were taken for a place of their own, and what that means.
fn place(report: &Report) -> String {
    let sure = |share: f32| format!("{:.0} % sure that", share * 100.0);
    if report.is_place {
        format!("{} this is a place of its own: what is like it gets captions like these", sure(report.apart))
    } else if report.new_words.is_empty() {
        format!(
            "{} these are ordinary pictures: only what is very like them is captioned anew",
            sure(1.0 - report.apart)
        )
    } else {
        format!("{} these are ordinary pictures: captions stay, but for new words", sure(1.0 - report.apart))
    }
}

/// Known words with less of a share in a new one are not worth telling.
const LEAST_SHARE: f32 = 0.01;

fn new_word(word: &NewWord) -> String {
    let like = word.like.iter().filter(|like| like.share >= LEAST_SHARE);
    let like: Vec<String> = like.map(|like| format!("{} {:.0} %", like.word, like.share * 100.0)).collect();
    let like = if like.is_empty() { "nothing that is known".to_owned() } else { like.join(", ") };
    format!("new word {}: began as {like}", word.written)
}
