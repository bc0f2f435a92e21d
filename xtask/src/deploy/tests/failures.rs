//! Releases that do not work.

use super::fake::Fake;
use super::parts::Source;
use super::releases::{assert_runs, deploy, device_with};
use crate::deploy::layout;
use crate::deploy::machine::releases;

#[test]
fn a_release_that_fails_its_self_test_is_never_switched_to() {
    let (old, ill) = (Source::new("").release(), Source::new("is ill").release());
    let device = device_with(&old);
    let starts = device.state().starts;
    let error = deploy(&device, &ill).unwrap_err().to_string();
    assert!(error.contains("self-test failed") && error.contains("golden.jpg"), "{error}");
    assert_eq!(device.state().starts, starts);
    assert_eq!(releases(&device).unwrap(), std::slice::from_ref(&old.name));
    deploy(&device, &old).unwrap();
}

#[test]
fn a_release_without_a_caption_is_taken_back_and_the_journal_is_told() {
    let (old, mute) = (Source::new("").release(), Source::new("stays mute").release());
    let device = device_with(&old);
    device.state().journal.push("no camera at /dev/video0".into());
    let error = deploy(&device, &mute).unwrap_err().to_string();
    assert!(error.contains("no caption within 90 s"), "{error}");
    assert!(error.contains(&format!("{} is back and captions", old.name)), "{error}");
    assert!(error.ends_with("no camera at /dev/video0"), "{error}");
    assert_eq!(device.state().running, Some(old.name.to_string()));
    assert_eq!(releases(&device).unwrap(), std::slice::from_ref(&old.name));
    deploy(&device, &old).unwrap();
    assert_runs(&device, &old);
}

#[test]
fn a_release_that_crashes_is_taken_back_by_the_guard_while_the_deploy_watches() {
    let (old, crashing) = (Source::new("").release(), Source::new("crashes").release());
    let device = device_with(&old);
    let error = deploy(&device, &crashing).unwrap_err().to_string();
    assert!(error.contains("failed twice, and the device went back by itself"), "{error}");
    assert!(error.contains(": panicked"), "{error}");
    assert_eq!(device.state().running, Some(old.name.to_string()));
    assert_eq!(device.tree().get(layout::MARKER), None);
}

#[test]
fn a_first_release_that_does_not_work_leaves_nothing_that_starts() {
    for behaviour in ["crashes", "stays mute"] {
        let device = Fake::new();
        let error = deploy(&device, &Source::new(behaviour).release()).unwrap_err().to_string();
        assert!(error.contains("nothing runs now"), "{error}");
        device.boot();
        assert_eq!(device.state().running, None);
        let good = Source::new("").release();
        deploy(&device, &good).unwrap();
        assert_runs(&device, &good);
    }
}

#[test]
fn a_failed_release_is_tried_again_without_copying_it_again() {
    let (old, mute) = (Source::new("").release(), Source::new("stays mute").release());
    let device = device_with(&old);
    deploy(&device, &mute).unwrap_err();
    device.state().sent.clear();
    deploy(&device, &mute).unwrap_err();
    assert_eq!(device.state().sent, [""; 0]);
}

#[test]
fn a_running_release_that_no_longer_captions_stays_when_it_is_deployed_again() {
    let release = Source::new("").release();
    let device = device_with(&release);
    device.state().running = None;
    device.state().disk.remove(layout::CONFIG);
    let outcome = deploy(&device, &release).unwrap();
    assert!(outcome.restarted);
    assert_runs(&device, &release);
}
