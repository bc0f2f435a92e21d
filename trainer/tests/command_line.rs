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
    assert!(error_of(&pretrain).contains("no/such/folder: no prepared folder; make it with"));
    assert!(error_with(2, &["pretrain", "--resume", "--run", text(&run_folder)]).contains("run.toml"));
}

#[test]
fn tasks_are_written_shown_and_refused_with_a_reason() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let mut captions = String::new();
    for i in 0..80 {
        let animal = ["dog", "cat", "cow", "pig"][i % 4];
        captions += &format!("{i}.png\ta {animal} on the grass\n{i}.png\tthe {animal} is near a tree\n");
        image::RgbImage::new(16, 16).save(data.join(format!("{i}.png"))).unwrap();
    }
    std::fs::write(data.join("captions.tsv"), captions).unwrap();
    std::fs::write(data.join("concepts.txt"), "dog\ncat\n").unwrap();
    let (out, page, concepts) = (data.join("tasks.json"), data.join("task.html"), data.join("concepts.txt"));
    let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/flickr8k-lite0");
    let common =
        ["tasks", "--data", text(data), "--bundle", text(&bundle), "--out", text(&out), "--split", "test"];
    let of = |kind, more: &[&'static str]| [&common[..], &["--kind", kind], more].concat();
    let new_word = of("new-word", &["--format", "tsv", "--picture-shares", "0,0,1", "--count", "3"]);

    let output = run(&[&new_word[..], &["--concepts", text(&concepts), "--sheet", text(&page)]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let table = String::from_utf8(output.stdout).unwrap();
    assert_eq!(table.lines().count(), 5, "{table}");
    assert!(table.contains("meta-test: 2 subjects: cat 20, dog 20"), "{table}");
    assert_eq!(std::fs::read_to_string(&page).unwrap().matches("<img ").count(), 5 + 16);
    let file: serde_json::Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!((&file["format"], file["tasks"].as_array().unwrap().len()), (&serde_json::json!(1), 3));

    assert!(error_of(&[&new_word[..], &["--shots", "90"]].concat()).contains("a task needs 98"));
    assert!(error_of(&of("new-domain", &["--format", "tsv"])).contains("no picture has a scene"));
    assert!(error_of(&of("new-word", &[])).contains("no prepared folder"));
    assert!(error_with(2, &[&new_word[..], &["--scenes", "2"]].concat()).contains("--scenes"));
    assert!(
        error_with(2, &[&of("new-domain", &[])[..], &["--concepts", "x"]].concat()).contains("--concepts")
    );
    assert!(error_with(2, &of("new-word", &["--sheet", "x.html"])).contains("--images"));
    assert_eq!(run(&of("new-word", &["--shares", "0,0,0"])).status.code(), Some(2));
    assert_eq!(run(&of("new-word", &["--shots", "0"])).status.code(), Some(2));
}

#[test]
fn what_would_fail_at_the_end_of_long_work_is_refused_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let (here, nowhere) = (folder.path().join("page"), folder.path().join("none/page"));
    let test = ["meta-test", "--data", "no/such", "--format", "flickr"];
    let error = error_with(2, &[&test[..], &["--json", text(folder.path())]].concat());
    assert!(error.contains("--json") && error.contains("is a folder; name a file"), "{error}");
    let error = error_with(2, &[&test[..], &["--sheet", text(&nowhere)]].concat());
    assert!(error.contains("--sheet") && error.contains("none: no such folder"), "{error}");
    let error = error_with(2, &[&test[..], &["--sheet", text(&here), "--json", text(&here)]].concat());
    assert!(error.contains("--json and --sheet are the same file"), "{error}");
}

#[test]
fn things_are_counted_on_one_half_of_coco_and_two_bundles_are_compared_on_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let (mut images, mut annotations) = (Vec::new(), Vec::new());
    std::fs::create_dir_all(data.join("val2017")).unwrap();
    std::fs::create_dir(data.join("annotations")).unwrap();
    for id in 1..=5_u32 {
        let file_name = format!("{id:012}.png");
        let colour = image::Rgb([40 * id as u8, 90, 200 - 30 * id as u8]);
        image::RgbImage::from_pixel(64, 48, colour).save(data.join("val2017").join(&file_name)).unwrap();
        images.push(serde_json::json!({ "id": id, "file_name": file_name }));
        for caption in ["Zebras graze near a bench.", "A zebra.", "A hot dog."] {
            annotations.push(serde_json::json!({ "image_id": id, "caption": caption }));
        }
    }
    let captions = serde_json::json!({ "images": images, "annotations": annotations });
    std::fs::write(data.join("annotations/captions_val2017.json"), captions.to_string()).unwrap();
    let (first, second) = (data.join("first.json"), data.join("second.json"));
    let bundle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/flickr8k-lite0");
    let test = ["meta-test", "--bundle", text(&bundle), "--data", text(data), "--format", "coco"];
    let of = |more: &[&str]| {
        let output = run(&[&test[..], &["--split", "val"], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };

    let printed = of(&["--ids", "odd", "--json", text(&first)]);
    assert!(printed.starts_with("3 pictures captioned, 0 rejected"), "{printed}");
    let written: serde_json::Value = serde_json::from_slice(&std::fs::read(&first).unwrap()).unwrap();
    // Two people say zebra of each of three pictures, and one a bench or a hot dog.
    assert_eq!(written["things_said"]["of"], 3);
    let said = written["things_said"]["share"].as_f64().unwrap();
    assert!(
        printed.contains(&format!("COCO's things: said {said:.3} of 3 that two people say, false ")),
        "{printed}"
    );
    for (captioned, id) in written["captions"].as_array().unwrap().iter().zip([1, 3, 5]) {
        assert_eq!(captioned["id"], format!("{id:012}.png"));
        let things = &captioned["things"];
        let zebra = serde_json::json!(["zebra"]);
        assert!(
            things["missed"] == zebra || things["right"].as_array().unwrap().contains(&zebra[0]),
            "{things}"
        );
    }

    // The same bundle is no better than itself, nor than what was written of it; the other half is another matter.
    let itself = of(&["--ids", "odd", "--against", text(&bundle), "--json", text(&second)]);
    assert!(itself.contains(": +0.000 [+0.000 +0.000] over 3 pictures"), "{itself}");
    let written: serde_json::Value = serde_json::from_slice(&std::fs::read(&second).unwrap()).unwrap();
    assert_eq!(written["against"]["cider_difference"]["pictures"], 3);
    assert_eq!(written["against"]["things_said"], written["things_said"]);
    assert!(of(&["--ids", "odd", "--against", text(&first)]).contains("over 3 pictures"));
    let even = [&test[..], &["--ids", "even", "--against"]].concat();
    assert!(
        error_of(&[&even[..], &[text(&first)]].concat()).ends_with("not of the same pictures and references")
    );
    assert!(error_of(&[&even[..], &["no/such"]].concat()).contains("no/such"));

    std::fs::write(data.join("captions.tsv"), "val2017/000000000001.png\ta zebra\n").unwrap();
    let numberless = ["meta-test", "--data", text(data), "--format", "tsv", "--ids", "odd"];
    assert!(error_of(&numberless).ends_with("pictures of format tsv have no numbers; those of coco have"));
}

#[test]
fn a_bundle_takes_a_jpeg_to_test_itself_and_as_many_slots_as_were_measured() {
    let folder = tempfile::tempdir().unwrap();
    let picture = folder.path().join("golden.png");
    std::fs::write(&picture, b"\x89PNG\r\n\x1a\n").unwrap();
    let out = folder.path().join("bundle");
    let export = ["export", "--run", "no/such", "--out", text(&out), "--golden", text(&picture)];
    assert!(error_of(&export).ends_with("golden.png: the picture of the self-test needs to be a JPEG"));
    let error = error_with(2, &[&export[..], &["--slots", "257"]].concat());
    assert!(error.contains("--slots") && error.contains("give a number from 1 to 256"), "{error}");
}
