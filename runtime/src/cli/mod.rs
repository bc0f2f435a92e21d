//! The command line: one file a subcommand; this file holds what they share.
//!
//! Exit codes: 0 done; 1 the work failed; 2 wrong usage. An error is one line on standard error.

mod bench;
mod bundle_path;
mod calibrate;
mod caption;
mod config;
mod doctor;
mod output;
mod run;
mod usage;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use metalens_firmware_config::ConfigError;

use crate::camera::CameraError;

pub use output::{one_line, say};
pub use usage::{WRONG_USAGE, parse};

/// Captions pictures on a small device.
#[derive(Parser)]
#[command(name = "metalens", version, about)]
enum Command {
    /// Say what pictures show.
    Caption(caption::Arguments),
    /// Learn from a handful of captioned pictures.
    Calibrate(calibrate::Arguments),
    /// Caption what a camera sees, and learn meanwhile: the daemon.
    Run(run::Arguments),
    /// Measure how long each part of captioning takes.
    Bench(bench::Arguments),
    /// Check the bundle, the configuration and this installation.
    Doctor(doctor::Arguments),
    /// Check a configuration, or print its schema.
    #[command(subcommand)]
    Config(config::Command),
}

/// Which bundle to use.
#[derive(clap::Args)]
pub struct BundleArgument {
    /// The bundle's folder; else METALENS_BUNDLE, the folder `bundle` beside this program, or the checkout's
    /// models/flickr8k-lite0.
    #[arg(long, env = "METALENS_BUNDLE", value_name = "DIR")]
    bundle: Option<PathBuf>,
}

/// How a command ended that did not fail as a whole.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    /// Some of the work failed, and each failure has had its line.
    Partial,
}

/// Runs the command that the user asked for.
#[must_use]
pub fn main() -> ExitCode {
    let command = match parse() {
        Ok(command) => command,
        Err(code) => return code,
    };
    let result = match command {
        Command::Caption(arguments) => caption::run(&arguments),
        Command::Calibrate(arguments) => calibrate::run(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Config(command) => config::run(&command),
    };
    match result {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Partial) => ExitCode::FAILURE,
        Err(error) => {
            if let Some(problems) = error.downcast_ref::<ConfigError>() {
                // One line each.
                problems.to_string().lines().for_each(|problem| eprintln!("metalens: {problem}"));
            } else {
                eprintln!("metalens: {}", one_line(&error));
            }
            let wrong = error.is::<ConfigError>() || error.is::<CameraError>();
            if wrong { ExitCode::from(WRONG_USAGE) } else { ExitCode::FAILURE }
        }
    }
}
