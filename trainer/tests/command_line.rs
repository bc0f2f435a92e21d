//! `metalens-trainer` as a user or a script calls it: each mistake has one clear line.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_metalens-trainer"))
        .args(arguments)
        .env("RUST_BACKTRACE", "1")
        .output()
        .unwrap()
}

/// Runs a command that must fail at its work, and returns its last line on standard error.
fn error_of(arguments: &[&str]) -> String {
    error_with(1, arguments)
}

/// Runs a command that must exit with `code`, and returns its last line on standard error.
fn error_with(code: i32, arguments: &[&str]) -> String {
    let output = run(arguments);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}");
    let text = String::from_utf8(output.stderr).unwrap();
    let last = text.lines().last().unwrap().to_owned();
    assert!(last.starts_with("metalens-trainer: "), "{text}");
    last
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn score_prints_the_keys_that_scripts_read() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/score");
    let (h, r) = (golden.join("one.hypotheses.jsonl"), golden.join("one.references.jsonl"));
    let output = run(&["score", "--hypotheses", text(&h), "--references", text(&r), "--json"]);
    let scores: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let keys: Vec<&String> = scores.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["bleu1", "bleu2", "bleu3", "bleu4", "cider", "rouge_l"]);
}

#[test]
fn an_empty_corpus_and_captions_for_absent_pictures_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("corpus");
    std::fs::create_dir(&data).unwrap();
    let out = folder.path().join("out");
    let prepare = ["prepare", "--format", "tsv", "--data", text(&data), "--out", text(&out)];
    assert!(error_of(&prepare).contains("captions.tsv"));
    std::fs::write(data.join("captions.tsv"), "").unwrap();
    let empty = error_of(&prepare);
    std::fs::write(data.join("captions.tsv"), "gone.jpg\ta dog\n").unwrap();
    let absent = error_of(&prepare);
    assert!(empty.contains("no caption") && absent.contains("gone.jpg"), "{empty} / {absent}");
    assert!(
        error_of(&["prepare", "--format", "tsv", "--data", "no/such", "--out", text(&out)])
            .contains("no/such")
    );
    assert_eq!(run(&["prepare", "--format", "csv", "--data", "x", "--out", "y"]).status.code(), Some(2));
}

#[test]
fn a_trunk_that_is_missing_or_no_graph_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    std::fs::write(data.join("captions.tsv"), "a.png\ta dog\n").unwrap();
    image_file(&data.join("a.png"));
    let trunk = data.join("trunk.onnx");
    let out = data.join("out");
    let prepare =
        ["prepare", "--format", "tsv", "--data", text(data), "--out", text(&out), "--trunk", text(&trunk)];
    assert!(error_of(&prepare).contains("import-encoder"));
    std::fs::write(&trunk, "this is no graph").unwrap();
    assert!(error_of(&prepare).contains("trunk.onnx"));
}

/// The smallest file that the readers take for a picture; they do not decode it.
fn image_file(path: &Path) {
    std::fs::write(path, b"\x89PNG\r\n\x1a\n").unwrap();
}

#[test]
fn a_checkpoint_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("weights.pth");
    assert!(error_of(&["import-encoder", text(&path)]).contains("weights.pth"));
    std::fs::write(&path, "PK but no archive").unwrap();
    assert!(error_of(&["import-encoder", text(&path)]).contains("weights.pth"));
    std::fs::write(&path, "").unwrap();
    assert!(error_of(&["import-encoder", text(&path)]).contains("not a readable PyTorch checkpoint"));
    assert!(error_of(&["import-encoder", text(folder.path())]).contains(text(folder.path())));
}

#[test]
fn pretrain_names_what_its_configuration_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("run.toml");
    let run_folder = folder.path().join("run");
    let pretrain = ["pretrain", "--config", text(&config), "--run", text(&run_folder)];
    assert!(error_with(2, &pretrain).contains("run.toml"));
    std::fs::write(&config, "seed = 1\n").unwrap();
    assert!(error_with(2, &pretrain).contains("missing field `data`"));
    std::fs::write(&config, "data = \"no/such/folder\"\n").unwrap();
    assert!(error_of(&pretrain).contains("no/such/folder/pictures.json"));
    assert!(error_with(2, &["pretrain", "--resume", "--run", text(&run_folder)]).contains("run.toml"));
}
