//! What a device checks by itself, with the script that runs there and with what checks a card.

use std::path::Path;
use std::process::Command;

use super::parts::Source;
use crate::deploy::device::{Device, DeviceError};
use crate::deploy::layout::TRUSTED_KEY;
use crate::deploy::release::Release;
use crate::deploy::root::Root;
use crate::deploy::sign::SigningKey;
use crate::deploy::ssh::{quote, verification};

/// A folder in the place of a device's `/`, with a release on it.
fn device_with(release: &Release) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::at(folder.path()).unwrap();
    root.create_folder(&format!("{}/bundle", release.name.folder())).unwrap();
    for file in &release.files {
        root.send(&file.content, &format!("{}/{}", release.name.folder(), file.path), file.mode).unwrap();
    }
    if let Some(key) = &release.public_key {
        root.create_folder("/etc/metalens").unwrap();
        std::fs::write(folder.path().join(&TRUSTED_KEY[1..]), key).unwrap();
    }
    folder
}

/// Why the release is refused, by the device's script and by ours; nothing where it is not.
fn reasons(folder: &Path, release: &Release) -> [String; 2] {
    let path = |path: &str| quote(&folder.join(&path[1..]).display().to_string());
    let script = verification(&path(&release.name.folder()), &path(TRUSTED_KEY), release.name.hash());
    let output = Command::new("sh").arg("-c").arg(script).env("LC_ALL", "C").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let theirs = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    match Root::at(folder).unwrap().verify(&release.name.folder(), release.name.hash()) {
        Ok(()) => [theirs, String::new()],
        Err(DeviceError::Tampered { reason, .. }) => [theirs, reason],
        Err(error) => panic!("{error}"),
    }
}

fn assert_refused(folder: &Path, release: &Release, part: &str) {
    for reason in reasons(folder, release) {
        assert!(reason.contains(part), "{part:?} is not in {reason:?}");
    }
}

fn can_verify_signatures() -> bool {
    let answers = |program: &str, argument: &str| {
        let output = Command::new(program).arg(argument).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
    };
    let can = answers("minisign", "-v").contains("minisign")
        || answers("openssl", "version").starts_with("OpenSSL 3");
    if !can {
        println!("skipped: neither minisign nor OpenSSL 3");
    }
    can
}

#[test]
fn a_whole_release_passes_and_one_changed_byte_of_any_file_does_not() {
    let release = Source::new("").release();
    let folder = device_with(&release);
    assert_eq!(reasons(folder.path(), &release), ["", ""]);
    for file in &release.files {
        let path = folder.path().join(&release.name.folder()[1..]).join(&file.path);
        let whole = std::fs::read(&path).unwrap();
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 1;
        std::fs::write(&path, damaged).unwrap();
        assert_refused(folder.path(), &release, &file.path);
        std::fs::remove_file(&path).unwrap();
        assert_refused(folder.path(), &release, &file.path);
        std::fs::write(&path, whole).unwrap();
    }
    assert_eq!(reasons(folder.path(), &release), ["", ""]);
}

#[test]
fn a_signature_passes_with_its_key_and_with_no_other() {
    if !can_verify_signatures() {
        return;
    }
    let (ours, theirs) = (SigningKey::generate(), SigningKey::generate());
    let source = Source::new("");
    let release = source.try_release(Some(&ours)).unwrap();
    let folder = device_with(&release);
    assert_eq!(reasons(folder.path(), &release), ["", ""]);

    let key = folder.path().join(&TRUSTED_KEY[1..]);
    std::fs::write(&key, theirs.public().unwrap()).unwrap();
    assert_refused(folder.path(), &release, "its signature");
    std::fs::write(&key, ours.public().unwrap()).unwrap();

    // Signed with the right key, but not these sums.
    let other = Source::new("another").try_release(Some(&ours)).unwrap();
    let signature = |release: &Release| {
        let file = release.files.iter().find(|file| file.path == "SHA256SUMS.minisig").unwrap();
        file.content.clone()
    };
    let path = format!("{}/SHA256SUMS.minisig", release.name.folder());
    let root = Root::at(folder.path()).unwrap();
    root.send(&signature(&other), &path, crate::deploy::device::Mode::Plain).unwrap();
    assert_refused(folder.path(), &release, "its signature");
    root.remove(&path).unwrap();
    assert_refused(folder.path(), &release, "its signature");
}
