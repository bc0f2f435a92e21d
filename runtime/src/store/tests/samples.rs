use std::fs;
use std::path::Path;

use super::super::testing::contents;
use super::super::{NewSample, State, StateError, StateReader};

fn captions(captions: &[&str]) -> Vec<String> {
    captions.iter().map(|caption| (*caption).to_owned()).collect()
}

fn keep(state: &mut State, name: &str, bytes: &str, said: &[&str]) -> String {
    let captions = captions(said);
    state.keep_sample(&NewSample { name, bytes: bytes.as_bytes(), captions: &captions }).unwrap()
}

fn tsv(folder: &Path) -> String {
    fs::read_to_string(folder.join("support/captions.tsv")).unwrap()
}

#[test]
fn samples_are_kept_as_they_were_given_in_their_order() {
    let test = tempfile::tempdir().unwrap();
    let mut state = State::open(test.path()).unwrap();
    assert_eq!(state.samples().unwrap(), []);
    assert_eq!(keep(&mut state, "images/b.png", "PNG", &["The gripper is jammed.", " Jammed.\n"]), "b.png");
    assert_eq!(keep(&mut state, "a.jpg", "JPEG", &["A bolt."]), "a.jpg");
    assert_eq!(tsv(test.path()), "b.png\tThe gripper is jammed.\nb.png\tJammed.\na.jpg\tA bolt.\n");
    let samples = StateReader::open(test.path()).unwrap().samples().unwrap();
    assert_eq!(samples, state.samples().unwrap());
    let read: Vec<_> = samples.iter().map(|sample| fs::read_to_string(&sample.path).unwrap()).collect();
    assert_eq!(read, ["PNG", "JPEG"]);
    assert_eq!(samples[0].captions, ["The gripper is jammed.", "Jammed."]);
}

#[test]
fn another_picture_of_the_same_name_is_kept_beside_the_first() {
    let test = tempfile::tempdir().unwrap();
    let mut state = State::open(test.path()).unwrap();
    assert_eq!(keep(&mut state, "monday/1.jpg", "one", &["A bolt."]), "1.jpg");
    // The first digits of sha256("two").
    let other = "3fc4ccfe745870e2-1.jpg";
    assert_eq!(keep(&mut state, "tuesday/1.jpg", "two", &["A nut."]), other);
    assert_eq!(keep(&mut state, "wednesday/1.jpg", "two", &["A brass nut."]), other);
    assert_eq!(tsv(test.path()), format!("1.jpg\tA bolt.\n{other}\tA brass nut.\n"));
    assert_eq!(fs::read_to_string(test.path().join("support/1.jpg")).unwrap(), "one");
}

#[test]
fn a_removed_sample_takes_its_picture_with_it() {
    let test = tempfile::tempdir().unwrap();
    let mut state = State::open(test.path()).unwrap();
    keep(&mut state, "a.jpg", "one", &["A bolt."]);
    keep(&mut state, "b.jpg", "two", &["A nut."]);
    state.remove_sample("a.jpg").unwrap();
    assert_eq!(tsv(test.path()), "b.jpg\tA nut.\n");
    assert!(!test.path().join("support/a.jpg").exists());
    let error = state.remove_sample("a.jpg").unwrap_err().to_string();
    assert!(error.ends_with("captions.tsv: names no sample a.jpg"), "{error}");
}

#[test]
fn a_new_support_set_takes_the_place_of_the_old_one_and_leaves_other_files_alone() {
    let test = tempfile::tempdir().unwrap();
    let mut state = State::open(test.path()).unwrap();
    keep(&mut state, "a.jpg", "one", &["A bolt."]);
    keep(&mut state, "b.jpg", "two", &["A nut."]);
    fs::write(test.path().join("support/notes.txt"), "mine").unwrap();
    let (again, new) = (captions(&["A brass nut."]), captions(&["A washer."]));
    state
        .replace_samples(&[
            NewSample { name: "b.jpg", bytes: b"two", captions: &again },
            NewSample { name: "c.jpg", bytes: b"three", captions: &new },
            NewSample { name: "b.jpg", bytes: b"two", captions: &new },
        ])
        .unwrap();
    assert_eq!(tsv(test.path()), "b.jpg\tA brass nut.\nb.jpg\tA washer.\nc.jpg\tA washer.\n");
    let files: Vec<_> = contents(&test.path().join("support"))
        .into_keys()
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(files, ["b.jpg", "c.jpg", "captions.tsv", "notes.txt"]);
}

#[test]
fn a_sample_without_a_caption_is_refused_and_none_of_its_set_is_kept() {
    let test = tempfile::tempdir().unwrap();
    let mut state = State::open(test.path()).unwrap();
    keep(&mut state, "a.jpg", "one", &["A bolt."]);
    let before = contents(test.path());
    let (good, blank) = (captions(&["A nut."]), captions(&[" ", "\n"]));
    let refused = state.replace_samples(&[
        NewSample { name: "b.jpg", bytes: b"two", captions: &good },
        NewSample { name: "c.jpg", bytes: b"three", captions: &blank },
    ]);
    assert!(matches!(refused, Err(StateError::NoCaption(name)) if name == "c.jpg"));
    assert_eq!(contents(test.path()), before);
}

#[test]
fn a_line_that_names_no_sample_is_told_by_its_number() {
    let test = tempfile::tempdir().unwrap();
    let state = State::open(test.path()).unwrap();
    let path = test.path().join("support/captions.tsv");
    fs::write(&path, "\u{feff}a.jpg\tA bolt.\r\n\r\na.jpg\tShiny.\r\n").unwrap();
    assert_eq!(state.samples().unwrap()[0].captions, ["A bolt.", "Shiny."]);
    for line in ["a.jpg A bolt.", "\tA bolt.", "a.jpg\t ", "../current\tA bolt."] {
        fs::write(&path, format!("a.jpg\tA bolt.\n\n{line}\n")).unwrap();
        let refused = state.samples();
        assert!(matches!(refused, Err(StateError::Malformed { line: 3, .. })), "{line:?}: {refused:?}");
    }
}

#[test]
fn a_folder_in_the_place_of_a_file_is_named() {
    let test = tempfile::tempdir().unwrap();
    let mut state = State::open(test.path()).unwrap();
    let said = captions(&["A bolt."]);
    let sample = NewSample { name: "a.jpg", bytes: b"one", captions: &said };
    for name in ["a.jpg", "captions.tsv"] {
        let path = test.path().join("support").join(name);
        fs::create_dir(&path).unwrap();
        let refused = state.keep_sample(&sample);
        assert!(matches!(&refused, Err(StateError::Io { path: found, .. }) if *found == path));
        fs::remove_dir(&path).unwrap();
    }
    assert_eq!(contents(&test.path().join("support")).len(), 0);
}
