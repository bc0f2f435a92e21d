//! `cargo xtask bench`.

mod daemon;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::run::{cargo, output, python, root, run, target};

pub use daemon::daemon;

/// As in a real run: 32 pictures with five captions each.
const PICTURES: &str = "32";
const CAPTIONS: &str = "5";

/// Our training steps and PyTorch's, in turn, with the same number of threads; with `texts`, of a captioner that knows concepts.
pub fn pretrain(
    data: &Path,
    texts: &[PathBuf],
    threads: usize,
    rounds: usize,
    steps: usize,
) -> anyhow::Result<()> {
    anyhow::ensure!(rounds > 0, "--rounds needs 1 or more");
    let data = data.canonicalize().with_context(|| data.display().to_string())?;
    let python = python(&["numpy", "torch"])?;
    run(cargo().args(["build", "--quiet", "--workspace", "--example", "pretrain-steps"]))?;
    let ours = target().join("debug/examples/pretrain-steps");
    let words = target().join("pretrain-words.txt");
    let (steps, threads) = (steps.to_string(), threads.to_string());
    let mut rates = (Vec::new(), Vec::new());
    println!("pictures a second   candle   PyTorch   ratio");
    for round in 1..=rounds {
        let mut command = Command::new(&ours);
        // candle's own threads would compete with the shards'.
        command.env("RAYON_NUM_THREADS", "1").env("CANDLE_NUM_THREADS", "1").arg(&data);
        let told = output(command.args([PICTURES, CAPTIONS, &steps, &threads]).arg(&words).args(texts))?;
        // What it says of evidence comes before.
        let told = told.lines().last().unwrap_or_default();
        let ours = number(told, "pictures_per_second")?;
        let mut command = Command::new(&python);
        command.arg(root().join("trainer/benches/pretrain_torch.py")).arg(&data);
        command.args([PICTURES, CAPTIONS, &steps, &threads]).arg(&words);
        if !texts.is_empty() {
            let count = |name: &str| Ok::<_, anyhow::Error>(number(told, name)?.to_string());
            command.args([count("concepts")?, count("concepts_of_texts")?]).args(texts);
        }
        let theirs = field(&mut command, "pictures_per_second")?;
        println!("round {round:<12}{ours:>8.1}{theirs:>10.1}{:>8.2}", ours / theirs);
        rates.0.push(ours);
        rates.1.push(theirs);
    }
    let (ours, theirs) = (median(rates.0), median(rates.1));
    println!("{:18}{ours:>8.1}{theirs:>10.1}{:>8.2}", "median", ours / theirs);
    Ok(())
}

/// The sizes of a calibration with five pictures of one caption each: tokens, feature, hidden, words, steps.
const CALIBRATION: [&str; 5] = ["60", "896", "384", "3711", "5"];

/// The inner loop of a calibration with five pictures, each held out in turn, here and in PyTorch, on one thread each.
pub fn calibrate(rounds: usize, repetitions: usize) -> anyhow::Result<()> {
    anyhow::ensure!(rounds > 0 && repetitions > 0, "--rounds and --repetitions need 1 or more");
    let python = python(&["numpy", "torch"])?;
    run(cargo().args(["build", "--quiet", "--workspace", "--example", "calibrate-steps"]))?;
    let ours = target().join("debug/examples/calibrate-steps");
    let repetitions = repetitions.to_string();
    let mut times = (Vec::new(), Vec::new());
    println!("milliseconds         metalens   PyTorch   ratio");
    for round in 1..=rounds {
        let ours = field(Command::new(&ours).args(CALIBRATION).arg(&repetitions), "milliseconds")?;
        let mut command = Command::new(&python);
        command.env("OMP_NUM_THREADS", "1").arg(root().join("runtime/benches/calibrate_torch.py"));
        let theirs = field(command.args(CALIBRATION).arg(&repetitions), "milliseconds")?;
        println!("round {round:<12}{ours:>11.1}{theirs:>10.1}{:>8.2}", theirs / ours);
        times.0.push(ours);
        times.1.push(theirs);
    }
    let (ours, theirs) = (median(times.0), median(times.1));
    println!("{:18}{ours:>11.1}{theirs:>10.1}{:>8.2}", "median", theirs / ours);
    Ok(())
}

/// The release build: stages, start-up, memory and size.
pub fn captions() -> anyhow::Result<()> {
    run(cargo().args(["build", "--quiet", "--release", "--package", "metalens"]))?;
    let program = target().join("release/metalens");
    let bytes = program.metadata().with_context(|| program.display().to_string())?.len();
    run(Command::new(&program).current_dir(root()).arg("bench"))?;
    println!("binary                {:>10.1} MiB", bytes as f64 / f64::from(1 << 20));
    Ok(())
}

/// A number of the one JSON object that the program prints.
fn field(command: &mut Command, name: &str) -> anyhow::Result<f64> {
    number(&output(command)?, name)
}

/// The first number of that name in a JSON text.
fn number(text: &str, name: &str) -> anyhow::Result<f64> {
    let field =
        text.split(&format!("\"{name}\":")).nth(1).with_context(|| format!("no {name} in {text:?}"))?;
    let number = field.split([',', '}']).next().unwrap_or(field);
    number.trim().parse().with_context(|| format!("no {name} in {text:?}"))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
