//! What a configuration may say, and what is answered when it says something else.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{Celsius, FramesPerSecond, Secret};

const SMALLEST: &str = "source = 'files:pictures'\nstate = 'state'\n";

fn parse(rest: &str) -> Config {
    Config::parse(&format!("{SMALLEST}{rest}")).unwrap()
}

/// What is wrong with the smallest configuration and `rest`, whose first line is line 3.
fn problems(rest: &str) -> Vec<String> {
    refused(&format!("{SMALLEST}{rest}"))
}

fn refused(text: &str) -> Vec<String> {
    Config::parse(text).unwrap_err().to_string().lines().map(str::to_owned).collect()
}

/// Asserts that there is one problem, and that it says this.
fn one_problem(rest: &str, expected: &str) {
    let found = problems(rest);
    assert!(found.len() == 1 && found[0].contains(expected), "{rest}: {found:#?}");
}

#[test]
fn the_smallest_configuration_has_every_default() {
    let config = parse("");
    assert_eq!(config.source, Source::Files("pictures".into()));
    assert_eq!(config.profile.name, "generic");
    assert_eq!(config.files, Files { rate: FramesPerSecond::ONE, repeat: true });
    assert_eq!((config.camera.width, config.camera.height, config.camera.rate.get()), (640, 480, 15.0));
    assert_eq!(config.command, CommandOutput::Mjpeg);
    let caption = Caption { min_change: 0.05, max_age_s: 30.0, max_rate: None, beam: None, detector: true };
    assert_eq!(config.caption, caption);
    assert_eq!(config.http, Some(Http::default()));
    assert_eq!((config.threads, config.board.backend), (1, Backend::None));
    assert_eq!((config.mqtt, config.log, config.thermal, config.faults), (None, None, None, None));
}

#[test]
fn every_problem_is_told_at_once_with_its_line() {
    let text = "\
        source = 'files:pictures'\n\
        state = 'state'\n\
        treads = 2\n\
        [camera]\n\
        heigth = 480\n\
        width = '640'\n\
        [caption]\n\
        min_change = 3.0\n";
    assert_eq!(
        refused(text),
        [
            "line 3: treads: unknown key; did you mean `threads`?",
            "line 5: camera.heigth: unknown key; did you mean `camera.height`?",
            "line 6: camera.width: found string \"640\"; give a whole number, 0 or more",
            "line 8: caption.min_change: 3 is no cosine distance; give 0 to 2, 0 captions every frame",
        ]
    );
}

#[test]
fn what_is_no_toml_is_one_problem_with_its_line() {
    let found = problems("[camera\nwidth = 640\n");
    assert!(found.len() == 1 && found[0].starts_with("line 3: "), "{found:?}");
    assert!(problems("state = 'again'")[0].starts_with("line 3: "));
}

#[test]
fn source_and_state_must_be_given() {
    let found = refused("");
    assert_eq!(found.len(), 2);
    assert!(
        found[0].starts_with("line 1: source: missing; ") && found[1].starts_with("line 1: state: missing; ")
    );
}

#[test]
fn an_entry_has_one_problem_and_not_what_follows_from_it() {
    assert_eq!(refused("source = 5\nstate = 's'").len(), 1);
    assert_eq!(problems("mqtt = 'mqtt://broker'").len(), 1);
    assert_eq!(problems("[mqtt]\nurl = 5").len(), 1);
}

#[test]
fn sections_may_be_written_in_any_way_of_tomls() {
    for way in ["[http]\nhistory = 7", "http.history = 7", "http = { history = 7 }"] {
        assert_eq!(parse(way).http.unwrap().history, 7);
    }
    for way in ["[http]\n\nhistori = 7", "\n\nhttp.histori = 7", "\n\nhttp = { histori = 7 }"] {
        assert_eq!(problems(way), ["line 5: http.histori: unknown key; did you mean `http.history`?"]);
    }
}

#[test]
fn a_source_is_one_of_three() {
    let camera = Config::parse("source = 'v4l2:/dev/video0'\nstate = 's'").unwrap();
    assert_eq!(camera.source, Source::V4l2("/dev/video0".into()));
    let command = Config::parse("source = 'command:rpicam-vid -t 0'\nstate = 's'").unwrap();
    assert_eq!(command.source, Source::Command("rpicam-vid -t 0".to_owned()));
    assert!(refused("source = 'rtsp://x'\nstate = 's'")[0].contains("\"rtsp://x\" names no source"));
    assert!(refused("source = 'files:'\nstate = 's'")[0].contains("nothing follows files:"));
}

#[test]
fn rates_are_above_zero() {
    one_problem("[files]\nrate = 0", "files.rate: 0 a second is no rate");
    one_problem("[camera]\nrate = -1.5", "camera.rate: -1.5 a second is no rate");
    one_problem("[caption]\nmax_rate = nan", "caption.max_rate: NaN a second is no rate");
    assert!(!parse("files = { rate = 2, loop = false }").files.repeat);
}

#[test]
fn an_unknown_word_is_answered_with_the_known_ones() {
    one_problem("profile = 'rpi'", "unknown value \"rpi\"");
    one_problem("[command]\nformat = 'mjpg'", "did you mean \"mjpeg\"? Give one of \"mjpeg\", \"yuv420\"");
    one_problem("[board]\nbackend = 'sysfs'", "give one of \"none\", \"rppal\", \"gpiochip\"");
}

#[test]
fn raw_frames_need_an_even_size() {
    let config = parse("[command]\nformat = 'yuv420'\nwidth = 640\nheight = 360");
    assert_eq!(config.command, CommandOutput::Yuv420 { width: 640, height: 360 });
    let found = problems("[command]\nformat = 'yuv420'\nwidth = 641");
    assert_eq!(found.len(), 2);
    assert!(found[0].starts_with("line 3: command.height: missing; "));
    assert!(found[1].starts_with("line 5: command.width: 641 is odd; "));
}

#[test]
fn the_beam_has_one_to_eight_hypotheses() {
    one_problem("[caption]\nbeam = 0", "caption.beam: 0 hypotheses; give 1 to 8");
    assert_eq!(parse("[caption]\nbeam = 8").caption.beam, Some(8));
    assert!(!parse("[caption]\ndetector = false").caption.detector);
}

#[test]
fn http_can_be_turned_off_and_its_address_is_checked() {
    assert_eq!(parse("[http]\nenabled = false").http, None);
    assert_eq!(parse("[http]\nlisten = '[::]:80'").http.unwrap().listen.port(), 80);
    one_problem("[http]\nlisten = 'localhost'", "http.listen: \"localhost\" is no address with a port");
    one_problem("[http]\norigins = ['*']", "http.origins: \"*\" is no origin");
    one_problem("[http]\norigins = ['https://a', 5]", "http.origins: found integer `5`; give text in quotes");
}

#[test]
fn mqtt_has_names_that_follow_from_the_node() {
    let mqtt = parse("[mqtt]\nurl = 'mqtt://broker'\nnode = 'shed'").mqtt.unwrap();
    assert_eq!((mqtt.base.as_str(), mqtt.discovery.as_deref()), ("metalens/shed", Some("homeassistant")));
    assert_eq!(parse("[mqtt]\nurl = 'mqtt://broker'\ndiscovery = ''").mqtt.unwrap().discovery, None);
    one_problem("[mqtt]\nnode = 'shed'", "mqtt.url: missing; ");
    one_problem("[mqtt]\nurl = 'http://broker'", "http:// is not spoken");
    one_problem("[mqtt]\nurl = 'mqtt://b'\nbase = 'a/#'", "mqtt.base: \"a/#\" is no beginning of topics");
    one_problem("[mqtt]\nurl = 'mqtt://b'\nca_file = 'ca.pem'", "mqtt.ca_file: certificates are for TLS");
}

#[test]
fn passwords_are_named_and_not_written() {
    let mqtt = parse("[mqtt]\nurl = 'mqtt://b'\nusername = 'me'\npassword_env = 'PW'").mqtt.unwrap();
    assert_eq!(mqtt.password, Some(Secret::Env("PW".to_owned())));
    one_problem(
        "[mqtt]\nurl = 'mqtt://b'\npassword = 'sesame'",
        "passwords do not stand in the configuration",
    );
    one_problem("[mqtt]\nurl = 'mqtt://b'\npassword_env = 'PW'", "mqtt.username: missing; ");
    let both = "[mqtt]\nurl = 'mqtt://b'\nusername = 'me'\npassword_env = 'PW'\npassword_file = 'pw'";
    one_problem(both, "password_file is given too");
    let in_the_url = problems("[mqtt]\nurl = 'mqtt://me:sesame@b'");
    assert!(!in_the_url[0].contains("sesame") && in_the_url[0].contains("password_file"), "{in_the_url:?}");
}

#[test]
fn a_log_has_a_path() {
    assert_eq!(
        parse("[log]\npath = 'log.jsonl'").log,
        Some(Log { path: "log.jsonl".into(), max_bytes: 10 << 20, keep: 5 })
    );
    one_problem("[log]\nkeep = 3", "line 3: log.path: missing; ");
}

#[test]
fn each_pin_has_one_use() {
    let pins = "[board]\nbackend = 'rppal'\n[board.pins]\nbutton = 17\nred = 17";
    one_problem(pins, "line 7: board.pins.red: pin 17 is button's already");
    one_problem("[board]\nbackend = 'rppal'\npins = { button = 28 }", "28 is no BCM number");
    one_problem("[board.pins]\nbutton = 3", "board.pins: no backend moves them");
    one_problem("[board]\nbackend = 'gpiochip'", "board.backend: has no pins");
    let line = parse("[board]\nbackend = 'gpiochip'\nchip = '/dev/gpiochip2'\npins = { button = 149 }").board;
    assert_eq!((line.pins.button, line.chip), (Some(149), "/dev/gpiochip2".into()));
}

#[test]
fn captioning_goes_on_at_less_than_it_rests_at() {
    one_problem(
        "[thermal]\npause_celsius = 70\nresume_celsius = 70",
        "thermal.resume_celsius: captioning rests at 70",
    );
    one_problem("[thermal]\npause_celsius = 70", "thermal.resume_celsius: missing, and the profile has none");
    let thermal = parse("[thermal]\npause_celsius = 70\nresume_celsius = 60").thermal.unwrap();
    assert_eq!(thermal.pause_celsius, Celsius(70.0));
}

#[test]
fn faults_are_probabilities() {
    one_problem("[faults]\ndrop = 1.5", "faults.drop: 1.5 is no probability");
    assert_eq!(parse("[faults]\nseed = 7").faults.unwrap().seed, 7);
}

#[test]
fn a_file_is_named_in_each_problem() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metalens.toml");
    std::fs::write(&path, "source = 'files:x'\nsate = 1\nstate = 's'").unwrap();
    let error = Config::read(&path).unwrap_err();
    assert_eq!(error.to_string(), format!("{}:2: sate: unknown key; did you mean `state`?", path.display()));
    let error = Config::read(&folder.path().join("none.toml")).unwrap_err();
    assert!(error.to_string().contains("none.toml: No such file"));
}

#[test]
fn what_is_not_written_is_the_profiles() {
    let config = parse("profile = 'rpi4'");
    let rpi4 = Profile::named("rpi4").unwrap();
    assert_eq!((config.threads, config.caption.max_rate), (rpi4.threads, rpi4.max_rate));
    assert_eq!((&config.board, &config.thermal), (&rpi4.board, &rpi4.thermal));
}

#[test]
fn what_is_written_wins_over_the_profile() {
    let config = parse("profile = 'rpi4'\nthreads = 1\nboard.pins.red = 5\nthermal.pause_celsius = 75");
    assert_eq!((config.threads, config.board.pins.red, config.board.pins.button), (1, Some(5), Some(17)));
    assert_eq!(config.thermal.map(|thermal| thermal.pause_celsius), Some(Celsius(75.0)));
    assert_eq!(parse("profile = 'rpi4'\nthermal.enabled = false").thermal, None);
    assert_eq!(parse("profile = 'rpi4'\nboard.backend = 'none'").board.pins, Pins::default());
    let line = "line 5: board.pins.red: pin 17 is button's already; give each its own";
    assert_eq!(problems("profile = 'rpi4'\n[board]\npins.red = 17"), [line]);
    one_problem(
        "profile = 'rpi4'\nthermal.pause_celsius = 60",
        "thermal.pause_celsius: captioning rests at 60",
    );
}

#[test]
fn an_unknown_profile_is_answered_with_the_known_ones() {
    one_problem(
        "profile = 'rpi6'",
        "did you mean \"rpi3\"? Give one of \"generic\", \"rpi3\", \"rpi4\", \"rpi5\"",
    );
}
