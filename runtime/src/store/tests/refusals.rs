use std::fs;
use std::path::Path;

use super::super::testing::{bundle, contents};
use super::super::{State, StateError, StateReader};

fn open_error(folder: &Path) -> StateError {
    State::open(folder).err().unwrap()
}

#[test]
fn a_state_that_is_only_read_must_be_there() {
    let test = tempfile::tempdir().unwrap();
    let missing = test.path().join("state");
    let error = StateReader::open(&missing).unwrap_err();
    assert!(matches!(&error, StateError::NoFolder(path) if *path == missing));
    assert!(error.to_string().starts_with(&format!("{}: no such folder; ", missing.display())));
    assert!(!missing.exists());
    fs::write(&missing, "").unwrap();
    assert!(matches!(StateReader::open(&missing), Err(StateError::NotAFolder(path)) if path == missing));
}

#[test]
fn two_processes_cannot_change_it_at_once_and_reading_goes_on() {
    let test = tempfile::tempdir().unwrap();
    let mut first = State::open(test.path()).unwrap();
    let error = open_error(test.path());
    assert!(matches!(&error, StateError::Locked(path) if path == test.path()));
    assert!(error.to_string().contains(": in use by another metalens; wait"), "{error}");
    first.commit(&bundle('a'), "one").unwrap();
    let reader = StateReader::open(test.path()).unwrap();
    assert_eq!(reader.newest::<String>(&bundle('a')).head.unwrap().payload, "one");
    drop(first);
    State::open(test.path()).unwrap();
}

#[test]
fn a_file_where_a_folder_belongs_is_named() {
    let test = tempfile::tempdir().unwrap();
    for place in ["state", "other/heads", "third/support"] {
        let path = test.path().join(place);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "").unwrap();
        let folder = if place == "state" { path.as_path() } else { path.parent().unwrap() };
        assert!(matches!(open_error(folder), StateError::NotAFolder(found) if found == path));
        // Captioning goes on, where there is a folder.
        if let Ok(reader) = StateReader::open(folder) {
            assert!(reader.newest::<String>(&bundle('a')).head.is_none());
        }
    }
    let below = test.path().join("state/below");
    assert!(matches!(open_error(&below), StateError::Io { path, .. } if path == below));
}

#[test]
fn a_lock_that_cannot_be_opened_is_named() {
    let test = tempfile::tempdir().unwrap();
    let lock = test.path().join("lock");
    fs::create_dir(&lock).unwrap();
    assert!(matches!(open_error(test.path()), StateError::Io { path, .. } if path == lock));
}

#[test]
fn a_pointer_that_cannot_be_written_is_named_and_nothing_is_left() {
    let test = tempfile::tempdir().unwrap();
    let mut state = State::open(test.path()).unwrap();
    let current = test.path().join("current");
    fs::create_dir_all(current.join("in the way")).unwrap();
    let before = contents(test.path());
    let error = state.commit(&bundle('a'), "one").unwrap_err();
    assert!(matches!(error, StateError::Io { path, .. } if path == current));
    assert_eq!(contents(test.path()), before);
}

#[test]
fn a_head_that_cannot_be_written_down_is_refused_before_anything_is_written() {
    struct Unspeakable;
    impl serde::Serialize for Unspeakable {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
    }
    let test = tempfile::tempdir().unwrap();
    let mut state = State::open(test.path()).unwrap();
    let before = contents(test.path());
    let error = state.commit(&bundle('a'), &Unspeakable).unwrap_err();
    assert!(error.to_string().contains("000001.postcard: the head cannot be written down: "), "{error}");
    assert_eq!(contents(test.path()), before);
}

#[test]
fn what_a_power_cut_left_is_swept_when_the_state_is_opened() {
    let test = tempfile::tempdir().unwrap();
    drop(State::open(test.path()).unwrap());
    let before = contents(test.path());
    for left in [".current.7.new", "heads/.000001.postcard.7.new", "support/.captions.tsv.7.new"] {
        fs::write(test.path().join(left), "half").unwrap();
    }
    drop(State::open(test.path()).unwrap());
    assert_eq!(contents(test.path()), before);
}
