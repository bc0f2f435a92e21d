//! `metalens run`, from drawn pictures to what scripts see, through faults, kills and full media.
#![allow(clippy::unwrap_used)]

mod calibration;
mod faults;
mod kills;
mod media;
mod scene;

use std::process::Command;
use std::time::{Duration, Instant};

use metalens_tests::daemon::LONG;
use serde_json::Value;

use scene::*;

#[test]
fn a_replay_says_of_every_picture_what_caption_says_and_ends() {
    let scene = Scene::new(&PICTURES);
    // Slower than the pictures come: a replay waits for its captions, and loses none.
    let mut daemon =
        scene.start("[files]\nrate = 500\nloop = false\n[caption]\nmin_change = 0\nmax_rate = 20\n");
    let expected = scene.captions(&[]);
    for (place, (file, caption)) in expected.iter().enumerate() {
        let line = daemon.caption(LONG).unwrap();
        assert_eq!((text(&line, "file"), text(&line, "caption")), (file.clone(), caption.clone()));
        assert_eq!(line["sequence"], place as u64 + 1);
        assert!(line["familiarity"].is_null() && line["generation"].is_null());
        assert!(line["latency_ms"].as_f64().unwrap() > 0.0);
        let words: Vec<&str> =
            line["words"].as_array().unwrap().iter().map(|word| word["word"].as_str().unwrap()).collect();
        assert_eq!(words.join(" "), *caption);
        assert!(text(&line, "time").ends_with('Z'));
    }
    assert_eq!(daemon.end(LONG).unwrap().code(), Some(0));
    assert!(daemon.caption(Duration::ZERO).is_err());
}

#[test]
fn a_still_scene_is_captioned_once_and_again_when_it_moves_or_has_been_still_for_long() {
    let scene = Scene::new(&[(0, 0)]);
    let daemon = scene.start("[files]\nrate = 200\n[caption]\nmin_change = 0.05\nmax_age_s = 0.5\n");
    let first = daemon.caption(LONG).unwrap();
    let began = Instant::now();
    let second = daemon.caption(LONG).unwrap();
    assert!(began.elapsed() >= Duration::from_millis(400), "{:?}", began.elapsed());
    assert!(second["sequence"].as_u64().unwrap() > first["sequence"].as_u64().unwrap() + 10);
    assert!(daemon.metric("metalens_frames_unchanged_total").unwrap() > 10.0);

    let moving = Scene::new(&[(0, 0), (6, 0)]);
    let daemon = moving.start("[files]\nrate = 50\n[caption]\nmin_change = 0.001\nmax_age_s = 3600\n");
    let files: Vec<String> = (0..4).map(|_| text(&daemon.caption(LONG).unwrap(), "file")).collect();
    assert_ne!(files[0], files[1]);
    assert_eq!((&files[0], &files[1]), (&files[2], &files[3]));
}

#[test]
fn a_broken_picture_is_told_and_passed_over() {
    let scene = Scene::new(&PICTURES[..2]);
    let whole = include_bytes!("../../pictures/hopper.jpg");
    std::fs::write(scene.pictures().join("0-half.jpg"), &whole[..whole.len() / 2]).unwrap();
    let mut daemon = scene.start("[files]\nrate = 500\nloop = false\n[caption]\nmin_change = 0\n");
    for _ in 0..2 {
        daemon.caption(LONG).unwrap();
    }
    assert_eq!(daemon.end(LONG).unwrap().code(), Some(0));
    let told = daemon.told();
    assert!(told.contains("0-half.jpg: the JPEG picture ends early; copy the file again"), "{told}");
}

#[test]
fn it_ends_within_two_seconds_of_being_asked_and_reads_its_configuration_again() {
    let scene = Scene::new(&[(0, 0)]);
    let mut daemon = scene.start("[files]\nrate = 50\n[caption]\nmin_change = 0.05\nmax_age_s = 3600\n");
    daemon.caption(LONG).unwrap();
    // Still, so no further caption; with every frame captioned there are.
    let path = scene.folder().join("metalens.toml");
    let configuration = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, configuration.replace("min_change = 0.05", "min_change = 0")).unwrap();
    daemon.signal("HUP").unwrap();
    daemon.caption(LONG).unwrap();
    assert!(daemon.told().contains("the configuration was read again"));
    std::fs::write(&path, configuration.replace("rate = 50", "rate = 51")).unwrap();
    daemon.signal("HUP").unwrap();
    daemon
        .wait_until(LONG, |daemon| daemon.told().contains("everything else applies after a restart"))
        .unwrap();
    std::fs::write(&path, "sauce = 1").unwrap();
    daemon.signal("HUP").unwrap();
    daemon.wait_until(LONG, |daemon| daemon.told().contains("the configuration stays as it is")).unwrap();

    daemon.signal("TERM").unwrap();
    assert_eq!(daemon.end(Duration::from_secs(2)).unwrap().code(), Some(0));
}

#[test]
fn what_is_wrong_is_told_in_one_line_each_with_the_code_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    let told = |text: &str, code: i32| {
        std::fs::write(&path, text).unwrap();
        let mut command = Command::new(program());
        let output = command.args(["run", "--log", "error", "--config"]).arg(&path).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stderr).unwrap()
    };
    let wrong = told("sauce = \"files:x\"\nstate = 3\n[caption]\nbeam = 99\n", 2);
    assert_eq!(wrong.lines().count(), 4, "{wrong}");
    assert!(wrong.lines().all(|line| line.starts_with("metalens: ") && line.contains("c.toml:")), "{wrong}");

    let state = folder.path().join("state");
    let empty = told(
        &format!("source = \"files:{0}\"\nstate = {state:?}\n[http]\nenabled = false\n", "/nowhere/*.jpg"),
        2,
    );
    assert!(empty.contains("files:/nowhere/*.jpg: no pictures"), "{empty}");
    assert_eq!(empty.lines().count(), 1, "{empty}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let busy = told(
        &format!(
            "source = \"files:{}\"\nstate = {state:?}\n[http]\nlisten = \"{address}\"\n",
            folder.path().display()
        ),
        1,
    );
    assert!(busy.contains(&format!("http.listen: {address} cannot be listened at")), "{busy}");
}

#[test]
fn prometheus_accepts_the_metrics() {
    let Ok(version) = Command::new("promtool").arg("--version").output() else {
        println!("skipped: there is no promtool");
        return;
    };
    assert!(version.status.success());
    let scene = Scene::new(&[(0, 0)]);
    let daemon = scene.start("[files]\nrate = 50\n");
    daemon.caption(LONG).unwrap();
    let metrics = daemon.get("/metrics").unwrap();
    let path = scene.folder().join("metrics");
    std::fs::write(&path, &metrics.body).unwrap();
    let checked = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(std::fs::File::open(&path).unwrap())
        .output()
        .unwrap();
    assert!(
        checked.status.success() && checked.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&checked.stderr)
    );
}

fn text(line: &Value, key: &str) -> String {
    line[key].as_str().unwrap_or_else(|| panic!("no {key} in {line}")).to_owned()
}
