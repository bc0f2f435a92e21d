//! A device between deploys.

use std::time::Duration;

use super::fake::{Fake, Fault};
use super::parts::Source;
use super::releases::{assert_runs, deploy, device_with};
use crate::deploy::device::{Device, Mode};
use crate::deploy::layout::{self, Marker, ReleaseName};
use crate::deploy::maintain::{State, remove, rollback, status};

fn back(device: &Fake, to: Option<&str>) -> anyhow::Result<ReleaseName> {
    rollback(device, to, Duration::from_secs(90), &|_| {})
}

#[test]
fn a_rollback_lets_the_release_before_run_and_another_one_the_one_after_again() {
    let (old, new) = (Source::new("").release(), Source::new("again").release());
    let device = device_with(&old);
    deploy(&device, &new).unwrap();
    assert_eq!(back(&device, None).unwrap(), old.name);
    assert_runs(&device, &old);
    assert_eq!(back(&device, None).unwrap(), new.name);
    assert_runs(&device, &new);
    assert_eq!(back(&device, Some(&old.name.to_string())).unwrap(), old.name);
    let error = back(&device, Some("0.1.0-000000000000")).unwrap_err().to_string();
    assert!(error.contains(&new.name.to_string()), "{error}");
}

#[test]
fn a_rollback_to_a_release_that_no_longer_works_comes_back() {
    let (old, new) = (Source::new("").release(), Source::new("again").release());
    let device = device_with(&old);
    deploy(&device, &new).unwrap();
    let program = format!("{}/metalens", old.name.folder());
    device.state().disk.write(&program, b"bit rot", Mode::Program).unwrap();
    let error = back(&device, None).unwrap_err().to_string();
    assert!(error.contains("metalens has another sha256"), "{error}");
    assert_runs(&device, &new);
}

#[test]
fn there_is_nothing_to_roll_back_to_after_a_first_deploy() {
    assert!(back(&Fake::new(), None).unwrap_err().to_string().contains("no release is installed"));
    let device = device_with(&Source::new("").release());
    assert!(back(&device, None).unwrap_err().to_string().contains("is the only release there"));
}

#[test]
fn a_rollback_cut_anywhere_leaves_one_of_the_two_releases_captioning() {
    let (old, new) = (Source::new("").release(), Source::new("again").release());
    let before = device_with(&old);
    deploy(&before, &new).unwrap();
    for fault in [Fault::Cut, Fault::CutAndForget, Fault::Lost] {
        for operations in 0.. {
            let device = before.failing_after(operations, fault);
            let result = back(&device, None);
            if !device.struck() {
                result.unwrap();
                break;
            }
            device.recover();
            let running = device.state().running.clone().unwrap();
            let names = [old.name.to_string(), new.name.to_string()];
            assert!(names.contains(&running), "{fault:?} after {operations}");
            deploy(&device, &new).unwrap();
            assert_runs(&device, &new);
        }
    }
}

#[test]
fn a_status_tells_what_runs_and_what_waits_for_its_confirmation() {
    let (old, new) = (Source::new("").release(), Source::new("again").release());
    let device = Fake::new();
    assert!(status(&device).unwrap().contains("none; `cargo xtask deploy` installs one"));
    deploy(&device, &old).unwrap();
    deploy(&device, &new).unwrap();
    assert_eq!(
        status(&device).unwrap(),
        format!(
            "device     Raspberry Pi 4 Model B Rev 1.4, 1024 MiB free\n\
             release    {}  current\n\
             release    {}  \n\
             daemon     running, 1 captions, from {}\n",
            new.name, old.name, new.name
        )
    );
    let marker = Marker { release: new.name, previous: Some(old.name), starts: 1 };
    device.state().disk.write(layout::MARKER, marker.to_string().as_bytes(), Mode::Plain).unwrap();
    assert!(status(&device).unwrap().contains("current, not confirmed, started 1 times"));
}

/// A device that runs, and has learned something.
fn calibrated() -> Fake {
    let device = device_with(&Source::new("").release());
    device.state().disk.create_folder(layout::STATE).unwrap();
    device.state().disk.write(&head(), b"a head", Mode::Plain).unwrap();
    device.sync().unwrap();
    device
}

fn head() -> String {
    format!("{}/000001.postcard", layout::STATE)
}

#[test]
fn a_removal_leaves_what_the_device_learned_and_its_configuration_unless_they_are_purged() {
    let device = calibrated();
    remove(&device, State::Keep).unwrap();
    let tree = device.tree();
    let files: Vec<_> = tree.iter().filter(|(_, what)| *what != "folder").map(|(path, _)| path).collect();
    assert_eq!(files, [layout::CONFIG, &head()]);
    device.boot();
    assert_eq!(device.state().running, None);

    let device = calibrated();
    remove(&device, State::Purge).unwrap();
    assert!(device.tree().values().all(|what| what == "folder"), "{:?}", device.tree());
}

#[test]
fn a_removal_cut_anywhere_succeeds_again_and_loses_nothing_that_was_learned() {
    let (before, release) = (calibrated(), Source::new("").release());
    for fault in [Fault::Cut, Fault::CutAndForget, Fault::Lost] {
        for operations in 0.. {
            let device = before.failing_after(operations, fault);
            let result = remove(&device, State::Keep);
            if !device.struck() {
                result.unwrap();
                break;
            }
            device.recover();
            remove(&device, State::Keep).unwrap();
            assert_eq!(device.read(&head()).unwrap().unwrap(), b"a head", "{fault:?} after {operations}");
            assert_eq!(device.state().running, None);
            deploy(&device, &release).unwrap();
            assert_runs(&device, &release);
        }
    }
}
