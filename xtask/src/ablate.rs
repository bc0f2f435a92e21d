//! `cargo xtask ablate`: what each choice of a training configuration is worth.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::run::{absolute, cargo, root, run, target};

/// Name, and what is set instead of the configuration's own.
const ROWS: [(&str, &[&str]); 8] = [
    ("as configured", &[]),
    // What chance is worth.
    ("another seed", &["seed=2"]),
    ("no mirrored pictures", &["regularisation.flip=false"]),
    ("no label smoothing", &["regularisation.label_smoothing=0.0"]),
    ("word dropout 0.1", &["regularisation.word_dropout=0.1"]),
    ("no running average", &["schedule.average=0.0"]),
    ("batch of 16 pictures", &["schedule.pictures=16"]),
    ("batch of 64 pictures", &["schedule.pictures=64"]),
];

/// Trains one run a row for a few epochs, into folders below `runs`, and prints the scores of the held-out pictures. All rows
/// have `settings`, such as `validation.pictures=1000`. A run that is there already goes on or is only read, so an interrupted
/// table is continued by the same command.
pub fn ablate(
    config: Option<PathBuf>,
    settings: &[String],
    epochs: usize,
    runs: Option<PathBuf>,
) -> anyhow::Result<()> {
    let config = absolute(config.unwrap_or_else(|| root().join("trainer/configs/flickr8k.toml")))?;
    let runs = absolute(runs.unwrap_or_else(|| root().join("runs/ablate")))?;
    run(cargo().args(["build", "--quiet", "--workspace", "--bin", "metalens-trainer"]))?;
    let trainer = target().join("debug/metalens-trainer");
    let mut table = String::new();
    for (name, changed) in ROWS {
        let folder = runs.join(name.replace(' ', "-"));
        println!("{name}: {}", folder.display());
        let mut command = Command::new(&trainer);
        command.current_dir(root()).args(["pretrain", "--run"]).arg(&folder);
        if folder.join("latest.safetensors").is_file() {
            command.arg("--resume");
        } else {
            command.arg("--config").arg(&config).args(["--set", &format!("schedule.epochs={epochs}")]);
            let settings = settings.iter().map(String::as_str).chain(changed.iter().copied());
            command.args(settings.flat_map(|setting| ["--set", setting]));
        }
        run(&mut command)?;
        let last = last_row(&folder.join("curve.csv"))?;
        anyhow::ensure!(
            last.get("epoch").map(String::as_str) == Some(epochs.to_string().as_str()),
            "{}: was not trained for {epochs} epochs; interrupted, or made with another --epochs",
            folder.display()
        );
        let columns = ["validation_loss", "bleu4", "rouge_l", "cider"];
        let values = columns.map(|column| last.get(column).cloned().unwrap_or_default());
        table += &format!("| {name} | {} |\n", values.join(" | "));
    }
    println!(
        "\n| {epochs} epochs | validation loss | BLEU-4 | ROUGE-L | CIDEr |\n|---|---|---|---|---|\n{table}"
    );
    Ok(())
}

/// The last line of a curve, by the names in its first.
fn last_row(curve: &Path) -> anyhow::Result<HashMap<String, String>> {
    let text = std::fs::read_to_string(curve).with_context(|| curve.display().to_string())?;
    let fields =
        |line: Option<&str>| line.unwrap_or_default().split(',').map(str::to_owned).collect::<Vec<_>>();
    let (names, values) = (fields(text.lines().next()), fields(text.lines().last()));
    Ok(names.into_iter().zip(values).collect())
}
