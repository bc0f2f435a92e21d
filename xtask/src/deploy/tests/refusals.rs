//! Devices and releases that are refused: one line that says what to do, and nothing changed.

use super::fake::{Fake, Fault, State};
use super::parts::{AARCH64, Source, program};
use super::releases::{NOW, deploy, device_with};
use crate::deploy::device::{DeviceError, Privilege};
use crate::deploy::elf::Glibc;
use crate::deploy::layout;
use crate::deploy::release::Release;
use crate::deploy::sign::SigningKey;

/// Deploys to a device that has a release and is then changed by `change`; returns the message.
fn refused(release: &Release, change: impl FnOnce(&mut State)) -> String {
    let old = Source::new("the old one").release();
    let device = device_with(&old);
    change(&mut device.state());
    let (before, starts) = (device.tree(), device.state().starts);
    let error = deploy(&device, release).unwrap_err().to_string();
    assert_eq!(error.lines().count(), 1, "{error}");
    assert_eq!((device.tree(), device.state().starts), (before, starts), "{error}");
    assert_eq!(device.state().running, Some(old.name.to_string()), "{error}");
    error
}

fn contains(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
}

#[test]
fn another_host_key_is_refused() {
    let error = refused(&Source::new("").release(), |device| {
        device.no_connection = Some(|| DeviceError::HostKey { host: "pi@lens".into(), name: "lens".into() });
    });
    contains(&error, &["pi@lens", "ssh-keygen -R lens"]);
}

#[test]
fn no_route_is_refused() {
    let error = refused(&Source::new("").release(), |device| {
        device.no_connection =
            Some(|| DeviceError::Unreachable { host: "pi@lens".into(), reason: "No route to host".into() });
    });
    contains(&error, &["pi@lens", "No route to host", "check that the device is on"]);
}

#[test]
fn no_sudo_is_refused() {
    let error = refused(&Source::new("").release(), |device| device.facts.privilege = Privilege::User);
    contains(&error, &["no sudo", "/etc/sudoers.d/metalens"]);
}

#[test]
fn a_full_disk_is_refused_before_anything_is_copied() {
    let error = refused(&Source::new("").release(), |device| device.facts.free_bytes = Some(3 << 20));
    contains(&error, &["3 MiB are free", "needs 33", "journalctl --vacuum-size"]);
}

#[test]
fn a_disk_that_fills_up_while_a_release_is_copied_is_as_before_afterwards() {
    let (old, new) = (Source::new("").release(), Source::new("again").release());
    let device = device_with(&old);
    let before = device.tree();
    for operations in 0..8 {
        let device = device.failing_after(operations, Fault::Full);
        let error = deploy(&device, &new).unwrap_err().to_string();
        contains(&error, &[&new.name.incoming(), "no space left", "free some"]);
        assert_eq!(device.tree(), before, "after {operations}");
    }
}

#[test]
fn a_32_bit_userland_is_refused() {
    let error = refused(&Source::new("").release(), |device| device.facts.bits = Some(32));
    contains(&error, &["32-bit", "64-bit image"]);
}

#[test]
fn an_older_glibc_than_the_program_needs_is_refused() {
    let error = refused(&Source::new("").release(), |device| device.facts.glibc = Some(Glibc(2, 31)));
    contains(&error, &["glibc 2.31", "needs 2.34", "--builder zigbuild"]);
}

#[test]
fn a_program_for_another_processor_is_refused() {
    const X86_64: u16 = 62;
    let error = refused(&Source::with(&program(X86_64, &[], "")).release(), |_| {});
    contains(&error, &["is aarch64", "built for x86_64"]);
    // Of a card nothing is known but its profile.
    let device = Fake::new();
    device.state().facts.machine = None;
    let error = deploy(&device, &Source::with(&program(X86_64, &[], "")).release()).unwrap_err();
    contains(&error.to_string(), &["is aarch64", "built for x86_64"]);
}

#[test]
fn a_profile_of_another_board_is_refused() {
    let error = refused(&Source::new("").release(), |device| {
        device.facts.model = Some("NVIDIA Jetson Orin Nano Developer Kit".into());
    });
    contains(
        &error,
        &["profile rpi4 is not for", "Jetson Orin Nano", "--profile (generic, jetson-orin-nano)"],
    );
}

#[test]
fn a_clock_in_1970_is_refused() {
    let error = refused(&Source::new("").release(), |device| device.facts.clock = Some(72));
    contains(&error, &["72 s after 1970", &format!("sudo date -u -s @{NOW}")]);
}

#[test]
fn what_is_not_known_of_a_device_is_no_reason_to_refuse() {
    let release = Source::new("").release();
    let device = Fake::new();
    {
        let facts = &mut device.state().facts;
        (facts.machine, facts.bits, facts.glibc) = (None, None, None);
        (facts.model, facts.free_bytes, facts.clock) = (None, None, None);
    }
    deploy(&device, &release).unwrap();
}

#[test]
fn a_file_that_changed_on_its_way_is_noticed_on_the_device() {
    let release = Source::new("").release();
    let error = refused(&release, |device| device.corrupts = Some("metalens"));
    contains(&error, &["metalens has another sha256", "nothing was switched"]);
    let error = refused(&release, |device| device.corrupts = Some("SHA256SUMS"));
    contains(&error, &["SHA256SUMS is not the one of this release"]);
}

#[test]
fn a_bundle_that_changed_on_this_computer_makes_no_release() {
    let source = Source::new("");
    std::fs::write(source.path("bundle/head.onnx"), "other bytes").unwrap();
    let error = format!("{:#}", source.try_release(None).unwrap_err());
    contains(&error, &["head.onnx", "the manifest says"]);
}

#[test]
fn from_the_first_signed_release_on_a_device_takes_signed_releases_of_that_key_only() {
    let (ours, theirs) = (SigningKey::generate(), SigningKey::generate());
    let source = Source::new("");
    let device = device_with(&source.try_release(Some(&ours)).unwrap());
    assert!(device.tree().contains_key(layout::TRUSTED_KEY));

    // Two signatures of one release differ; it is the same release.
    let again = deploy(&device, &source.try_release(Some(&ours)).unwrap()).unwrap();
    assert_eq!((again.files, again.restarted), (0, false));

    let before = device.tree();
    let other = Source::with(&program(AARCH64, &[], "another"));
    let unsigned = deploy(&device, &other.release()).unwrap_err().to_string();
    contains(&unsigned, &["not signed", "--sign-key"]);
    let foreign = deploy(&device, &other.try_release(Some(&theirs)).unwrap()).unwrap_err().to_string();
    contains(&foreign, &["trusts another key"]);
    assert_eq!(device.tree(), before);
    deploy(&device, &other.try_release(Some(&ours)).unwrap()).unwrap();
}

#[test]
fn a_signature_that_is_not_of_these_sums_is_noticed_on_the_device() {
    let key = SigningKey::generate();
    let old = Source::new("").try_release(Some(&key)).unwrap();
    let mut new = Source::new("again").try_release(Some(&key)).unwrap();
    let signature = |release: &Release| {
        release.files.iter().position(|file| file.path == layout::file::SIGNATURE).unwrap()
    };
    let at = signature(&new);
    new.files[at] = old.files[signature(&old)].clone();
    let device = device_with(&old);
    let before = device.tree();
    let error = deploy(&device, &new).unwrap_err().to_string();
    contains(&error, &["its signature", "nothing was switched"]);
    assert_eq!(device.tree(), before);
}
