//! `metalens-trainer score`.

use std::path::PathBuf;

use metalens::cli::say;
use metalens_trainer::score::score_files;

/// BLEU, ROUGE-L and CIDEr of captions that are lower-cased and split on white space, as pycocoevalcap 1.2 has them.
#[derive(clap::Args)]
pub struct Arguments {
    /// Lines {"id": "…", "caption": "…"}.
    #[arg(long, value_name = "FILE.jsonl")]
    hypotheses: PathBuf,
    /// Lines {"id": "…", "captions": ["…", …]}.
    #[arg(long, value_name = "FILE.jsonl")]
    references: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let scores = score_files(&arguments.hypotheses, &arguments.references)?;
    if arguments.json {
        say(serde_json::to_string(&scores)?)?;
    } else {
        say(scores)?;
    }
    Ok(())
}
