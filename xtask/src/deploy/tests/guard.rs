//! The guard that runs before every start, in a folder in the place of `/`.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use metalens_firmware_config::GUARD;
use tempfile::TempDir;

const OLD: &str = "0.1.0-000000000000";
const NEW: &str = "0.2.0-111111111111";

/// Runs the guard that lies in `root`. Its `sync` does nothing: a test has no power cut that this machine would notice.
pub fn run(root: &Path) -> Output {
    let tools = root.join("tools");
    fs::create_dir_all(&tools).unwrap();
    fs::write(tools.join("sync"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(tools.join("sync"), fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", tools.display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command.arg(root.join("opt/metalens/guard")).env("METALENS_ROOT", root).env("PATH", path);
    let output = command.output().unwrap();
    assert!(output.status.success(), "the guard may not keep the daemon from starting: {output:?}");
    output
}

/// A device with two releases.
struct Home(TempDir);

impl Home {
    fn new(current: &str, marker: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Self(folder);
        for release in [OLD, NEW] {
            fs::create_dir_all(home.path("releases").join(release)).unwrap();
        }
        fs::write(home.path("guard"), GUARD).unwrap();
        symlink(format!("releases/{current}"), home.path("current")).unwrap();
        if let Some(marker) = marker {
            fs::write(home.path("unconfirmed"), marker).unwrap();
        }
        home
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("opt/metalens").join(name)
    }

    fn start(&self) -> Output {
        run(self.0.path())
    }

    fn current(&self) -> String {
        let target = fs::read_link(self.path("current")).unwrap();
        target.file_name().unwrap().to_str().unwrap().to_owned()
    }

    fn marker(&self) -> Option<String> {
        fs::read_to_string(self.path("unconfirmed")).ok()
    }
}

fn marker(previous: &str, starts: &str) -> String {
    format!("release={NEW}\nprevious={previous}\nstarts={starts}\n")
}

#[test]
fn a_release_that_was_started_twice_and_not_confirmed_goes_back_at_its_third_start() {
    let home = Home::new(NEW, Some(&marker(OLD, "0")));
    for starts in ["1", "2"] {
        home.start();
        assert_eq!((home.current().as_str(), home.marker()), (NEW, Some(marker(OLD, starts))));
    }
    let output = home.start();
    assert_eq!((home.current().as_str(), home.marker()), (OLD, None));
    assert!(String::from_utf8_lossy(&output.stderr).contains(&format!("{OLD} is back")));
    home.start();
    assert_eq!(home.current(), OLD);
}

#[test]
fn without_a_mark_nothing_changes() {
    let home = Home::new(NEW, None);
    home.start();
    assert_eq!((home.current().as_str(), home.marker()), (NEW, None));
}

#[test]
fn a_mark_of_another_release_than_the_one_that_starts_does_not_count() {
    let home = Home::new(OLD, Some(&marker(OLD, "2")));
    home.start();
    assert_eq!((home.current().as_str(), home.marker()), (OLD, Some(marker(OLD, "2"))));
}

#[test]
fn a_first_release_has_none_to_go_back_to_and_is_started_for_ever() {
    let home = Home::new(NEW, Some(&marker("", "2")));
    home.start();
    assert_eq!(home.current(), NEW);
    let home = Home::new(NEW, Some(&marker("0.0.9-999999999999", "2")));
    home.start();
    assert_eq!(home.current(), NEW);
}

#[test]
fn a_damaged_mark_keeps_nothing_from_starting() {
    for damaged in ["", "release=", "starts=2\n", "release=x\nprevious=..\nstarts=many", "\0\0\0"] {
        let home = Home::new(NEW, Some(damaged));
        home.start();
        assert_eq!(home.current(), NEW, "{damaged:?}");
    }
}
