//! `metalens calibrate` and `caption --state`, from drawn pictures to what a script sees.
#![allow(clippy::unwrap_used)]

mod refusals;
mod workshop;

use std::path::Path;

use metalens::adaptation::{Sample, read_support};
use metalens::calibrator::{Calibration, Calibrator, Proof};
use metalens::store::{State, StateReader};
use metalens::{Captioner, Options};
use metalens_models::{Bundle, InnerLoop};
use metalens_tests::{drawing, meta};
use serde_json::Value;

use workshop::*;

#[test]
fn a_word_that_is_taught_is_said_of_its_kind_and_of_no_other() {
    let workshop = Workshop::new();
    let output = workshop.calibrate(&workshop.blicks("support"), &["--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = stdout(&output);
    let keys = [
        "samples",
        "steps",
        "loss_before",
        "loss_after",
        "held_out_before",
        "held_out_after",
        "new_words",
        "committed",
        "generation",
        "adapt_ms",
    ];
    assert_eq!(report.as_object().unwrap().len(), keys.len());
    let places: Vec<usize> = keys.iter().map(|key| text.find(&format!("\"{key}\":")).unwrap()).collect();
    assert!(places.is_sorted(), "{text}");
    assert_eq!((&report["samples"], &report["steps"]), (&4.into(), &5.into()));
    assert_eq!(report["new_words"], serde_json::json!(["Blick"]));
    assert_eq!((&report["committed"], &report["generation"]), (&true.into(), &1.into()));
    let number = |key: &str| report[key].as_f64().unwrap();
    assert!(number("loss_after") < number("loss_before"), "{text}");
    assert!(number("held_out_after") < number("held_out_before"), "{text}");

    let state = workshop.state();
    let with_state = ["--state", state.to_str().unwrap()];
    for place in [2, 5, 13, 19, 22] {
        for kind in 0..drawing::KINDS {
            let (before, none, _) = workshop.said(bundle(), kind, place, &[]);
            let (after, familiarity, _) = workshop.said(bundle(), kind, place, &with_state);
            let familiarity = familiarity.as_f64().unwrap();
            assert!(none.is_null());
            if is_blick(kind) {
                assert!(after.split(' ').any(|word| word == "Blick"), "{before} became {after}");
                assert!(familiarity > 0.5, "{familiarity}");
            } else {
                assert_eq!(after, before);
                assert!(familiarity < 0.5, "{familiarity}");
            }
        }
    }
}

#[test]
fn of_a_place_that_is_said_which_its_captions_agree_on() {
    let workshop = Workshop::new();
    let mut schedule = meta::schedule();
    schedule.familiarity.threshold = 2.0;
    schedule.steps = 0;
    let (found, agreed) = (workshop.path("found"), workshop.path("agreed"));
    meta::add(bare(), &found, schedule.clone()).unwrap();
    meta::add(bare(), &agreed, InnerLoop { consensus: Some(0.2), ..schedule }).unwrap();
    let support = workshop.support(
        "support",
        &[
            (SQUARE, 2, "green bar red"),
            (SQUARE, 3, "The lamp is on."),
            (SQUARE, 8, "the lamp is on"),
            (SQUARE, 11, "a lamp is on here"),
        ],
    );
    // No ordinary picture is like these.
    let at_night = |place| {
        let mut picture = drawing::picture(SQUARE, place);
        image::imageops::invert(&mut picture);
        picture
    };
    for place in [2, 3, 8, 11] {
        at_night(place).save(support.join(format!("{SQUARE}-{place}.png"))).unwrap();
    }
    let captioner = |folder: &Path| {
        let bundle = Bundle::open(folder).unwrap();
        let samples = read_support(&support).unwrap();
        let learned = Calibrator::open(&bundle).unwrap().calibrate(&samples, Proof::Waived).unwrap().learned;
        let mut captioner = Captioner::from_bundle(&bundle, Options::default()).unwrap();
        captioner.learn(Some(learned));
        captioner
    };
    let (mut found, mut agreed) = (captioner(&found), captioner(&agreed));
    let caption = agreed.caption(&at_night(2)).unwrap();
    assert_eq!(caption.text(), "the lamp is on");
    assert_ne!(found.caption(&at_night(2)).unwrap().text(), "the lamp is on");
    // What was looked up has its probabilities too.
    let words: f32 = caption.words.iter().map(|word| word.probability.ln()).sum();
    assert!(words.is_finite() && caption.log_probability < words, "{caption:?}");
    assert_eq!(caption.attention.nrows(), 4);
    let table = stdout(&workshop.calibrate_with(&workshop.path("agreed"), &support, &["--force"]));
    assert!(table.contains("% sure that this is a place of its own: what is like it gets "), "{table}");
    // Other pictures are described as before.
    agreed.learn(None);
    let before = agreed.caption(&drawing::picture(SQUARE, 2)).unwrap().text();
    assert_eq!(
        captioner(&workshop.path("agreed")).caption(&drawing::picture(SQUARE, 2)).unwrap().text(),
        before
    );
}

#[test]
fn the_table_says_what_changed_and_what_was_kept() {
    let workshop = Workshop::new();
    let output = workshop.calibrate(&workshop.blicks("support"), &[]);
    let text = stdout(&output);
    for expected in [
        "before",
        "6-17.png",
        "held-out samples",
        "new word Blick: began as ",
        "% sure that these are ordinary pictures: captions stay, but for new words",
        "kept as calibration 000001",
    ] {
        assert!(text.contains(expected), "{text}");
    }
    let row = text.lines().find(|line| line.starts_with("6-17.png")).unwrap();
    assert!(row.contains("->") && row.contains("Blick"), "{text}");
}

fn calibrate(samples: &[Sample]) -> Calibration {
    let mut calibrator = Calibrator::open(&Bundle::open(bundle()).unwrap()).unwrap();
    calibrator.calibrate(samples, Proof::Required).unwrap()
}

#[test]
fn calibrating_again_or_in_another_order_gives_the_same_head() {
    let workshop = Workshop::new();
    let support = workshop.blicks("support");
    let captions = support.join("captions.tsv");
    let lines = std::fs::read_to_string(&captions).unwrap() + "2-3.png\tthere is a blick square\n";
    std::fs::write(&captions, &lines).unwrap();
    let samples = read_support(&support).unwrap();
    let first = calibrate(&samples);
    assert_eq!(calibrate(&samples).payload, first.payload);

    let reversed: Vec<&str> = lines.lines().rev().collect();
    std::fs::write(&captions, reversed.join("\n")).unwrap();
    let again = calibrate(&read_support(&support).unwrap());
    assert_eq!(again.payload, first.payload);
    assert_eq!(again.report.samples[0].name, "2-3.png");
    assert_eq!(again.report.samples[1].name, "6-17.png");
}

#[test]
fn undo_goes_back_to_the_bytes_that_were_in_use() {
    let workshop = Workshop::new();
    let support = workshop.blicks("support");
    workshop.calibrate(&support, &[]);
    let head = workshop.state().join("heads/000001.postcard");
    let bytes = std::fs::read(&head).unwrap();
    let other = workshop
        .support("other", &[(1, 3, "a toma square"), (1, 8, "a toma square"), (5, 12, "a toma bar here")]);
    assert_eq!(workshop.calibrate(&other, &[]).status.code(), Some(0));
    let samples = StateReader::open(&workshop.state()).unwrap().samples().unwrap();
    assert_eq!(
        samples.iter().map(|sample| sample.name.as_str()).collect::<Vec<_>>(),
        ["1-3.png", "1-8.png", "5-12.png"]
    );

    let output = workshop.undo();
    assert_eq!(stdout(&output), "back to calibration 000001\n");
    assert_eq!(std::fs::read(&head).unwrap(), bytes);
    let state = workshop.state();
    let with_state = ["--state", state.to_str().unwrap()];
    assert!(workshop.said(bundle(), SQUARE, 5, &with_state).0.contains("Blick"));
    assert_eq!(stdout(&workshop.undo()), "back to the captioner as it was before any calibration\n");
    let (caption, familiarity, _) = workshop.said(bundle(), SQUARE, 5, &with_state);
    assert_eq!(caption, workshop.said(bundle(), SQUARE, 5, &[]).0);
    assert!(familiarity.is_null());
    let output = workshop.undo();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("there is no calibration to undo"), "{}", stderr(&output));
}

#[test]
fn a_head_of_another_bundle_or_a_damaged_one_is_passed_over_with_a_warning() {
    let workshop = Workshop::new();
    workshop.calibrate(&workshop.blicks("support"), &[]);
    let state = workshop.state();
    let with_state = ["--state", state.to_str().unwrap()];
    let expected = workshop.said(bundle(), SQUARE, 5, &[]).0;
    let (caption, familiarity, warning) = workshop.said(bare(), SQUARE, 5, &with_state);
    assert_eq!(caption, expected);
    assert!(familiarity.is_null());
    assert!(warning.contains("000001.postcard: calibrated on bundle "), "{warning}");

    // Whole, of this bundle, and of other sizes: as if the program that wrote it had had a bug.
    let id = Bundle::open(bundle()).unwrap().manifest().id.clone();
    let mut payload = calibrate(&read_support(&workshop.path("support")).unwrap()).payload;
    payload.new_words.pop();
    State::open(&state).unwrap().commit(&id, &payload).unwrap();
    let (caption, familiarity, warning) = workshop.said(bundle(), SQUARE, 5, &with_state);
    assert_eq!(caption, expected);
    assert!(familiarity.is_null());
    assert!(warning.contains("000002.postcard: cannot be decoded: the second layer: "), "{warning}");

    let head = state.join("heads/000002.postcard");
    let mut bytes = std::fs::read(&head).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&head, bytes).unwrap();
    let (caption, _, warning) = workshop.said(bundle(), SQUARE, 5, &with_state);
    assert!(caption.contains("Blick") && warning.contains("000002.postcard: damaged"), "{caption} {warning}");
}

#[test]
fn a_state_without_a_calibration_changes_nothing_and_one_that_is_missing_is_named() {
    let workshop = Workshop::new();
    let state = workshop.state();
    std::fs::create_dir(&state).unwrap();
    let with_state = ["--state", state.to_str().unwrap()];
    let with = workshop.said(bare(), SQUARE, 5, &with_state);
    assert_eq!(with, workshop.said(bare(), SQUARE, 5, &[]));
    std::fs::remove_dir(&state).unwrap();
    let picture = workshop.path(&format!("query-{SQUARE}-5.png"));
    let output =
        metalens().args(["caption", "--bundle"]).arg(bare()).args(with_state).arg(picture).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("state: no such folder; `metalens calibrate` makes it"),
        "{}",
        stderr(&output)
    );
}
