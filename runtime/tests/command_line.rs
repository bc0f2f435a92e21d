//! `metalens` as a user or a script calls it, with the committed bundle.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use image::RgbImage;
use tempfile::TempDir;

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn picture(name: &str) -> String {
    checkout().join("tests/pictures").join(name).display().to_string()
}

fn metalens() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_metalens"));
    command.env("METALENS_BUNDLE", checkout().join("models/flickr8k-lite0"));
    command
}

fn run(arguments: &[&str]) -> Output {
    metalens().args(arguments).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The one line on standard error.
fn error_line(output: &Output) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

/// A copy of the committed bundle, to be damaged.
fn bundle_copy() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("bundle");
    std::fs::create_dir(&copy).unwrap();
    for entry in std::fs::read_dir(checkout().join("models/flickr8k-lite0")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    (folder, copy)
}

#[test]
fn one_picture_gives_one_line_of_words() {
    let output = run(&["caption", &picture("chelsea.jpg")]);
    assert_eq!(output.status.code(), Some(0));
    let text = stdout(&output);
    assert_eq!(text.lines().count(), 1);
    assert!(text.split_whitespace().count() >= 3, "{text}");
}

#[test]
fn the_readmes_first_command_says_what_the_readme_shows() {
    let readme = std::fs::read_to_string(checkout().join("README.md")).unwrap();
    let mut lines = readme.lines().skip_while(|line| !line.starts_with("$ cargo run -- caption "));
    let file = lines.next().unwrap().rsplit(' ').next().unwrap();
    let output = run(&["caption", checkout().join(file).to_str().unwrap()]);
    assert_eq!(stdout(&output).trim_end(), lines.next().unwrap());
}

#[test]
fn json_has_the_keys_that_scripts_read() {
    let output = run(&["caption", "--json", "--beam", "2", &picture("camera.jpg")]);
    let line: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let keys: Vec<&String> = line.as_object().unwrap().keys().collect();
    let expected = [
        "caption",
        "concepts",
        "decoder_ms",
        "encoder_ms",
        "familiarity",
        "file",
        "log_probability",
        "words",
    ];
    assert_eq!(keys, expected);
    assert!(line["familiarity"].is_null());
    let words: Vec<&str> =
        line["words"].as_array().unwrap().iter().map(|w| w["word"].as_str().unwrap()).collect();
    assert_eq!(words.join(" "), line["caption"].as_str().unwrap());
    let sum: f64 =
        line["words"].as_array().unwrap().iter().map(|w| w["probability"].as_f64().unwrap().ln()).sum();
    // The caption's end has a probability too.
    let total = line["log_probability"].as_f64().unwrap();
    assert!(total <= sum + 1e-4 && total > sum - 5.0, "{total} {sum}");
}

#[test]
fn a_file_that_is_no_picture_has_its_line_and_the_others_are_captioned() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    std::fs::write(&text, "no picture").unwrap();
    let (cat, man) = (picture("chelsea.jpg"), picture("camera.jpg"));
    let output = run(&["caption", &cat, text.to_str().unwrap(), &man]);
    assert_eq!(output.status.code(), Some(1));
    let error = error_line(&output);
    assert!(error.contains("notes.txt: not a JPEG, PNG or WebP picture"), "{error}");
    let said = stdout(&output);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with(&format!("{cat}: ")) && lines[1].starts_with(&format!("{man}: ")));
    assert_eq!(lines.len(), 2);
}

#[test]
fn a_picture_from_standard_input_is_captioned_like_its_file() {
    let file = picture("astronaut.jpg");
    let mut child =
        metalens().args(["caption", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&std::fs::read(&file).unwrap()).unwrap();
    let piped = child.wait_with_output().unwrap();
    assert_eq!(stdout(&piped), stdout(&run(&["caption", &file])));
}

#[test]
fn every_kind_of_bad_picture_has_its_own_line() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.display().to_string()
    };
    let draw = |name: &str, width, height| {
        let path = folder.path().join(name);
        RgbImage::new(width, height).save(&path).unwrap();
        path.display().to_string()
    };
    let whole = std::fs::read(picture("chelsea.jpg")).unwrap();
    let cases = [
        (write("empty.jpg", b""), "the file is empty"),
        (write("cut.jpg", &whole[..whole.len() / 2]), "the JPEG picture ends early"),
        (draw("dot.png", 1, 1), "the picture is 1x1 pixels"),
        (draw("line.png", 20_000, 10), "the picture is 20000x10 pixels"),
        (folder.path().display().to_string(), "a folder; name the pictures in it"),
        (folder.path().join("none.jpg").display().to_string(), "No such file"),
    ];
    for (file, expected) in cases {
        let output = run(&["caption", &file]);
        assert_eq!(output.status.code(), Some(1), "{file}");
        let error = error_line(&output);
        assert!(error.contains(&file) && error.contains(expected), "{error}");
    }
}

#[test]
fn cmyk_sixteen_bit_and_sideways_pictures_are_captioned() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("deep.png");
    image::ImageBuffer::<image::Rgb<u16>, _>::from_pixel(64, 48, image::Rgb([40_000_u16, 9_000, 9_000]))
        .save(&deep)
        .unwrap();
    let own = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pictures").join(name);
    for file in [deep, own("cmyk.jpg"), own("sideways.jpg")] {
        let output = run(&["caption", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{}", file.display());
    }
}

/// Does something to the bundle in a folder.
type Damage<'a> = &'a dyn Fn(&Path);

#[test]
fn a_damaged_bundle_is_refused_with_the_files_name() {
    let damage: [(&str, Damage); 5] = [
        ("head.onnx: sha256", &|bundle| {
            let path = bundle.join("head.onnx");
            let mut bytes = std::fs::read(&path).unwrap();
            bytes[1000] ^= 1;
            std::fs::write(path, bytes).unwrap();
        }),
        ("decoder.onnx: missing", &|bundle| std::fs::remove_file(bundle.join("decoder.onnx")).unwrap()),
        ("detector.onnx: missing", &|bundle| std::fs::remove_file(bundle.join("detector.onnx")).unwrap()),
        ("format version 1; this program reads 2; use the bundle of this program's release", &|bundle| {
            let path = bundle.join("manifest.json");
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(path, text.replacen("\"format\": 2", "\"format\": 1", 1)).unwrap();
        }),
        ("vocabulary.txt: ", &|bundle| {
            let path = bundle.join("vocabulary.txt");
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::write(path, &text[..text.len() / 2]).unwrap();
        }),
    ];
    for (expected, damage) in damage {
        let (_folder, bundle) = bundle_copy();
        damage(&bundle);
        let bundle = bundle.to_str().unwrap();
        let output = run(&["caption", "--bundle", bundle, &picture("chelsea.jpg")]);
        assert_eq!(output.status.code(), Some(1), "{expected}");
        let error = error_line(&output);
        assert!(error.contains(expected), "{error}");

        let doctor = run(&["doctor", "--bundle", bundle]);
        assert_eq!(doctor.status.code(), Some(1), "{expected}");
        assert!(stdout(&doctor).lines().any(|line| line.starts_with("FAILED")), "{expected}");
    }
    let file = picture("chelsea.jpg");
    let output = run(&["caption", "--bundle", &file, &file]);
    assert!(error_line(&output).contains("a file, not the folder of a bundle"));
}

#[test]
fn wrong_usage_exits_with_2_and_one_line() {
    for (arguments, named) in
        [(&["caption"][..], "<IMAGE>"), (&["caption", "--beam", "0", "a.jpg"], "--beam"), (&["sing"], "sing")]
    {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let error = error_line(&output);
        assert!(error.contains(named) && error.contains("--help"), "{error}");
    }
}

#[test]
fn the_doctor_finds_nothing_wrong_with_the_committed_bundle() {
    let output = run(&["doctor", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(report["ok"], true, "{report}");
    let names: Vec<&str> =
        report["checks"].as_array().unwrap().iter().map(|c| c["check"].as_str().unwrap()).collect();
    for name in ["manifest.json", "encoder.onnx", "graphs", "golden caption"] {
        assert!(names.contains(&name), "{names:?}");
    }
}

#[test]
fn bench_reports_every_stage() {
    let output = run(&["bench", "--json", "--rounds", "2", "--threads", "2"]);
    let report: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    for stage in ["preprocess_ms", "encoder_ms", "decoder_step_ms", "head_ms", "caption_ms", "start_ms"] {
        let (median, p95) = (report[stage]["median"].as_f64(), report[stage]["p95"].as_f64());
        assert!(median.unwrap() > 0.0 && p95.unwrap() >= median.unwrap(), "{stage}: {report}");
    }
    assert!(report["peak_rss_kib"].as_u64().unwrap() > 1000);
    assert_eq!(report["threads"], 2);
}
