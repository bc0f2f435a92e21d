//! `metalens caption`.

use std::path::{Path, PathBuf};

use metalens_models::Bundle;

use super::{BundleArgument, Outcome, one_line, say};
use crate::adaptation::Learned;
use crate::language::MAX_BEAM;
use crate::store::StateReader;
use crate::{Caption, Captioner, Evident, Options, Word, vision};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    bundle: BundleArgument,
    /// The folder in which `metalens calibrate` keeps what it learned.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Hypotheses kept while searching; 1 is fastest. The bundle's own where not given.
    #[arg(long, value_name = "N", value_parser = beam_width)]
    beam: Option<usize>,
    /// Print one JSON object a picture.
    #[arg(long)]
    json: bool,
    /// Pictures; - reads one from standard input.
    #[arg(required = true, value_name = "IMAGE")]
    images: Vec<PathBuf>,
}

/// A line of `--json`.
#[derive(serde::Serialize)]
struct Line<'a> {
    file: String,
    caption: String,
    log_probability: f32,
    words: &'a [Word],
    /// Known only with a calibration.
    familiarity: Option<f32>,
    concepts: &'a [Evident],
    encoder_ms: f64,
    decoder_ms: f64,
}

fn beam_width(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(width @ 1..=MAX_BEAM) => Ok(width),
        _ => Err(format!("give a number from 1 to {MAX_BEAM}")),
    }
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let bundle = Bundle::open(&arguments.bundle.folder()?)?;
    let mut captioner =
        Captioner::from_bundle(&bundle, Options { beam: arguments.beam, ..Options::default() })?;
    if let Some(state) = &arguments.state {
        learn(&mut captioner, &bundle, state)?;
    }
    let mut outcome = Outcome::Done;
    for file in &arguments.images {
        match read(file).and_then(|picture| Ok(captioner.caption(&picture)?)) {
            Ok(caption) => print(arguments, file, &caption)?,
            Err(error) => {
                eprintln!("metalens: {}: {}", file.display(), one_line(&error));
                outcome = Outcome::Partial;
            }
        }
    }
    Ok(outcome)
}

/// Makes the captioner use what a state keeps, as far as it can be used.
fn learn(captioner: &mut Captioner, bundle: &Bundle, state: &Path) -> anyhow::Result<()> {
    let loaded = Learned::of_state(bundle, &StateReader::open(state)?)?;
    for warning in &loaded.warnings {
        eprintln!("metalens: {warning}");
    }
    captioner.learn(loaded.head.map(|head| head.payload));
    Ok(())
}

fn read(file: &Path) -> anyhow::Result<vision::Picture> {
    let bytes = if file == Path::new("-") {
        vision::read_bytes(std::io::stdin().lock())?
    } else {
        anyhow::ensure!(!file.is_dir(), "a folder; name the pictures in it");
        vision::read_file(file)?
    };
    Ok(vision::decode(&bytes)?)
}

fn print(arguments: &Arguments, file: &Path, caption: &Caption) -> anyhow::Result<()> {
    let line = if arguments.json {
        serde_json::to_string(&Line {
            // JSON is UTF-8; a name that is not is shown as well as it can be.
            file: file.display().to_string(),
            caption: caption.text(),
            log_probability: caption.log_probability,
            words: &caption.words,
            familiarity: caption.familiarity,
            concepts: &caption.concepts,
            encoder_ms: caption.encoder_ms,
            decoder_ms: caption.decoder_ms,
        })?
    } else if arguments.images.len() > 1 {
        format!("{}: {}", file.display(), caption.text())
    } else {
        caption.text()
    };
    say(line)
}
