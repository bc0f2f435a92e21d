//! Media that are full or cannot be written, and clocks that jump: captions go on.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use metalens_tests::daemon::{Daemon, LONG, free_address};
use serde_json::json;

use super::scene::*;
use super::text;

const SETTINGS: &str = "[files]\nrate = 100\n[caption]\nmin_change = 0\n";

/// A small medium in memory, where this user may mount one.
struct Medium<'a>(&'a Path);

impl<'a> Medium<'a> {
    fn mount(at: &'a Path, options: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).output();
        if done.is_ok_and(|done| done.status.success()) {
            return Some(Self(at));
        }
        println!("skipped: nothing can be mounted here");
        None
    }

    fn remount(&self, options: &str) {
        let done = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(self.0).status();
        assert!(done.unwrap().success());
    }
}

impl Drop for Medium<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

fn captions_go_on(daemon: &Daemon, scene: &Scene) {
    let expected: HashMap<String, String> = scene.captions(&[]).into_iter().collect();
    for _ in 0..20 {
        let line = daemon.caption(Duration::from_secs(5)).unwrap();
        assert_eq!(text(&line, "caption"), expected[&text(&line, "file")]);
    }
}

#[test]
fn a_state_that_is_on_no_medium_refuses_samples_and_captions_go_on() {
    let scene = Scene::new(&PICTURES[..2]);
    let source = format!("source = \"files:{}\"\n{SETTINGS}", scene.pictures().display());
    let daemon = Daemon::start_at(
        program(),
        bundle(),
        scene.folder(),
        &source,
        free_address().unwrap(),
        Path::new("/proc/metalens"),
    )
    .unwrap();
    captions_go_on(&daemon, &scene);
    let told = daemon.told();
    assert!(told.contains("no samples can be kept: /proc/metalens: "), "{told}");
    // The token is told, since it cannot be kept.
    let token = told.split("the token for changes is ").nth(1).unwrap().split(' ').next().unwrap();
    let authorisation = format!("Bearer {token}");
    let kept = daemon
        .request("POST", "/api/samples", &[("Authorization", &authorisation)], b"{\"caption\":\"a blick\"}")
        .unwrap();
    assert_eq!(kept.status, 503, "{kept:?}");
    captions_go_on(&daemon, &scene);
}

#[test]
fn a_full_medium_and_a_read_only_one_lose_nothing_that_was_kept() {
    let scene = Scene::new(&PICTURES[..2]);
    let state = scene.folder().join("state");
    let Some(medium) = Medium::mount(&state, "size=256k") else { return };
    let daemon = scene.start(SETTINGS);
    captions_go_on(&daemon, &scene);
    let keep = |caption: &str| daemon.change("POST", "/api/samples", &json!({ "caption": caption })).unwrap();
    assert_eq!(keep("a blick").status, 201);

    std::fs::write(state.join("ballast"), vec![1; 1 << 20]).unwrap_err();
    let full = keep("a blick and a toma");
    assert_eq!(full.status, 503, "{full:?}");
    assert!(text(&full.json(), "error").contains("No space left"), "{full:?}");
    let standing = super::calibration::adapt(&daemon, &json!({ "force": true }));
    assert_eq!(standing["outcome"], "failed", "{standing}");
    captions_go_on(&daemon, &scene);
    let samples = daemon.get("/api/samples").unwrap().json();
    assert_eq!((samples.as_array().unwrap().len(), &samples[0]["captions"]), (1, &json!(["a blick"])));

    std::fs::remove_file(state.join("ballast")).unwrap();
    drop(daemon);
    medium.remount("ro");
    let daemon = scene.start(SETTINGS);
    captions_go_on(&daemon, &scene);
    let keep = |caption: &str| daemon.change("POST", "/api/samples", &json!({ "caption": caption })).unwrap();
    let read_only = keep("a toma");
    assert_eq!(read_only.status, 503, "{read_only:?}");
    assert_eq!(daemon.get("/api/samples").unwrap().json()[0]["captions"], json!(["a blick"]));
    medium.remount("rw");
    // From now on as if nothing had been.
    assert_eq!(keep("a toma").status, 201);
    drop(daemon);
}

#[test]
fn a_log_on_a_full_medium_is_told_once_and_captions_go_on() {
    let scene = Scene::new(&PICTURES[..2]);
    let daemon = scene.start(&format!("{SETTINGS}[log]\npath = \"/dev/full\"\n"));
    captions_go_on(&daemon, &scene);
    let told = daemon.told();
    assert_eq!(told.matches("/dev/full: No space left").count(), 1, "{told}");
    assert!(daemon.metric("metalens_errors_total{kind=\"disk\"}").unwrap() >= 10.0);
}

#[test]
fn a_clock_that_goes_back_a_day_stops_nothing() {
    let scene = Scene::new(&PICTURES[..2]);
    // Every frame jumps, forth and back; captions are due by age alone.
    let daemon = scene.start(
        "[files]\nrate = 100\n[caption]\nmin_change = 2\nmax_age_s = 0.05\n[faults]\nclock_jump = 1\nclock_jump_s = -86400\n",
    );
    captions_go_on(&daemon, &scene);
    let line = daemon.caption(LONG).unwrap();
    assert!(text(&line, "time").starts_with("20"), "{line}");
}
