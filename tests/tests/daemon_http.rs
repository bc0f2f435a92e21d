//! The daemon's page and API under clients that are slow, many, or unknown.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage};
use metalens_tests::http::{head, open, request};
use metalens_tests::served::{Daemon, wait};

const PROGRAM: &str = env!("CARGO_BIN_EXE_metalens-under-test");

/// A folder with pictures of noise in it, some hundred kilobytes each.
fn noise(folder: &Path) -> PathBuf {
    let pictures = folder.join("pictures");
    std::fs::create_dir(&pictures).unwrap();
    let mut seed = 1_u32;
    for name in ["a.jpg", "b.jpg"] {
        let picture = RgbImage::from_fn(1280, 960, |_, _| {
            // Numerical Recipes' generator: what cannot be compressed is all that is wanted.
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Rgb([(seed >> 24) as u8, (seed >> 16) as u8, (seed >> 8) as u8])
        });
        let file = std::fs::File::create(pictures.join(name)).unwrap();
        JpegEncoder::new_with_quality(file, 90).encode_image(&picture).unwrap();
    }
    pictures
}

#[test]
fn captions_go_on_while_one_client_stalls_and_two_hundred_listen() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = noise(folder.path());
    let bytes = std::fs::metadata(pictures.join("a.jpg")).unwrap().len();
    let daemon = Daemon::start(Path::new(PROGRAM), &pictures, 4.0, "").unwrap();
    let captions = 24;
    // More than the system keeps for a reader that does not read.
    assert!(captions * bytes > 16 << 20, "{bytes}");
    let before = daemon.captions_take(captions as usize).unwrap();

    let stalled = open(&daemon.address, "GET", "/api/stream.mjpg", &[], b"").unwrap();
    let mut listeners: Vec<_> = (0..200)
        .map(|_| {
            let mut listener = open(&daemon.address, "GET", "/api/captions", &[], b"").unwrap();
            assert_eq!(head(&mut listener).unwrap().0, 200);
            listener
        })
        .collect();
    let during = daemon.captions_take(captions as usize).unwrap();
    // A stalled client that held captions up would hold them up for good; how fast they come is a benchmark's.
    assert!(during < before.mul_f32(4.0) + Duration::from_secs(5), "{before:?} became {during:?}");

    // Whoever listened all the time has heard, and whoever comes now is served.
    let mut heard = String::new();
    while !heard.contains("data: {") {
        heard.clear();
        listeners[199].read_line(&mut heard).unwrap();
    }
    assert!(heard.contains("\"attention\":[["), "{heard}");
    assert_eq!(request(&daemon.address, "GET", "/healthz", &[], b"").unwrap().status, 200);
    drop(stalled);
}

#[test]
fn a_body_over_the_limit_is_refused_before_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let daemon =
        Daemon::start(Path::new(PROGRAM), &noise(folder.path()), 1.0, "max_body_bytes = 1024").unwrap();
    let caption = |letters: usize| format!("{{\"caption\": \"{}\"}}", "a".repeat(letters));
    wait("a frame", || {
        (request(&daemon.address, "GET", "/api/snapshot.jpg", &[], b"").ok()?.status == 200).then_some(())
    })
    .unwrap();
    for path in ["/api/samples", "/api/frames", "/api/calibration", "/api/calibration/undo"] {
        let response = daemon.ask("POST", path, &caption(1024)).unwrap();
        assert_eq!(response.status, 413, "{path}");
        let error = response.json()["error"].to_string();
        assert!(error.contains("more than the 1024 bytes of http.max_body_bytes"), "{error}");
    }
    assert_eq!(daemon.ask("GET", "/api/samples", "").unwrap().json(), serde_json::json!([]));
    assert_eq!(daemon.ask("POST", "/api/samples", &caption(1000)).unwrap().status, 201);
}

#[test]
fn the_token_is_its_owners_to_read_and_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let pictures = noise(folder.path());
    let daemon = Daemon::start(Path::new(PROGRAM), &pictures, 1.0, "").unwrap();
    let (file, token) = (daemon.token_file(), daemon.token().unwrap());
    // 24 random bytes.
    assert_eq!(token.len(), 48);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let told = |daemon: &Daemon| {
        let lines = [daemon.errors(), daemon.output()].concat();
        lines.iter().filter(|line| line.contains(&token)).count()
    };
    assert_eq!(told(&daemon), 1);
    daemon.captions_take(1).unwrap();
    assert_eq!(told(&daemon), 1);
    assert!(daemon.stop().unwrap().success());

    let daemon = Daemon::start(Path::new(PROGRAM), &pictures, 1.0, "").unwrap();
    daemon.captions_take(1).unwrap();
    assert_eq!(daemon.token().unwrap(), token);
    assert_eq!(daemon.ask("POST", "/api/token", "").unwrap().status, 204);
    assert_eq!(told(&daemon), 0);
}

#[test]
fn who_does_not_say_what_it_wants_makes_room_and_who_listens_stays() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(Path::new(PROGRAM), &noise(folder.path()), 4.0, "").unwrap();
    let mut listener = open(&daemon.address, "GET", "/api/captions", &[], b"").unwrap();
    assert_eq!(head(&mut listener).unwrap().0, 200);
    let mut slow = TcpStream::connect(&daemon.address).unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost: camera\r\n").unwrap();
    // The end of the connection, and nothing before it but, maybe, an answer that says why.
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    for _ in 0..3 {
        let mut heard = String::new();
        while !heard.starts_with("data: {") {
            heard.clear();
            assert!(listener.read_line(&mut heard).unwrap() > 0, "the listener was sent away");
        }
    }
}
