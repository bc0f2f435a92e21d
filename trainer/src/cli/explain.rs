//! `metalens-trainer explain`.

use std::path::PathBuf;

use anyhow::Context;
use metalens::adaptation::{Learned, Sample};
use metalens::calibrator::{Calibrator, Leaning};
use metalens::cli::{BundleArgument, say};
use metalens::store::StateReader;
use metalens::{Captioner, Options, vision};
use metalens_models::Bundle;
use metalens_trainer::sheet::{Explanation, explanation_sheet};
use ndarray::Array2;
use serde_json::json;

/// Shows where each word of a caption looked, and which samples of a calibration its new words lean on.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    bundle: BundleArgument,
    /// The folder in which `metalens calibrate` or the daemon keeps what it learned.
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Write a page with pictures into this file.
    #[arg(long, value_name = "FILE.html", value_parser = super::output)]
    sheet: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// The picture.
    image: PathBuf,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let bundle = Bundle::open(&arguments.bundle.folder()?)?;
    let mut captioner = Captioner::from_bundle(&bundle, Options::default())?;
    let (mut samples, mut leaning) = (Vec::new(), Vec::new());
    if let Some(folder) = &arguments.state {
        let state = StateReader::open(folder)?;
        let loaded = Learned::of_state(&bundle, &state)?;
        for warning in &loaded.warnings {
            eprintln!("metalens-trainer: {warning}");
        }
        if let Some(head) = loaded.head {
            captioner.learn(Some(head.payload));
            samples = state.samples()?.into_iter().map(Sample::from).collect();
            leaning = Calibrator::open(&bundle)?.leaning(&samples)?;
        }
    }
    let named = || arguments.image.display().to_string();
    let bytes = std::fs::read(&arguments.image).with_context(named)?;
    let caption = captioner.caption(&vision::decode(&bytes).with_context(named)?)?;
    let paths: Vec<PathBuf> = samples.iter().map(|sample| sample.path.clone()).collect();
    let grid = bundle.manifest().shapes.grid;
    if let Some(path) = &arguments.sheet {
        let explanation = Explanation {
            picture: &arguments.image,
            caption: &caption,
            grid,
            samples: &paths,
            leaning: &leaning,
        };
        std::fs::write(path, explanation_sheet(&explanation)?).with_context(|| path.display().to_string())?;
    }
    let names: Vec<&str> = samples.iter().map(|sample| sample.name.as_str()).collect();
    if arguments.json {
        let rows = |weights: &Array2<f32>| -> Vec<Vec<f32>> {
            weights.rows().into_iter().map(|row| row.to_vec()).collect()
        };
        return say(json!({
            "file": named(),
            "caption": caption.text(),
            "words": caption.words,
            "grid": grid,
            "attention": rows(&caption.attention),
            "concepts": caption.concepts,
            "concept_attention": rows(&caption.concept_attention),
            "samples": names,
            "leaning": leaning,
        }));
    }
    say(caption.text())?;
    for (place, (word, attention)) in caption.words.iter().zip(caption.attention.rows()).enumerate() {
        say(format_args!("\n{} ({:.2})", word.word, word.probability))?;
        for (concept, share) in caption.concepts.iter().zip(caption.concept_attention.row(place)) {
            if *share >= WORTH_TELLING {
                say(format_args!(
                    "    {:>3.0} %  {} ({:.2})",
                    100.0 * share,
                    concept.word,
                    concept.evidence
                ))?;
            }
        }
        let most = attention.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        for row in attention.to_vec().chunks(grid[1]) {
            let shades: String = row.iter().map(|&weight| shade(weight / most)).collect();
            say(format_args!("    {shades}"))?;
        }
    }
    for Leaning { word, shares } in &leaning {
        say(format_args!("\n{word} leans on"))?;
        for (name, share) in names.iter().zip(shares) {
            say(format_args!("    {:>3.0} %  {name}", 100.0 * share))?;
        }
    }
    Ok(())
}

/// The smallest share of a word's attention at which a concept is told.
const WORTH_TELLING: f32 = 0.05;

/// Two characters, since they are about twice as high as wide.
fn shade(weight: f32) -> &'static str {
    const SHADES: [&str; 5] = ["  ", "░░", "▒▒", "▓▓", "██"];
    SHADES[((weight * SHADES.len() as f32) as usize).min(SHADES.len() - 1)]
}
