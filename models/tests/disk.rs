//! Replacing files as a whole.
#![allow(clippy::unwrap_used)]

use std::fs;

use metalens_models::{WriteError, hidden_sibling, replace, sweep};

#[test]
fn a_file_is_replaced_and_nothing_else_lies_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words.txt");
    for text in ["old", "new"] {
        replace(&path, text.as_bytes()).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn what_cannot_be_replaced_is_named_and_the_temporary_file_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("words.txt");
    fs::create_dir_all(path.join("in the way")).unwrap();
    let WriteError::Io { path: named, .. } = replace(&path, b"new").unwrap_err() else { panic!() };
    assert_eq!(named, path);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn only_what_a_replacement_left_is_swept() {
    let folder = tempfile::tempdir().unwrap();
    let kept = ["words.txt", ".hidden", ".new", "a.1.new", ".a.b.new", ".a.1.old"];
    let left = hidden_sibling(&folder.path().join("words.txt"), "new");
    for path in kept.iter().map(|name| folder.path().join(name)).chain([left.clone()]) {
        fs::write(path, "").unwrap();
    }
    sweep(folder.path());
    assert!(!left.exists());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), kept.len());
}
