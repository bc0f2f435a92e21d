//! The device cut after every operation of a deploy.

use super::fake::{Fake, Fault};
use super::parts::Source;
use super::releases::{assert_runs, deploy, device_with};
use crate::deploy::device::{Device, Services};
use crate::deploy::layout;
use crate::deploy::machine::releases;
use crate::deploy::release::Release;

const FAULTS: [Fault; 4] = [Fault::Full, Fault::Cut, Fault::CutAndForget, Fault::Lost];

/// What may run after a fault: one of these releases, and nothing at all only where there was none before.
fn assert_captions(device: &Fake, old: Option<&Release>, new: &Release, place: &str) {
    let running = device.state().running.clone();
    let known = |release: &&str| Some(*release) == running.as_deref();
    let names: Vec<_> = old.into_iter().chain([new]).map(|release| release.name.to_string()).collect();
    match &running {
        Some(_) => {
            assert!(names.iter().map(String::as_str).any(|name| known(&name)), "{place}: {running:?}");
            assert!(device.health().unwrap().unwrap().captions > 0, "{place}");
        }
        None => assert!(old.is_none(), "{place}: nothing runs: {:?}", device.state().journal),
    }
}

/// What has a release's name is one.
fn assert_whole(device: &Fake, place: &str) {
    for name in releases(device).unwrap() {
        device.verify(&name.folder(), name.hash()).unwrap_or_else(|error| panic!("{place}: {error}"));
    }
}

/// Fails a deploy after every operation in every way, and returns how many operations there are.
fn sweep(before: &Fake, old: Option<&Release>, new: &Release) -> usize {
    for fault in FAULTS {
        for operations in 0.. {
            let device = before.failing_after(operations, fault);
            let result = deploy(&device, new);
            if !device.struck() {
                result.unwrap();
                assert!(operations > 0);
                break;
            }
            let place =
                format!("{fault:?} after {operations} ({:?})", device.state().operations.last().cloned());
            device.recover();
            device.idle();
            assert_captions(&device, old, new, &place);
            assert_whole(&device, &place);
            // Whoever switches it off and on again, and again, has a device that captions.
            let later = device.failing_after(usize::MAX, fault);
            // A disk that was full lost no power.
            for boot in if fault == Fault::Full { 0..0 } else { 1..4 } {
                later.boot();
                assert_captions(&later, old, new, &format!("{place}, boot {boot}"));
            }
            for device in [&device, &later] {
                deploy(device, new).unwrap_or_else(|error| panic!("{place}: {error}"));
                assert_runs(device, new);
                device.boot();
                assert_runs(device, new);
            }
        }
    }
    let whole = before.failing_after(usize::MAX, Fault::Lost);
    deploy(&whole, new).unwrap();
    whole.0.into_inner().operations.len()
}

#[test]
fn a_first_deploy_cut_anywhere_leaves_nothing_running_or_the_release_and_succeeds_again() {
    let release = Source::new("").release();
    let points = sweep(&Fake::new(), None, &release);
    println!("{points} cut points");
    assert!(points >= 40);
}

#[test]
fn an_upgrade_cut_anywhere_leaves_the_old_or_the_new_release_captioning_and_succeeds_again() {
    let (old, new) = (Source::new("").release(), Source::new("again").release());
    let device = device_with(&Source::new("the first").release());
    for release in [&Source::new("the second").release(), &old] {
        deploy(&device, release).unwrap();
    }
    // Of another version: unit, rules and guard change as well.
    for path in [layout::UNIT, layout::RULES, layout::GUARD] {
        let mut text = device.state().disk.file(path).unwrap().data.to_vec();
        let mode = device.state().disk.file(path).unwrap().mode;
        text.extend(b"\n# of another version\n");
        device.state().disk.write(path, &text, mode).unwrap();
    }
    device.boot();
    let points = sweep(&device, Some(&old), &new);
    println!("{points} cut points");
    assert!(points >= 40);
}

#[test]
fn a_broken_upgrade_cut_anywhere_leaves_a_device_that_goes_back_to_the_old_release() {
    let old = Source::new("").release();
    for behaviour in ["crashes", "stays mute"] {
        let broken = Source::new(behaviour).release();
        let before = device_with(&old);
        for fault in FAULTS {
            for operations in 0.. {
                let device = before.failing_after(operations, fault);
                deploy(&device, &broken).unwrap_err();
                if !device.struck() {
                    break;
                }
                let place = format!("{behaviour}, {fault:?} after {operations}");
                device.recover();
                // One boot a failed start: a release that starts and stays mute is noticed by nobody but the guard.
                for _ in 0..3 {
                    device.boot();
                }
                assert_eq!(device.state().running, Some(old.name.to_string()), "{place}");
                assert_whole(&device, &place);
                deploy(&device, &old).unwrap_or_else(|error| panic!("{place}: {error}"));
                assert_runs(&device, &old);
            }
        }
    }
}
