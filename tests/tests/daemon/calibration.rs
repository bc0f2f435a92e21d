//! Samples, calibration and undo over HTTP, while captions flow.

use std::time::{Duration, Instant};

use metalens_tests::bundles;
use metalens_tests::daemon::{Daemon, LONG};
use serde_json::{Value, json};

use super::scene::*;
use super::text;

/// Pictures of things that are blue, of which a new word is taught, and of others.
const BLUE: [(usize, u32); 4] = [(2, 3), (6, 8), (2, 11), (6, 17)];
const OTHERS: [(usize, u32); 2] = [(0, 5), (5, 13)];

/// Keeps the frame that shows `file`, in a loop of pictures.
pub fn keep(daemon: &Daemon, file: &str, caption: &str) -> String {
    // A frame is held, looked at, and kept when it is the right one: the pictures go on meanwhile.
    let wanted = std::fs::read(file).unwrap();
    let wanted = image::load_from_memory(&wanted).unwrap().into_rgb8();
    let deadline = Instant::now() + LONG;
    loop {
        assert!(Instant::now() < deadline, "{file} is not in sight");
        let held = daemon.change("POST", "/api/frames", &Value::Null).unwrap();
        assert_eq!(held.status, 201, "{held:?}");
        let id = text(&held.json(), "frame");
        let picture = daemon.get(&format!("/api/frames/{id}")).unwrap().body;
        let seen = image::load_from_memory(&picture).unwrap().into_rgb8();
        let difference: u64 = seen.iter().zip(wanted.iter()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        if difference / (wanted.len() as u64) < 3 {
            let kept =
                daemon.change("POST", "/api/samples", &json!({ "caption": caption, "frame": id })).unwrap();
            assert_eq!(kept.status, 201, "{kept:?}");
            return text(&kept.json(), "name");
        }
    }
}

/// Adapts, and waits for what comes of it.
pub fn adapt(daemon: &Daemon, body: &Value) -> Value {
    let started = daemon.change("POST", "/api/calibration", body).unwrap();
    assert_eq!(started.status, 202, "{started:?}");
    let mut standing = Value::Null;
    daemon
        .wait_until(LONG, |daemon| {
            standing = daemon.get("/api/calibration").unwrap().json();
            standing["adapting"] == false
        })
        .unwrap();
    standing
}

#[test]
fn a_word_that_is_taught_while_captions_flow_is_said_and_undone() {
    let scene = Scene::new(&[BLUE.as_slice(), &OTHERS].concat());
    let daemon = scene.start("[files]\nrate = 100\n[caption]\nmin_change = 0\n");
    let before = scene.captions(&[]);
    daemon.caption(LONG).unwrap();
    for (kind, place) in BLUE {
        let shape = if kind == 2 { "square" } else { "bar" };
        let file = scene.pictures().join(format!("{kind}-{place}.png"));
        keep(&daemon, file.to_str().unwrap(), &format!("a Blick {shape}"));
    }
    let standing = adapt(&daemon, &Value::Null);
    assert_eq!(
        (&standing["outcome"], &standing["generation"]),
        (&json!("committed"), &json!(1)),
        "{standing}"
    );
    assert_eq!(standing["last"]["new_words"], json!(["Blick"]));
    let samples = daemon.get("/api/samples").unwrap().json();
    assert_eq!(samples.as_array().unwrap().len(), BLUE.len());
    for sample in samples.as_array().unwrap() {
        assert!(sample["loss_after"].as_f64().unwrap() < sample["loss_before"].as_f64().unwrap(), "{sample}");
        assert!(text(sample, "now_says").contains("Blick"), "{sample}");
        let picture = daemon.get(&format!("/api/samples/{}", text(sample, "name"))).unwrap();
        assert_eq!(picture.status, 200);
    }

    let state = daemon.state.clone();
    let expected = scene.captions(&["--state", state.to_str().unwrap()]);
    for ((file, caption), (_, before)) in expected.iter().zip(&before) {
        let line = daemon
            .caption_that(LONG, |line| line["generation"] == 1 && line["file"] == file.as_str())
            .unwrap();
        assert_eq!(text(&line, "caption"), *caption);
        let blue = BLUE.iter().any(|(kind, place)| file.ends_with(&format!("{kind}-{place}.png")));
        assert_eq!(caption.contains("Blick"), blue, "{file}: {caption}");
        assert_eq!(caption == before, !blue, "{file}: {caption}, before {before}");
        assert!(line["familiarity"].is_number());
    }

    let undone = daemon.change("POST", "/api/calibration/undo", &Value::Null).unwrap();
    assert_eq!((undone.status, undone.json()), (200, json!({ "generation": null })));
    let (file, caption) = &before[0];
    let line = daemon
        .caption_that(LONG, |line| line["generation"].is_null() && line["file"] == file.as_str())
        .unwrap();
    assert_eq!(text(&line, "caption"), *caption);
    let again = daemon.change("POST", "/api/calibration/undo", &Value::Null).unwrap();
    assert_eq!(again.status, 409, "{again:?}");
}

#[test]
fn what_was_learned_with_another_bundle_is_learned_again_from_the_samples() {
    let scene = Scene::new(&[BLUE.as_slice(), &OTHERS].concat());
    let settings = "[files]\nrate = 100\n[caption]\nmin_change = 0\n";
    let mut daemon = scene.start(settings);
    daemon.caption(LONG).unwrap();
    for (kind, place) in BLUE {
        let file = scene.pictures().join(format!("{kind}-{place}.png"));
        keep(&daemon, file.to_str().unwrap(), "a Blick");
    }
    assert_eq!(adapt(&daemon, &Value::Null)["outcome"], "committed");
    daemon.kill();

    let newer = scene.folder().join("newer");
    bundles::copy(bundle(), &newer).unwrap();
    metalens_models::record_score(&newer, "of-another-day", json!(1)).unwrap();
    let mut daemon = scene.start_with(&newer, settings);
    let line = daemon.caption_that(LONG, |line| line["generation"] == 2).unwrap();
    assert!(line["familiarity"].is_number(), "{line}");
    assert!(daemon.told().contains("learns again from 4 samples"), "it does not say that it learns again");
    let standing = daemon.get("/api/calibration").unwrap().json();
    assert_eq!(standing["last"]["new_words"], json!(["Blick"]));
    daemon.kill();

    // The old bundle finds its own head, and each start finds the newest of its bundle.
    for (bundle, generation) in [(bundle(), 1), (&newer, 2)] {
        let mut daemon = scene.start_with(bundle, settings);
        assert_eq!(daemon.caption(LONG).unwrap()["generation"], generation);
        assert!(!daemon.told().contains("learns again"));
        daemon.kill();
    }
}

#[test]
fn samples_survive_a_restart_and_can_be_removed() {
    let scene = Scene::new(&[(2, 3)]);
    let settings = "[files]\nrate = 100\n[caption]\nmin_change = 0\n";
    let mut daemon = scene.start(settings);
    daemon.caption(LONG).unwrap();
    let kept = daemon.change("POST", "/api/samples", &json!({ "caption": "a blick" })).unwrap();
    assert_eq!(kept.status, 201, "{kept:?}");
    let name = text(&kept.json(), "name");
    daemon.kill();
    let daemon = scene.start(settings);
    daemon.caption(LONG).unwrap();
    let samples = daemon.get("/api/samples").unwrap().json();
    assert_eq!(samples[0]["name"], name.as_str());
    assert_eq!(samples[0]["captions"], json!(["a blick"]));
    assert_eq!(daemon.change("DELETE", &format!("/api/samples/{name}"), &Value::Null).unwrap().status, 204);
    assert_eq!(daemon.change("DELETE", &format!("/api/samples/{name}"), &Value::Null).unwrap().status, 404);
    assert_eq!(daemon.get("/api/samples").unwrap().json(), json!([]));
}

#[test]
fn what_cannot_be_learned_from_is_refused_with_its_reason() {
    let scene = Scene::new(&[(2, 3)]);
    let daemon = scene.start("[files]\nrate = 100\n[caption]\nmin_change = 0\n");
    daemon.caption(LONG).unwrap();
    let standing = adapt(&daemon, &Value::Null);
    assert_eq!(standing["outcome"], "failed");
    assert!(text(&standing, "message").contains("no samples are kept"), "{standing}");

    let no_word = daemon.change("POST", "/api/samples", &json!({ "caption": " ... " })).unwrap();
    assert_eq!(no_word.status, 400);
    for body in [json!({}), json!({ "caption": 3 }), json!({ "caption": "a", "cup": 1 }), json!([])] {
        assert_eq!(daemon.change("POST", "/api/samples", &body).unwrap().status, 400, "{body}");
    }
    let gone = json!({ "caption": "a", "frame": "77" });
    assert_eq!(daemon.change("POST", "/api/samples", &gone).unwrap().status, 404);

    daemon.change("POST", "/api/samples", &json!({ "caption": "a blick" })).unwrap();
    let standing = adapt(&daemon, &Value::Null);
    assert!(text(&standing, "message").contains("one picture"), "{standing}");
    // Insisted on, one is enough.
    assert_eq!(adapt(&daemon, &json!({ "force": true }))["outcome"], "committed");
}

#[test]
fn the_device_asks_about_what_it_does_not_know_and_keeps_no_more_than_it_may() {
    let scene = Scene::new(&PICTURES);
    let daemon =
        scene.start("[files]\nrate = 100\n[caption]\nmin_change = 0\n[calibration]\nsuggestions = 2\n");
    for _ in 0..60 {
        daemon.caption(LONG).unwrap();
    }
    let offers = daemon.get("/api/suggestions").unwrap().json();
    let offers = offers.as_array().unwrap();
    assert!(offers.len() <= 2, "{offers:?}");
    for offer in offers {
        let id = text(offer, "id");
        daemon
            .wait_until(LONG, |daemon| daemon.get(&format!("/api/suggestions/{id}")).unwrap().status == 200)
            .unwrap();
    }
    let files = || daemon.state.join("suggestions").read_dir().map_or(0, Iterator::count);
    daemon.wait_until(Duration::from_secs(5), |_| files() <= 4).unwrap();
}
