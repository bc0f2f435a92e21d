//! Support sets, bundles and states that cannot be used, or only by force; what is refused changes nothing.

use std::path::PathBuf;

use metalens::store::State;
use metalens_models::InnerLoop;
use metalens_tests::meta;
use serde_json::Value;

use crate::workshop::*;

/// Runs a calibration that must fail with this line, with and without something in the state; neither may change.
fn refused(name: &str, make: impl Fn(&Workshop) -> PathBuf, expected: &str) {
    let workshop = Workshop::new();
    let support = make(&workshop);
    for calibrated in [false, true] {
        if calibrated {
            assert_eq!(workshop.calibrate(&workshop.blicks("good"), &[]).status.code(), Some(0));
        }
        let before = workshop.files();
        assert_eq!(before.is_some(), calibrated);
        let output = workshop.calibrate(&support, &[]);
        let error = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{name}: {error}");
        assert_eq!(error.lines().count(), 1, "{name}: {error}");
        assert!(error.contains(expected), "{name}: {error}");
        assert!(workshop.files() == before, "{name} changed the state");
    }
}

#[test]
fn each_bad_support_set_has_its_own_error_and_changes_nothing() {
    let named = |count: usize| (0..count).map(|n| format!("word{n}")).collect::<Vec<_>>().join(" ");
    let write = |workshop: &Workshop, captions: &str| {
        let folder = workshop.support("support", &[(1, 3, ""), (1, 8, "")]);
        std::fs::write(folder.join("captions.tsv"), captions).unwrap();
        folder
    };
    refused("no folder", |workshop| workshop.path("none"), "none: No such file");
    refused("no captions", |workshop| write(workshop, "\n"), "captions.tsv: no captions");
    let symbols = "1-3.png\ta toma\n1-8.png\t!? ***\n";
    refused("symbols", |workshop| write(workshop, symbols), "captions.tsv:2: \"!? ***\" has no word");
    let empty = "1-3.png\t \n1-8.png\ta toma\n";
    refused("empty", |workshop| write(workshop, empty), "captions.tsv:1: the caption of 1-3.png is empty");
    let many = format!("1-3.png\t{}\n1-8.png\t{}\n", named(10), named(17).split_off("word0 ".len() * 10));
    refused(
        "words",
        |workshop| write(workshop, &many),
        "17 new words (word0, word1, word10, …), but the bundle has room for 16",
    );
    refused("one", |workshop| workshop.support("support", &[(1, 3, "a toma")]), "one picture is too few");
    let pictures: String = (0..500).map(|n| format!("{n}.png\tthere is a toma here\n")).collect();
    refused(
        "pictures",
        |workshop| write(workshop, &pictures),
        "500 pictures with 3000 words in all, at most 2048",
    );
    let text = |workshop: &Workshop| {
        let folder = workshop.support("support", &[(1, 3, "a toma"), (1, 8, "a toma")]);
        std::fs::write(folder.join("1-8.png"), "no picture").unwrap();
        folder
    };
    refused(
        "no picture",
        text,
        "1-8.png: not a JPEG, PNG or WebP picture; replace the picture, or remove its line",
    );
}

#[test]
fn what_makes_held_out_samples_worse_is_kept_only_by_force() {
    // A lie among the truth: what the others teach of each is wrong.
    let captions = ["a blue square", "there is a blue square here", "a red bar"];
    let workshop = Workshop::new();
    let drawn: Vec<_> = captions.iter().zip(5..).map(|(caption, place)| (SQUARE, place, *caption)).collect();
    let support = workshop.support("support", &drawn);
    let places = &bundles().places;
    let output = workshop.calibrate_with(places, &support, &["--json"]);
    let error = stderr(&output);
    let refusal = error.lines().last().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    assert!(refusal.contains("captioned worse than before") && refusal.contains("--force"), "{error}");
    assert!(error.contains("look the same"), "{error}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["committed"], &report["generation"]), (&false.into(), &Value::Null));
    assert_eq!(workshop.files(), None);
    let forced = workshop.calibrate_with(places, &support, &["--force"]);
    assert_eq!(forced.status.code(), Some(0));
    let told = "% sure that these are ordinary pictures: only what is very like them is captioned anew";
    assert!(stdout(&forced).contains(told), "{}", stdout(&forced));
    assert!(workshop.state().join("heads/000001.postcard").is_file());
}

#[test]
fn one_picture_is_enough_by_force_and_its_held_out_score_is_unknown() {
    let workshop = Workshop::new();
    let support = workshop.support("support", &[(SQUARE, 3, "a blick")]);
    let output = workshop.calibrate(&support, &["--force", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["held_out_before"].is_null() && report["held_out_after"].is_null(), "{report}");
}

#[test]
fn a_long_caption_is_cut_with_a_warning() {
    let workshop = Workshop::new();
    let long = "a blick and a blick and a blick and a blick and a blick and a zorb";
    let drawn = [(SQUARE, 3, "a blick"), (SQUARE, 8, long), (SQUARE, 17, "a blick")];
    let output = workshop.calibrate(&workshop.support("support", &drawn), &["--json", "--force"]);
    let error = stderr(&output);
    assert!(error.contains("2-8.png: a caption of 17 words; the first 12 were used"), "{error}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["new_words"], serde_json::json!(["and", "blick"]));
}

#[test]
fn a_bundle_that_was_not_meta_learned_is_refused() {
    let workshop = Workshop::new();
    let output = workshop.calibrate_with(bare(), &workshop.blicks("support"), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("manifest.json has no inner_loop"), "{}", stderr(&output));
    assert_eq!(workshop.files(), None);

    let odd = workshop.path("odd");
    meta::add(bare(), &odd, InnerLoop { consensus: Some(0.0), ..meta::schedule() }).unwrap();
    let output = workshop.calibrate_with(&odd, &workshop.blicks("more"), &[]);
    assert_eq!(output.status.code(), Some(1));
    let text = stderr(&output);
    assert!(
        text.contains("manifest.json") && text.contains("inner_loop.consensus is 0, needed more"),
        "{text}"
    );
}

#[test]
fn a_state_that_cannot_be_written_keeps_what_it_had() {
    // A file lies where the state's folder should be made.
    let workshop = Workshop::new();
    let support = workshop.blicks("support");
    std::fs::write(workshop.state(), "no folder").unwrap();
    let output = workshop.calibrate(&support, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("state: a file, where a folder of the state belongs"),
        "{}",
        stderr(&output)
    );

    // The head can be written, and what makes it the one in use cannot.
    let workshop = Workshop::new();
    let support = workshop.blicks("support");
    workshop.calibrate(&support, &[]);
    let current = workshop.state().join("current");
    std::fs::remove_file(&current).unwrap();
    std::fs::create_dir(&current).unwrap();
    let before = workshop.files();
    let other = workshop
        .support("other", &[(1, 3, "a toma square"), (1, 8, "a toma square"), (5, 12, "a toma bar here")]);
    let output = workshop.calibrate(&other, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("current: "), "{}", stderr(&output));
    assert!(workshop.files() == before);
}

#[test]
fn two_calibrations_at_once_are_one_too_many() {
    let workshop = Workshop::new();
    let support = workshop.blicks("support");
    let first = State::open(&workshop.state()).unwrap();
    let output = workshop.calibrate(&support, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("in use by another metalens"), "{}", stderr(&output));
    drop(first);
    assert_eq!(workshop.calibrate(&support, &[]).status.code(), Some(0));
}

#[test]
fn wrong_usage_exits_with_2() {
    for arguments in [
        &["calibrate", "--state", "state"][..],
        &["calibrate", "--support", "support"],
        &["calibrate", "--state", "state", "--undo", "--force"],
    ] {
        let output = metalens().args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(stderr(&output).lines().count(), 1, "{arguments:?}");
    }
}
