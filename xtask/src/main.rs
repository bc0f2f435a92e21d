//! Development tasks: `cargo xtask …`. Depends on no inference engine, so that it compiles in seconds.

mod ablate;
mod apt;
mod bench;
mod deploy;
mod lab;
mod parity;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about)]
enum Task {
    /// Measure against a reference, side by side in one run.
    #[command(subcommand)]
    Bench(Bench),
    /// Train a configuration with one choice changed at a time, and print what each is worth on held-out pictures.
    Ablate(ablate::Arguments),
    Deploy(Box<deploy::Arguments>),
    /// Emulated boards: a device lab in software.
    #[command(subcommand)]
    Lab(lab::Lab),
    /// Unpack Debian's compiler with the standard library for arm64 into the user's cache, for `deploy --builder debian`.
    SetupCross,
    /// Compare the runtime with onnxruntime on a bundle's graphs.
    Parity {
        /// The bundle; the checkout's models/flickr8k-lite0 where not given.
        #[arg(long)]
        bundle: Option<PathBuf>,
        /// A corpus in Flickr8k's format; flickr8k in the folder METALENS_DATA where not given.
        #[arg(long)]
        data: Option<PathBuf>,
        /// Pictures that are compared.
        #[arg(long, default_value_t = 100)]
        count: usize,
    },
}

#[derive(Subcommand)]
enum Bench {
    /// Training steps of the trainer and of the same model in PyTorch.
    Pretrain {
        /// A folder that `metalens-trainer prepare --mirrored` wrote.
        #[arg(long)]
        data: PathBuf,
        /// Files of captions without pictures, for a captioner that knows concepts and reads as many of them.
        #[arg(long, value_name = "FILE", num_args = 1..)]
        texts: Vec<PathBuf>,
        /// Shards here, threads there.
        #[arg(long, default_value_t = 2)]
        threads: usize,
        /// Rounds, each with both.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Steps in each round.
        #[arg(long, default_value_t = 40)]
        steps: usize,
    },
    /// The stages of captioning, start-up, memory and size, of the release build.
    Captions,
    /// From a frame to its published caption, and what adapting beside captions costs.
    Daemon {
        /// Rounds.
        #[arg(long, default_value_t = 5)]
        rounds: usize,
    },
    /// The inner loop of a calibration with five pictures, here and in PyTorch.
    Calibrate {
        /// Rounds, each with both.
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Calibrations in each round; their median counts.
        #[arg(long, default_value_t = 15)]
        repetitions: usize,
    },
}

fn main() -> ExitCode {
    let result = match Task::parse() {
        Task::Bench(Bench::Pretrain { data, texts, threads, rounds, steps }) => {
            bench::pretrain(&data, &texts, threads, rounds, steps)
        }
        Task::Bench(Bench::Captions) => bench::captions(),
        Task::Bench(Bench::Daemon { rounds }) => bench::daemon(rounds),
        Task::Bench(Bench::Calibrate { rounds, repetitions }) => bench::calibrate(rounds, repetitions),
        Task::Ablate(arguments) => ablate::ablate(arguments),
        Task::Deploy(arguments) => deploy::deploy(*arguments),
        Task::Lab(task) => lab::lab(task),
        Task::SetupCross => deploy::builder::debian::setup(),
        Task::Parity { bundle, data, count } => parity::parity(bundle, data, count),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
