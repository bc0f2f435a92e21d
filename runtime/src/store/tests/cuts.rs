//! The disk fails after every single operation in turn, and what is left is read and used again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::testing::{FAULTS, Fault, FaultyDisk, bundle, contents};
use super::super::{KEEP, NewSample, State, StateError, StateReader};

/// What a folder holds.
type Contents = BTreeMap<PathBuf, Vec<u8>>;

/// For every fault after every number of operations, the last time after all that the action needs: prepares a state,
/// lets `act` change it, and gives the folder, the contents before, and what came of it to `check`.
fn at_every_operation<T>(
    prepare: impl Fn(&mut State),
    act: impl Fn(&mut State) -> Result<T, StateError>,
    check: impl Fn(&Path, &Contents, Result<T, StateError>, Fault),
) {
    for fault in FAULTS {
        for operations in 0.. {
            let test = tempfile::tempdir().unwrap();
            // A disk that waits for no medium, which would take most of the test's time.
            let fast = FaultyDisk::after(usize::MAX, fault);
            prepare(&mut State::open_on(Box::new(fast), test.path()).unwrap());
            let before = contents(test.path());
            let disk = FaultyDisk::after(operations, fault);
            let result = act(&mut State::open_on(Box::new(disk.clone()), test.path()).unwrap());
            let done = !disk.struck();
            if done {
                // A replaced file alone takes four operations.
                assert!(result.is_ok() && operations >= 4);
                disk.strike();
            }
            check(test.path(), &before, result, fault);
            if done {
                break;
            }
        }
    }
}

fn newest(folder: &Path) -> Option<String> {
    let loaded = StateReader::open(folder).unwrap().newest::<String>(&bundle('a'));
    loaded.head.map(|head| head.payload)
}

fn no_temporary_file_is_left(folder: &Path) {
    let hidden = |path: &&PathBuf| path.file_name().unwrap().to_str().unwrap().starts_with('.');
    assert_eq!(contents(folder).keys().filter(hidden).count(), 0);
}

/// The old head or the new one is in use, the new one if it was said to be; and the state can be used as before.
fn commits_at_every_operation(old: &[&str]) {
    let prepare = |state: &mut State| {
        for payload in old {
            state.commit(&bundle('a'), *payload).unwrap();
        }
    };
    let act = |state: &mut State| state.commit(&bundle('a'), "new");
    at_every_operation(prepare, act, |folder, before, result, fault| {
        let used = newest(folder);
        let old = old.last().map(|payload| (*payload).to_owned());
        let new = used.as_deref() == Some("new");
        assert!(new || used == old && result.is_err(), "{used:?} after {result:?}");
        if fault == Fault::Full {
            no_temporary_file_is_left(folder);
            assert!(new || contents(folder) == *before);
        }
        let mut state = State::open(folder).unwrap();
        no_temporary_file_is_left(folder);
        state.commit(&bundle('a'), "next").unwrap();
        assert_eq!(newest(folder).as_deref(), Some("next"));
        state.undo().unwrap();
        assert_eq!(newest(folder), used);
    });
}

#[test]
fn a_commit_that_is_cut_leaves_the_old_head_or_the_new_one() {
    commits_at_every_operation(&["old"]);
}

#[test]
fn a_first_commit_that_is_cut_leaves_the_initialization_or_the_new_head() {
    commits_at_every_operation(&[]);
}

#[test]
fn a_commit_that_removes_an_old_head_is_no_different() {
    commits_at_every_operation(&["old"; KEEP]);
}

#[test]
fn an_undo_that_is_cut_leaves_the_newer_head_or_the_older_one() {
    let prepare = |state: &mut State| {
        state.commit(&bundle('a'), "older").unwrap();
        state.commit(&bundle('a'), "newer").unwrap();
    };
    at_every_operation(prepare, State::undo, |folder, _, result, fault| {
        let used = newest(folder).unwrap();
        assert!(used == "older" || used == "newer" && result.is_err());
        if fault == Fault::Full {
            no_temporary_file_is_left(folder);
        }
        State::open(folder).unwrap().undo().unwrap();
    });
}

/// Every sample's picture and captions, in their order.
fn samples(folder: &Path) -> Vec<(Vec<u8>, Vec<String>)> {
    let samples = StateReader::open(folder).unwrap().samples().unwrap();
    samples.into_iter().map(|sample| (std::fs::read(sample.path).unwrap(), sample.captions)).collect()
}

#[test]
fn a_support_set_that_is_cut_while_it_changes_is_the_old_one_or_the_new_one_with_all_its_pictures() {
    let caption = vec!["A bolt.".to_owned()];
    let sample = |name, bytes| NewSample { name, bytes, captions: &caption };
    let kept = |pictures: &[&[u8]]| -> Vec<(Vec<u8>, Vec<String>)> {
        pictures.iter().map(|bytes| (bytes.to_vec(), caption.clone())).collect()
    };
    let prepare = |state: &mut State| {
        state.replace_samples(&[sample("a.jpg", b"one"), sample("b.jpg", b"two")]).unwrap();
    };
    let check = |new: &[&[u8]]| {
        let (old, new) = (kept(&[b"one", b"two"]), kept(new));
        move |folder: &Path, before: &Contents, result: Result<(), StateError>, fault| {
            let found = samples(folder);
            assert!(found == new || found == old && result.is_err(), "{found:?} after {result:?}");
            if fault == Fault::Full {
                no_temporary_file_is_left(folder);
                assert!(found == new || contents(folder) == *before);
            }
        }
    };
    at_every_operation(
        prepare,
        |state| state.keep_sample(&sample("a.jpg", b"three")).map(drop),
        check(&[b"one", b"two", b"three"]),
    );
    at_every_operation(prepare, |state| state.remove_sample("a.jpg"), check(&[b"two"]));
    at_every_operation(
        prepare,
        |state| state.replace_samples(&[sample("b.jpg", b"two"), sample("a.jpg", b"four")]),
        check(&[b"two", b"four"]),
    );
}

#[test]
fn a_new_folder_that_is_cut_is_made_by_the_next() {
    for fault in FAULTS {
        for operations in 0.. {
            let test = tempfile::tempdir().unwrap();
            let folder = test.path().join("deep/state");
            let disk = FaultyDisk::after(operations, fault);
            let opened = State::open_on(Box::new(disk.clone()), &folder).map(drop);
            assert_eq!(opened.is_ok(), !disk.struck());
            State::open(&folder).unwrap().commit(&bundle('a'), "one").unwrap();
            assert_eq!(newest(&folder).as_deref(), Some("one"));
            if !disk.struck() {
                break;
            }
        }
    }
}
