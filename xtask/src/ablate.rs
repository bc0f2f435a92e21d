//! `cargo xtask ablate`: what each choice of a training configuration is worth.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::Context;
use serde_json::Value;

use crate::run::{absolute, cargo, root, run, target};

/// The first row, which the others are compared with.
const CONFIGURED: &str = "as configured";

/// Name, and what is set instead of the configuration's own.
const ROWS: [(&str, &[&str]); 7] = [
    // What chance is worth.
    ("another seed", &["seed=2"]),
    ("no mirrored pictures", &["regularisation.flip=false"]),
    ("no label smoothing", &["regularisation.label_smoothing=0.0"]),
    ("word dropout 0.1", &["regularisation.word_dropout=0.1"]),
    ("no running average", &["schedule.average=0.0"]),
    ("batch of 16 pictures", &["schedule.pictures=16"]),
    ("batch of 64 pictures", &["schedule.pictures=64"]),
];

/// Train a configuration with one choice changed at a time, and print what each is worth on held-out pictures.
#[derive(clap::Args)]
pub struct Arguments {
    /// The configuration; trainer/configs/flickr8k.toml where not given.
    #[arg(long)]
    config: Option<PathBuf>,
    /// A setting for every run, as `pretrain --set` takes it; may be given several times.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<String>,
    /// A row of the table instead of the usual ones: its name, a colon, and what is set, such as "no pointing:
    /// concepts.pointing=false"; several settings have semicolons between them. May be given several times.
    #[arg(long = "row", value_name = "NAME:NAME=VALUE")]
    rows: Vec<Row>,
    /// Also caption these pictures with what each row exports, and tell by how much CIDEr falls from the first row to it, with a
    /// 95 % interval paired by picture: what `meta-test` takes after --data, such as "/data/coco_more --format coco --split val
    /// --ids even". RUN in it stands for the first row's run, as in "--pictures RUN/held-out.txt". May be given several times.
    #[arg(long = "on", value_name = "DATA ARGUMENTS")]
    parts: Vec<String>,
    /// The detector that the pictures were prepared with, for the bundles that rows export.
    #[arg(long, value_name = "FILE")]
    detector: Option<PathBuf>,
    /// Epochs of each run.
    #[arg(long, default_value_t = 5)]
    epochs: usize,
    /// The folder for the runs; runs/ablate of the checkout where not given.
    #[arg(long)]
    runs: Option<PathBuf>,
}

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    name: String,
    settings: Vec<String>,
}

impl Row {
    fn new(name: &str, settings: &[&str]) -> Self {
        Self { name: name.to_owned(), settings: settings.iter().map(|&setting| setting.to_owned()).collect() }
    }
}

impl FromStr for Row {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "give a name, a colon and NAME=VALUE".to_owned();
        let (name, settings) = text.split_once(':').ok_or_else(wrong)?;
        let settings: Vec<&str> = settings.split(';').map(str::trim).collect();
        let name = name.trim();
        let good = !name.is_empty()
            && !name.contains(['/', '\\'])
            && name != CONFIGURED
            && settings.iter().all(|setting| setting.contains('='));
        good.then(|| Self::new(name, &settings)).ok_or_else(wrong)
    }
}

/// Trains one run a row for a few epochs, into folders below `runs`, and prints the scores of the held-out pictures, and of other
/// pictures where they are given. A run that is there already goes on or is only read, so an interrupted table is continued by
/// the same command.
pub fn ablate(arguments: Arguments) -> anyhow::Result<()> {
    let Arguments { config, settings, rows, parts, detector, epochs, runs } = arguments;
    let config = absolute(config.unwrap_or_else(|| root().join("trainer/configs/flickr8k.toml")))?;
    let runs = absolute(runs.unwrap_or_else(|| root().join("runs/ablate")))?;
    run(cargo().args(["build", "--quiet", "--workspace", "--bin", "metalens-trainer"]))?;
    let trainer = target().join("debug/metalens-trainer");
    let others =
        if rows.is_empty() { ROWS.map(|(name, settings)| Row::new(name, settings)).to_vec() } else { rows };
    let first = runs.join(CONFIGURED.replace(' ', "-"));
    let mut table = String::new();
    for Row { name, settings: changed } in std::iter::once(Row::new(CONFIGURED, &[])).chain(others) {
        let folder = runs.join(name.replace(' ', "-"));
        println!("{name}: {}", folder.display());
        let mut command = Command::new(&trainer);
        command.current_dir(root()).args(["pretrain", "--run"]).arg(&folder);
        if folder.join("latest.safetensors").is_file() {
            command.arg("--resume");
        } else {
            command.arg("--config").arg(&config).args(["--set", &format!("schedule.epochs={epochs}")]);
            command.args(settings.iter().chain(&changed).flat_map(|setting| ["--set", setting]));
        }
        run(&mut command)?;
        let last = last_row(&folder.join("curve.csv"))?;
        anyhow::ensure!(
            last.get("epoch").map(String::as_str) == Some(epochs.to_string().as_str()),
            "{}: was not trained for {epochs} epochs; interrupted, or made with another --epochs",
            folder.display()
        );
        let columns = ["validation_loss", "bleu4", "rouge_l", "cider"];
        let mut values: Vec<String> =
            columns.iter().map(|column| last.get(*column).cloned().unwrap_or_default()).collect();
        if !parts.is_empty() {
            let bundle = exported(&trainer, &folder, detector.as_deref())?;
            for (place, part) in parts.iter().enumerate() {
                values.push(of_part(&trainer, &bundle, &folder, &first, place, part)?);
            }
        }
        table += &format!("| {name} | {} |\n", values.join(" | "));
    }
    let heads: String = parts.iter().map(|part| format!(" {part} |")).collect();
    let rules = "---|".repeat(5 + parts.len());
    println!("\n| {epochs} epochs | validation loss | BLEU-4 | ROUGE-L | CIDEr |{heads}\n|{rules}\n{table}");
    Ok(())
}

/// The bundle of a run, made where it is not there.
fn exported(trainer: &Path, folder: &Path, detector: Option<&Path>) -> anyhow::Result<PathBuf> {
    let bundle = folder.join("bundle");
    if !bundle.join("manifest.json").is_file() {
        let mut export = Command::new(trainer);
        export.current_dir(root()).args(["export", "--run"]).arg(folder).arg("--out").arg(&bundle);
        if let Some(detector) = detector {
            export.arg("--detector").arg(detector);
        }
        run(export.arg("--golden").arg(root().join("tests/pictures/hopper.jpg")))?;
    }
    Ok(bundle)
}

/// CIDEr on a part, and how much that is less than the first row's.
fn of_part(
    trainer: &Path,
    bundle: &Path,
    folder: &Path,
    first: &Path,
    place: usize,
    part: &str,
) -> anyhow::Result<String> {
    let file = |folder: &Path| folder.join(format!("part-{}.json", place + 1));
    let written = file(folder);
    let mut test = Command::new(trainer);
    test.current_dir(root()).args(["meta-test", "--bundle"]).arg(bundle).arg("--data");
    let first_folder = first.display().to_string();
    test.args(part.split_whitespace().map(|argument| argument.replace("RUN", &first_folder)));
    test.arg("--json").arg(&written);
    if folder != first {
        test.arg("--against").arg(file(first));
    }
    run(&mut test)?;
    let text = std::fs::read(&written).with_context(|| written.display().to_string())?;
    let report: Value = serde_json::from_slice(&text).with_context(|| written.display().to_string())?;
    cell(&report).with_context(|| format!("{}: no CIDEr in it", written.display()))
}

/// What the table says of a part. The difference is turned round: what the row lacks counts as worth something.
fn cell(report: &Value) -> Option<String> {
    let cider = report["scores"]["cider"].as_f64()?;
    let Some(difference) = report.get("against").map(|against| &against["cider_difference"]) else {
        return Some(format!("{cider:.3}"));
    };
    let (mean, interval) = (difference["mean"].as_f64()?, &difference["interval"]);
    let (low, high) = (interval[0].as_f64()?, interval[1].as_f64()?);
    Some(format!("{cider:.3}, worth {:+.3} [{:+.3} {:+.3}]", -mean, -high, -low))
}

/// The last line of a curve, by the names in its first.
fn last_row(curve: &Path) -> anyhow::Result<HashMap<String, String>> {
    let text = std::fs::read_to_string(curve).with_context(|| curve.display().to_string())?;
    let fields =
        |line: Option<&str>| line.unwrap_or_default().split(',').map(str::to_owned).collect::<Vec<_>>();
    let (names, values) = (fields(text.lines().next()), fields(text.lines().last()));
    Ok(names.into_iter().zip(values).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_name_and_settings() {
        let row: Row = "no things: concepts.things=false; concepts.classes=false".parse().unwrap();
        assert_eq!(row, Row::new("no things", &["concepts.things=false", "concepts.classes=false"]));
        for wrong in ["no things", "no things: concepts.things", ": a=1", "as configured: a=1", "../x: a=1"] {
            assert!(wrong.parse::<Row>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_left_out_is_worth_what_cider_falls() {
        let mut report = serde_json::json!({"scores": {"cider": 0.5}});
        assert_eq!(cell(&report).unwrap(), "0.500");
        report["against"] = serde_json::json!({"cider_difference": {"mean": -0.1, "interval": [-0.15, -0.05], "pictures": 9}});
        assert_eq!(cell(&report).unwrap(), "0.500, worth +0.100 [+0.050 +0.150]");
        report["scores"] = Value::Null;
        assert_eq!(cell(&report), None);
    }
}
