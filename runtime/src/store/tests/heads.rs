use std::fs;
use std::path::{Path, PathBuf};

use super::super::testing::{bundle, contents};
use super::super::{KEEP, State, StateError, StateReader};

/// A state in which heads with these payloads were committed, in this order.
fn committed(folder: &Path, payloads: &[&str]) -> State {
    let mut state = State::open(folder).unwrap();
    for payload in payloads {
        state.commit(&bundle('a'), *payload).unwrap();
    }
    state
}

/// The head in use, and what was warned of.
fn newest(folder: &Path) -> (Option<String>, Vec<String>) {
    let loaded = StateReader::open(folder).unwrap().newest::<String>(&bundle('a'));
    let warnings = loaded.warnings.iter().map(ToString::to_string).collect();
    (loaded.head.map(|head| head.payload), warnings)
}

fn used(folder: &Path) -> Option<String> {
    newest(folder).0
}

fn head(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("heads/{number:06}.postcard"))
}

#[test]
fn what_was_committed_last_is_in_use_and_survives_reopening() {
    let test = tempfile::tempdir().unwrap();
    let folder = test.path().join("deep/state");
    drop(committed(&folder, &["one", "two"]));
    assert_eq!(newest(&folder), (Some("two".into()), vec![]));
    let head = State::open(&folder).unwrap().newest::<String>(&bundle('a')).head.unwrap();
    assert_eq!((head.generation.number(), head.payload.as_str()), (2, "two"));
    let current = fs::read_to_string(folder.join("current")).unwrap();
    assert_eq!(current, "000002\n000001\ninitialization\n");
}

#[test]
fn a_new_or_empty_folder_has_no_head_and_nothing_to_warn_of() {
    let test = tempfile::tempdir().unwrap();
    assert_eq!(newest(test.path()), (None, vec![]));
    assert!(contents(test.path()).is_empty());
    drop(State::open(test.path()).unwrap());
    assert_eq!(newest(test.path()), (None, vec![]));
}

#[test]
fn undoing_goes_back_head_by_head_to_the_same_bytes_and_to_the_initialization() {
    let test = tempfile::tempdir().unwrap();
    let mut state = committed(test.path(), &["one"]);
    let first = fs::read(head(test.path(), 1)).unwrap();
    state.commit(&bundle('a'), "two").unwrap();
    assert_eq!(state.undo().unwrap().unwrap().number(), 1);
    assert_eq!(used(test.path()).unwrap(), "one");
    assert_eq!(fs::read(head(test.path(), 1)).unwrap(), first);
    assert_eq!(state.undo().unwrap(), None);
    assert_eq!(newest(test.path()), (None, vec![]));
    assert!(matches!(state.undo(), Err(StateError::NothingToUndo(path)) if path == test.path()));
}

#[test]
fn what_was_undone_is_skipped_by_later_undoing_and_its_number_is_not_used_again() {
    let test = tempfile::tempdir().unwrap();
    let mut state = committed(test.path(), &["one", "two"]);
    state.undo().unwrap();
    assert_eq!(state.commit(&bundle('a'), "three").unwrap().number(), 3);
    assert_eq!(state.undo().unwrap().unwrap().number(), 1);
    assert_eq!(state.undo().unwrap(), None);
}

#[test]
fn the_number_of_a_head_that_is_gone_is_not_used_again() {
    let test = tempfile::tempdir().unwrap();
    let mut state = committed(test.path(), &["one", "two"]);
    fs::remove_file(head(test.path(), 2)).unwrap();
    assert_eq!(state.commit(&bundle('a'), "three").unwrap().number(), 3);
}

#[test]
fn the_newest_heads_are_kept_and_undoing_beyond_them_says_so() {
    let test = tempfile::tempdir().unwrap();
    let payloads: Vec<String> = (1..=KEEP + 3).map(|number| number.to_string()).collect();
    let payloads: Vec<&str> = payloads.iter().map(String::as_str).collect();
    let mut state = committed(test.path(), &payloads);
    assert_eq!(test.path().join("heads").read_dir().unwrap().count(), KEEP);
    for _ in 1..KEEP {
        state.undo().unwrap();
    }
    assert_eq!(used(test.path()).unwrap(), "4");
    let error = state.undo().unwrap_err().to_string();
    let path = head(test.path(), 3);
    assert_eq!(
        error,
        format!(
            "{}: the calibration before, 000003, is no longer kept; calibrate again, or remove `current` beside `heads` to caption as before any calibration",
            path.display()
        )
    );
    assert_eq!(used(test.path()).unwrap(), "4");
}

#[test]
fn a_head_that_later_ones_were_undone_to_is_kept_as_long_as_undoing_leads_to_it() {
    let test = tempfile::tempdir().unwrap();
    let mut state = committed(test.path(), &["good"]);
    for _ in 0..KEEP + 3 {
        state.commit(&bundle('a'), "bad").unwrap();
        assert_eq!(state.undo().unwrap().unwrap().number(), 1);
        assert_eq!(used(test.path()).unwrap(), "good");
    }
    assert_eq!(test.path().join("heads").read_dir().unwrap().count(), KEEP + 1);
}

#[test]
fn a_head_with_any_one_byte_flipped_is_passed_over_with_a_warning_for_the_one_before() {
    let test = tempfile::tempdir().unwrap();
    drop(committed(test.path(), &["one", "two"]));
    let path = head(test.path(), 2);
    let good = fs::read(&path).unwrap();
    for at in 0..good.len() {
        let mut data = good.clone();
        data[at] ^= 0xff;
        fs::write(&path, data).unwrap();
        let (used, warnings) = newest(test.path());
        assert_eq!(used.unwrap(), "one");
        assert!(warnings.len() == 1 && warnings[0].starts_with(&format!("{}: ", path.display())));
    }
}

#[test]
fn a_head_that_is_cut_or_gone_or_a_folder_is_passed_over_with_a_warning() {
    let test = tempfile::tempdir().unwrap();
    drop(committed(test.path(), &["one", "two", "three"]));
    fs::write(head(test.path(), 3), "").unwrap();
    fs::remove_file(head(test.path(), 2)).unwrap();
    let (used, warnings) = newest(test.path());
    assert_eq!(used.unwrap(), "one");
    let three = head(test.path(), 3);
    assert_eq!(
        warnings[0],
        format!("{}: 0 bytes, 84 expected; using what was in use before", three.display())
    );
    assert!(warnings[1].contains("000002.postcard: cannot be read: "), "{}", warnings[1]);
    fs::remove_file(head(test.path(), 1)).unwrap();
    fs::create_dir(head(test.path(), 1)).unwrap();
    let (used, warnings) = newest(test.path());
    assert_eq!((used, warnings.len()), (None, 3));
}

#[test]
fn a_head_of_another_bundle_is_passed_over_and_waits_for_it() {
    let test = tempfile::tempdir().unwrap();
    let mut state = committed(test.path(), &["one"]);
    state.commit(&bundle('b'), "two").unwrap();
    let (used, warnings) = newest(test.path());
    assert_eq!(used.unwrap(), "one");
    let two = head(test.path(), 2);
    assert_eq!(
        warnings,
        [format!(
            "{}: calibrated on bundle bbbbbbbbbbbb, this is aaaaaaaaaaaa; using what was in use before",
            two.display()
        )]
    );
    assert_eq!(state.newest::<String>(&bundle('b')).head.unwrap().payload, "two");
}

#[test]
fn an_undone_head_is_not_used_in_the_place_of_a_damaged_one() {
    let test = tempfile::tempdir().unwrap();
    committed(test.path(), &["one", "two"]).undo().unwrap();
    fs::write(head(test.path(), 1), "damaged").unwrap();
    let (used, warnings) = newest(test.path());
    assert_eq!((used, warnings.len()), (None, 1));
}

#[test]
fn without_a_good_pointer_the_newest_good_head_is_used_and_the_next_commit_mends_it() {
    let test = tempfile::tempdir().unwrap();
    let mut state = committed(test.path(), &["one", "two", "three"]);
    fs::write(head(test.path(), 3), "damaged").unwrap();
    let current = test.path().join("current");
    for damage in ["", "000002\n", "000002\0initialization\n"] {
        fs::write(&current, damage).unwrap();
        let (used, warnings) = newest(test.path());
        assert_eq!((used.unwrap().as_str(), warnings.len()), ("two", 2), "{damage:?}");
        let warned = format!("{}: not a file of this kind; using the newest calibration", current.display());
        assert_eq!(warnings[0], warned);
    }
    fs::remove_file(&current).unwrap();
    assert_eq!(newest(test.path()).1.len(), 2);
    assert_eq!(state.commit(&bundle('a'), "four").unwrap().number(), 4);
    assert_eq!(newest(test.path()), (Some("four".into()), vec![]));
}
