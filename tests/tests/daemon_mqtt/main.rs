//! `metalens run` with a real mosquitto.
#![allow(clippy::unwrap_used)]

mod broker;
mod device;
mod refusals;
mod seen;

use std::time::{Duration, Instant};

use metalens_tests::daemon::LONG;
use metalens_tests::drawing;
use serde_json::{Value, json};

use broker::{Broker, Message, Peer, has};
use device::{Device, SQUARE};

const AVAILABLE: &str = "metalens/metalens/available";
const CAPTION: &str = "metalens/metalens/caption";
const CAPTION_JSON: &str = "metalens/metalens/caption/json";
const STATS: &str = "metalens/metalens/stats";
const SET: &str = "metalens/metalens/calibrate/set";
const STATE: &str = "metalens/metalens/calibrate/state";
const DISCOVERY: &str = "homeassistant/device/metalens/config";

/// Everything that is retained.
const RETAINED: [&str; 5] = [AVAILABLE, CAPTION, CAPTION_JSON, STATE, DISCOVERY];

fn url(broker: &Broker) -> String {
    format!("url = \"mqtt://127.0.0.1:{}\"", broker.port)
}

fn is(payload: &str) -> impl Fn(&Message) -> bool {
    move |message| message.payload == payload
}

#[test]
fn captions_arrive_on_both_topics_as_on_standard_output_and_the_last_word_is_offline() {
    if !has("mosquitto") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let peer = Peer::connect(broker.port);
    let kinds: Vec<(usize, u32)> = (0..drawing::KINDS).map(|kind| (kind, 7)).collect();
    let mut device = Device::start(folder.path(), &kinds, "rate = 5.0\nloop = false", &url(&broker));
    assert!(device.daemon.end(LONG).unwrap().success());
    peer.wait(0, AVAILABLE, is("offline"));

    let lines = device.rest();
    assert_eq!(lines.len(), kinds.len());
    let published = peer.payloads(CAPTION_JSON);
    assert_eq!(
        published.iter().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>(),
        lines
    );
    assert_eq!(
        peer.payloads(CAPTION),
        lines.iter().map(|line| line["caption"].as_str().unwrap()).collect::<Vec<_>>()
    );
    assert_eq!(peer.payloads(AVAILABLE), ["online", "offline"]);
    let heard = peer.heard.all();
    assert_eq!(heard.last().unwrap().topic, AVAILABLE);
    let place = |topic: &str| heard.iter().position(|heard| heard.topic == topic).unwrap();
    assert!(place(DISCOVERY) < place(AVAILABLE), "{heard:#?}");
}

#[test]
fn it_is_told_how_it_goes() {
    if !has("mosquitto") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let peer = Peer::connect(broker.port);
    let _device = Device::watch(folder.path(), &url(&broker));
    let stats = peer.wait(0, STATS, |message| message.json()["captions"].as_u64() > Some(20)).json();
    let keys = [
        "phase",
        "captions",
        "captions_per_second",
        "frames_captured",
        "frames_dropped",
        "temperature_celsius",
        "generation",
        "version",
    ];
    assert_eq!(stats.as_object().unwrap().len(), keys.len());
    assert!(keys.iter().all(|key| stats.get(key).is_some()), "{stats}");
    assert_eq!(stats["phase"], "captioning");
    assert!(stats["captions_per_second"].as_f64() > Some(1.0), "{stats}");
    assert!(stats["frames_captured"].as_u64() >= stats["captions"].as_u64(), "{stats}");
}

#[test]
fn the_broker_says_offline_of_a_daemon_that_was_killed() {
    if !has("mosquitto") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let peer = Peer::connect(broker.port);
    let mut device = Device::watch(folder.path(), &url(&broker));
    peer.wait(0, AVAILABLE, is("online"));
    device.daemon.kill();
    peer.wait(0, AVAILABLE, is("offline"));
    assert!(Peer::connect(broker.port).wait(0, AVAILABLE, is("offline")).retained);
}

#[test]
fn a_daemon_that_is_asked_to_end_says_so_and_ends_within_two_seconds() {
    if !has("mosquitto") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let peer = Peer::connect(broker.port);
    let mut device = Device::watch(folder.path(), &url(&broker));
    peer.wait(0, CAPTION, |_| true);
    device.daemon.signal("TERM").unwrap();
    assert!(device.daemon.end(Duration::from_secs(2)).unwrap().success());
    peer.wait(0, AVAILABLE, is("offline"));
    let last: Value = serde_json::from_str(peer.payloads(CAPTION_JSON).last().unwrap()).unwrap();
    assert_eq!(Some(&last), device.rest().last());
}

#[test]
fn captions_go_on_while_the_broker_is_gone_and_it_hears_everything_again_when_it_is_back() {
    if !has("mosquitto") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(folder.path());
    let device = Device::watch(folder.path(), &url(&broker));
    Peer::connect(broker.port).wait(0, CAPTION, |_| true);
    broker.kill();
    device.tells("the broker is lost");
    device.captions_go_on(15);
    assert_eq!(device.told("the broker is lost"), 1, "{}", device.log());

    broker.restart();
    let began = Instant::now();
    let peer = Peer::connect(broker.port);
    for topic in RETAINED {
        peer.wait(0, topic, |_| true);
    }
    // The broker kept nothing itself; it is found again after one of the first waits.
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(peer.payloads(AVAILABLE), ["online"]);
    let late = Peer::connect(broker.port);
    for topic in RETAINED {
        assert!(late.wait(0, topic, |_| true).retained, "{topic}");
    }
    assert_eq!(device.told("captions go to mqtt://127.0.0.1:"), 2, "{}", device.log());
    assert_eq!((device.told("the broker is lost"), device.losses()), (1, 1.0), "{}", device.log());
}

#[test]
fn captions_go_on_while_the_broker_takes_nothing() {
    if !has("mosquitto") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let mut device = Device::watch(folder.path(), &url(&broker));
    Peer::connect(broker.port).wait(0, CAPTION, |_| true);
    broker.signal("STOP");
    device.captions_go_on(20);
    device.daemon.signal("TERM").unwrap();
    assert!(device.daemon.end(Duration::from_secs(2)).unwrap().success());
    broker.signal("CONT");
}

#[test]
fn home_assistant_is_told_again_when_it_has_started() {
    if !has("mosquitto") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let peer = Peer::connect(broker.port);
    let _device = Device::watch(folder.path(), &url(&broker));
    let first = peer.wait(0, DISCOVERY, |_| true);
    assert_eq!(first.json()["device"]["model"], "tiny");
    peer.wait(0, AVAILABLE, is("online"));

    let from = peer.heard.len();
    peer.say("homeassistant/status", "offline");
    peer.say("homeassistant/status", "online");
    peer.wait(from, AVAILABLE, is("online"));
    let again = peer.wait(from, DISCOVERY, |_| true);
    assert_eq!(again.payload, first.payload);
    let heard: Vec<String> = peer.heard.all()[from..].iter().map(|heard| heard.topic.clone()).collect();
    let place = |topic| heard.iter().position(|heard| heard == topic).unwrap();
    assert!(place(DISCOVERY) < place(AVAILABLE), "{heard:?}");
    assert_eq!(heard.iter().filter(|topic| *topic == DISCOVERY).count(), 1);
}

#[test]
fn base_node_and_discovery_are_the_configuration_s() {
    if !has("mosquitto") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let peer = Peer::connect(broker.port);
    let more = "base = \"shop/eye\"\nnode = \"eye-1\"\ndiscovery = \"\"";
    let _device = Device::watch(folder.path(), &format!("{}\n{more}", url(&broker)));
    peer.wait(0, "shop/eye/caption/json", |_| true);
    let topics: Vec<String> = peer.heard.all().into_iter().map(|heard| heard.topic).collect();
    assert!(topics.iter().all(|topic| topic.starts_with("shop/eye/")), "{topics:?}");
}

#[test]
fn a_word_is_taught_and_undone_by_messages() {
    if !has("mosquitto") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let peer = Peer::connect(broker.port);
    // What was said to others before is not for a daemon that comes later.
    peer.say_retained(SET, "{\"command\":\"keep\",\"caption\":\"an old one\"}");
    let squares = [(SQUARE, 3), (SQUARE, 8), (SQUARE, 11), (SQUARE, 17)];
    let device = Device::start(folder.path(), &squares, "rate = 4.0\nloop = true", &url(&broker));
    peer.wait(0, CAPTION, |_| true);
    assert!(!peer.payloads(CAPTION).iter().any(|caption| caption.contains("Blick")));
    for count in 1..=4 {
        let from = peer.heard.len();
        peer.say(SET, "{\"command\":\"keep\",\"caption\":\"a Blick square\"}");
        let kept = peer.wait(from, STATE, |state| state.json()["answer"]["done"] == true).json();
        let samples = device.samples();
        assert_eq!(samples.len(), count);
        let (caption, file) = samples.last().unwrap();
        assert_eq!(caption, "a Blick square");
        assert_eq!(kept["answer"]["message"], format!("kept as {file}"));
        // The next one is another picture.
        device.captions_go_on(1);
    }

    let from = peer.heard.len();
    for (payload, reason) in [
        ("calibrate!", "give adapt, undo, {\"command\":\"keep\",\"caption\":\"…\"}"),
        ("{\"command\":\"keep\",\"caption\":\"?!\"}", "no word in"),
    ] {
        peer.say(SET, payload);
        let answer = peer
            .wait(from, STATE, |state| state.json()["answer"]["message"].as_str().unwrap().contains(reason))
            .json();
        assert_eq!((&answer["answer"]["done"], &answer["adapting"]), (&json!(false), &json!(false)));
        assert_eq!(device.samples().len(), 4);
    }

    peer.say(SET, "adapt");
    let from = peer.heard.len();
    peer.wait(0, STATE, |state| state.json()["adapting"] == true);
    let state = peer.wait(from, STATE, |state| state.json()["outcome"] == "committed").json();
    assert_eq!((&state["adapting"], &state["generation"]), (&json!(false), &json!(1)));
    assert_eq!((&state["last"]["samples"], &state["last"]["new_words"]), (&json!(4), &json!(["Blick"])));
    peer.wait(from, CAPTION, |caption| caption.payload.split(' ').any(|word| word == "Blick"));
    peer.wait(from, CAPTION_JSON, |caption| caption.json()["generation"] == 1);

    let from = peer.heard.len();
    peer.say(SET, "undo");
    let state = peer.wait(from, STATE, |state| state.json()["outcome"] == "undone").json();
    assert!(state["generation"].is_null(), "{state}");
    peer.wait(from, CAPTION_JSON, |caption| caption.json()["generation"].is_null());
    peer.say(SET, "{\"command\":\"undo\"}");
    peer.wait(from, STATE, |state| {
        let answer = &state.json()["answer"];
        answer["done"] == false && answer["message"].as_str().unwrap().contains("no calibration to undo")
    });

    let late = Peer::connect(broker.port);
    assert!(late.wait(0, STATE, |state| state.json()["outcome"] == "undone").retained);
}
