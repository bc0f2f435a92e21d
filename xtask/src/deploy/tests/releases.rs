//! Deploys that succeed.

use std::cell::RefCell;
use std::time::Duration;

use metalens_firmware_config::starter;

use super::fake::Fake;
use super::parts::{Source, profile};
use crate::deploy::device::Device;
use crate::deploy::layout::{self, is_incoming};
use crate::deploy::machine::{Deploy, DeployError, Outcome, current, marker, releases};
use crate::deploy::release::Release;

/// Some time in 2026.
pub const NOW: u64 = 1_780_000_000;

/// Deploys, and tells what it said.
pub fn deploy_saying(device: &dyn Device, release: &Release) -> (Result<Outcome, DeployError>, Vec<String>) {
    let said = RefCell::new(Vec::new());
    let say = |line: &str| said.borrow_mut().push(line.to_owned());
    let health_timeout = Duration::from_secs(90);
    let result = Deploy { device, release, profile: &profile(), health_timeout, now: NOW, say: &say }.run();
    (result, said.into_inner())
}

pub fn deploy(device: &dyn Device, release: &Release) -> Result<Outcome, DeployError> {
    deploy_saying(device, release).0
}

/// A device on which `release` runs.
pub fn device_with(release: &Release) -> Fake {
    let device = Fake::new();
    deploy(&device, release).unwrap();
    device
}

pub fn assert_runs(device: &Fake, release: &Release) {
    assert_eq!(device.state().running.as_ref(), Some(&release.name.to_string()));
    assert_eq!(current(device).unwrap().as_ref(), Some(&release.name));
    assert_eq!(marker(device).unwrap(), None);
    let names = device.names(layout::RELEASES).unwrap();
    assert!(!names.iter().any(|name| is_incoming(name)), "{names:?}");
}

#[test]
fn a_first_deploy_installs_everything_and_starts_it() {
    let release = Source::new("").release();
    let device = Fake::new();
    let outcome = deploy(&device, &release).unwrap();
    assert_eq!(
        (outcome.files, outcome.bytes),
        (release.files.len(), release.files.iter().map(|file| file.bytes).sum())
    );
    assert!(outcome.restarted);
    assert_runs(&device, &release);
    device.boot();
    assert_runs(&device, &release);
}

#[test]
fn a_second_deploy_of_the_same_release_copies_nothing_restarts_nothing_and_changes_nothing() {
    let release = Source::new("").release();
    let device = device_with(&release);
    let (before, starts) = (device.tree(), device.state().starts);
    device.state().operations.clear();
    let (outcome, said) = deploy_saying(&device, &release);
    assert_eq!(outcome.unwrap(), Outcome { files: 0, bytes: 0, restarted: false });
    assert_eq!(device.state().operations, [""; 0]);
    assert_eq!((device.tree(), device.state().starts), (before, starts));
    assert!(said[0].ends_with("copies 0 of 13 files, 0 bytes"), "{said:?}");
}

#[test]
fn a_deploy_that_changes_only_the_program_copies_only_the_program_and_its_sums() {
    let (old, new) = (Source::new("").release(), Source::new("again").release());
    let device = device_with(&old);
    device.state().sent.clear();
    let outcome = deploy(&device, &new).unwrap();
    let folder = new.name.incoming();
    assert_eq!(device.state().sent, [format!("{folder}/metalens"), format!("{folder}/SHA256SUMS")]);
    let changed = ["metalens", "SHA256SUMS"];
    let changed = new.files.iter().filter(|file| changed.contains(&file.path.as_str()));
    assert_eq!(outcome.bytes, changed.map(|file| file.bytes).sum::<u64>());
    assert_runs(&device, &new);
}

#[test]
fn a_device_keeps_the_running_release_the_one_before_it_and_one_more() {
    let sources: Vec<_> = (0..5).map(|number| Source::new(&number.to_string()).release()).collect();
    let device = Fake::new();
    for release in &sources {
        deploy(&device, release).unwrap();
    }
    let names: Vec<_> = sources[2..].iter().rev().map(|release| release.name.clone()).collect();
    assert_eq!(releases(&device).unwrap(), names);
}

#[test]
fn the_users_configuration_and_what_the_device_learned_are_never_overwritten() {
    let (old, new) = (Source::new("").release(), Source::new("again").release());
    let device = device_with(&old);
    let mine = [starter(&profile()).as_bytes(), b"# mine"].concat();
    let state = format!("{}/heads/000001.postcard", layout::STATE);
    device.state().disk.write(layout::CONFIG, &mine, crate::deploy::device::Mode::Plain).unwrap();
    device.state().disk.create_folder(&format!("{}/heads", layout::STATE)).unwrap();
    device.state().disk.write(&state, b"a head", crate::deploy::device::Mode::Plain).unwrap();
    deploy(&device, &new).unwrap();
    assert_eq!(device.read(layout::CONFIG).unwrap().unwrap(), mine);
    assert_eq!(device.read(&state).unwrap().unwrap(), b"a head");
}

#[test]
fn a_unit_that_somebody_changed_is_installed_again_without_copying() {
    let release = Source::new("").release();
    let device = device_with(&release);
    device.state().disk.write(layout::UNIT, b"[Service]", crate::deploy::device::Mode::Plain).unwrap();
    let outcome = deploy(&device, &release).unwrap();
    assert_eq!(outcome, Outcome { files: 0, bytes: 0, restarted: true });
    assert_runs(&device, &release);
}

#[test]
fn a_file_that_was_damaged_on_the_device_is_mended_and_its_twin_is_not_touched() {
    let (old, new) = (Source::new("").release(), Source::new("again").release());
    let device = device_with(&old);
    deploy(&device, &new).unwrap();
    let path = format!("{}/metalens", new.name.folder());
    device.state().disk.write(&path, b"bit rot", crate::deploy::device::Mode::Plain).unwrap();
    device.state().sent.clear();
    let outcome = deploy(&device, &new).unwrap();
    assert_eq!(outcome.files, 1);
    assert_runs(&device, &new);
    assert!(device.verify(&new.name.folder(), new.name.hash()).is_ok());
    assert!(device.verify(&old.name.folder(), old.name.hash()).is_ok());
}
