//! `cargo xtask parity`.

use std::path::Path;

use crate::run::{cargo, python, root, run, target};

pub fn parity(bundle: &Path, data: &Path, count: usize) -> anyhow::Result<()> {
    if !data.exists() {
        println!("parity: skipped, {} does not exist", data.display());
        return Ok(());
    }
    let python = python(&["numpy", "onnx", "onnxruntime"])?;
    let dump = target().join("parity");
    if dump.exists() {
        std::fs::remove_dir_all(&dump)?;
    }
    run(cargo()
        .args(["run", "--quiet", "--package", "metalens-tests", "--bin", "parity-dump", "--"])
        .arg("--bundle")
        .arg(bundle)
        .arg("--data")
        .arg(data)
        .arg("--out")
        .arg(&dump)
        .args(["--count", &count.to_string()]))?;
    let script = root().join("tests/parity/onnxruntime_parity.py");
    let mut command = std::process::Command::new(python);
    run(command.current_dir(root()).arg(script).arg(bundle).arg(&dump))
}
