//! `cargo xtask parity`.

use std::path::PathBuf;

use crate::run::{absolute, cargo, python, root, run, target};

/// Where corpora are when METALENS_DATA does not say.
const DATA: &str = "../shared/data";

pub fn parity(bundle: Option<PathBuf>, data: Option<PathBuf>, count: usize) -> anyhow::Result<()> {
    let corpora = || root().join(std::env::var_os("METALENS_DATA").unwrap_or_else(|| DATA.into()));
    let bundle = absolute(bundle.unwrap_or_else(|| root().join("models/flickr8k-lite0")))?;
    let given = data.is_some();
    let data = absolute(data.unwrap_or_else(|| corpora().join("flickr8k")))?;
    if !data.exists() {
        anyhow::ensure!(!given, "{}: no such folder", data.display());
        println!(
            "parity: skipped, {} does not exist; METALENS_DATA names the folder of the corpora",
            data.display()
        );
        return Ok(());
    }
    let python = python(&["numpy", "onnx", "onnxruntime"])?;
    let dump = target().join("parity");
    if dump.exists() {
        std::fs::remove_dir_all(&dump)?;
    }
    run(cargo()
        .args(["run", "--quiet", "--bin", "parity-dump", "--"])
        .arg("--bundle")
        .arg(&bundle)
        .arg("--data")
        .arg(&data)
        .arg("--out")
        .arg(&dump)
        .args(["--count", &count.to_string()]))?;
    let script = root().join("tests/parity/onnxruntime_parity.py");
    let mut command = std::process::Command::new(python);
    run(command.current_dir(root()).arg(script).arg(&bundle).arg(&dump))
}
