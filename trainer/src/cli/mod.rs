//! Subcommands, one file each; this file holds what they share.

mod import_encoder;

use std::process::ExitCode;

use clap::Parser;

/// Meta-learns image captioners and exports them for small devices.
#[derive(Parser)]
#[command(name = "metalens-trainer", version, about)]
enum Command {
    /// Turn the published EfficientNet-Lite0 checkpoint into an ONNX trunk.
    ImportEncoder(import_encoder::Arguments),
}

/// Runs the command that the user asked for. Exit codes: 0 done, 1 the work failed, 2 wrong usage.
pub fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::ImportEncoder(arguments) => import_encoder::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // `{:#}` puts the whole chain of causes on one line.
            eprintln!("metalens-trainer: {error:#}");
            ExitCode::FAILURE
        }
    }
}
