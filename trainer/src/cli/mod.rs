//! Subcommands, one file each; this file holds what they share.

mod compare;
mod explain;
mod export;
mod import_encoder;
mod meta_test;
mod meta_train;
mod prepare;
mod pretrain;
mod protocol;
mod score;
mod tasks;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use clap::Parser;
use metalens::cli::{WRONG_USAGE, one_line};
use metalens_trainer::meta::MetaConfig;
use metalens_trainer::pretrain::config::ConfigError;

/// Meta-learns image captioners and exports them for small devices.
#[derive(Parser)]
#[command(name = "metalens-trainer", version, about)]
enum Command {
    /// Turn the published EfficientNet-Lite0 checkpoint into an ONNX trunk.
    ImportEncoder(import_encoder::Arguments),
    /// Read a corpus and cache the trunk's features of its pictures.
    Prepare(prepare::Arguments),
    /// Train projection, decoder and head.
    Pretrain(pretrain::Arguments),
    /// Make few-shot tasks of captioned pictures.
    Tasks(tasks::Arguments),
    /// Show where each word of a caption looked, and which samples its new words lean on.
    Explain(explain::Arguments),
    /// Meta-train with each algorithm in turn, and print what each reaches.
    Compare(compare::Arguments),
    /// Write a bundle that a device can run.
    Export(export::Arguments),
    /// Caption a split with a bundle and score the captions.
    MetaTest(meta_test::Arguments),
    MetaTrain(meta_train::Arguments),
    /// Score captions against references.
    Score(score::Arguments),
}

/// Arguments that do not fit together in a way that clap cannot know.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct WrongUsage(String);

/// Runs the command that the user asked for. Exit codes: 0 done, 1 the work failed, 2 wrong usage or configuration.
pub fn main() -> ExitCode {
    let command = match metalens::cli::parse() {
        Ok(command) => command,
        Err(code) => return code,
    };
    let result = match command {
        Command::ImportEncoder(arguments) => import_encoder::run(&arguments),
        Command::Prepare(arguments) => prepare::run(&arguments),
        Command::Pretrain(arguments) => pretrain::run(&arguments),
        Command::Tasks(arguments) => tasks::run(&arguments),
        Command::Explain(arguments) => explain::run(&arguments),
        Command::Compare(arguments) => compare::run(&arguments),
        Command::Export(arguments) => export::run(&arguments),
        Command::MetaTest(arguments) => meta_test::run(&arguments),
        Command::MetaTrain(arguments) => meta_train::run(&arguments),
        Command::Score(arguments) => score::run(&arguments),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("metalens-trainer: {}", one_line(&error));
            if error.is::<ConfigError>() || error.is::<WrongUsage>() {
                ExitCode::from(WRONG_USAGE)
            } else {
                ExitCode::FAILURE
            }
        }
    }
}

/// A number on the command line, within its bounds.
fn up_to(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("give a number from {least} to {most}"))
}

/// A number of threads.
fn threads(text: &str) -> Result<usize, String> {
    up_to(text, 1, 1024)
}

/// A file to write at the end of long work, which is not to fail there.
fn output(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_dir() {
        return Err("is a folder; name a file".to_owned());
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() && !folder.is_dir() => {
            Err(format!("{}: no such folder", folder.display()))
        }
        _ => Ok(path),
    }
}

/// Two files of which one is written, which are not to be one.
fn two_files(first: (&str, Option<&Path>), second: (&str, Option<&Path>)) -> Result<(), WrongUsage> {
    let whole = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path)).ok();
    match (first.1, second.1) {
        (Some(a), Some(b)) if whole(a) == whole(b) => {
            Err(WrongUsage(format!("{} and {} are the same file, {}", first.0, second.0, a.display())))
        }
        _ => Ok(()),
    }
}

/// A configuration, or what is wrong with it, which is wrong usage.
fn meta_config(path: &Path) -> anyhow::Result<MetaConfig> {
    MetaConfig::read(path).map_err(|error| WrongUsage(one_line(&error)).into())
}

/// A flag that Ctrl-C and termination set, so that long work stops at a good place.
fn stop_on_ctrl_c() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let handler = Arc::clone(&stop);
    ctrlc::set_handler(move || handler.store(true, Ordering::Relaxed))
        .context("installing the Ctrl-C handler")?;
    Ok(stop)
}
