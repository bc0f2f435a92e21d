//! A bundle is refused when anything about it is not as its manifest says.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use metalens_models::*;
use tempfile::TempDir;

fn manifest() -> Manifest {
    Manifest {
        format: FORMAT_VERSION,
        id: BundleId::default(),
        name: "test".into(),
        files: BTreeMap::new(),
        preprocessing: Preprocessing { width: 32, height: 32, mean: [127.0; 3], std: [128.0; 3] },
        shapes: Shapes {
            grid: [7, 7],
            token: 4,
            key: 3,
            state: 5,
            word: 2,
            feature: 11,
            hidden: 6,
            vocabulary: 6,
            phi: 0,
            classes: 0,
            concepts: 0,
        },
        special: SpecialTokens {
            padding: TokenId(0),
            start: TokenId(1),
            end: TokenId(2),
            unknown: TokenId(3),
            slots: SlotRange { first: TokenId(5), count: 1 },
        },
        decoding: Decoding { beam: 3, length_normalisation: 0.7, max_words: 20 },
        evidence: None,
        detector: None,
        inner_loop: None,
        training: serde_json::Value::Null,
        scores: BTreeMap::new(),
        golden: Golden { picture: "golden.jpg".into(), caption: "dog".into(), log_probability: -1.0 },
    }
}

/// A bundle whose graphs are no graphs: what this crate checks does not depend on them.
fn written() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle");
    let files = [
        (file::ENCODER, "encoder"),
        (file::DECODER, "decoder"),
        (file::HEAD, "head"),
        (file::VOCABULARY, "<padding>\n<start>\n<end>\n<unknown>\ndog\n<slot0>\n"),
        ("golden.jpg", "picture"),
        (file::MODEL_CARD, "card"),
    ];
    let files = files.into_iter().map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).collect();
    write(&path, manifest(), &files).unwrap();
    (folder, path)
}

fn edit_manifest(bundle: &Path, from: &str, to: &str) {
    let path = bundle.join(file::MANIFEST);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(&path, text.replace(from, to)).unwrap();
}

fn open_error(bundle: &Path) -> String {
    Bundle::open(bundle).unwrap_err().to_string()
}

#[test]
fn a_written_bundle_opens_and_every_file_reads_as_it_was_written() {
    let (_folder, path) = written();
    let bundle = Bundle::open(&path).unwrap();
    assert_eq!(bundle.read(file::HEAD).unwrap(), b"head");
    assert_eq!(bundle.vocabulary().unwrap().id("dog"), Some(TokenId(4)));
    // printf head | sha256sum
    assert_eq!(
        bundle.manifest().files[file::HEAD].sha256,
        "9f2e6d33a3717ee826353a404ba4618d1aeeb6879ad7936bce8ed5f46814924d"
    );
    assert!(!bundle.manifest().files.contains_key(file::MODEL_CARD));
}

#[test]
fn one_flipped_bit_is_refused_with_both_hashes() {
    let (_folder, path) = written();
    std::fs::write(path.join(file::HEAD), b"heae").unwrap();
    let bundle = Bundle::open(&path).unwrap();
    let error = bundle.read(file::HEAD).unwrap_err();
    let BundleError::Hash { found, expected, .. } = &error else { panic!("{error}") };
    assert_ne!(found, expected);
    let text = error.to_string();
    assert!(text.contains("head.onnx") && text.contains(found.as_str()) && text.contains(expected.as_str()));
}

#[test]
fn a_truncated_file_is_refused_with_both_sizes() {
    let (_folder, path) = written();
    std::fs::write(path.join(file::ENCODER), b"enc").unwrap();
    let error = Bundle::open(&path).unwrap().read(file::ENCODER).unwrap_err().to_string();
    assert!(error.contains("encoder.onnx: 3 bytes, the manifest says 7"), "{error}");
}

#[test]
fn a_missing_file_is_named() {
    let (_folder, path) = written();
    std::fs::remove_file(path.join(file::DECODER)).unwrap();
    let error = Bundle::open(&path).unwrap().read(file::DECODER).unwrap_err().to_string();
    assert!(error.contains("decoder.onnx: missing from the bundle"), "{error}");
}

#[test]
fn a_folder_in_place_of_a_file_is_named() {
    let (_folder, path) = written();
    std::fs::remove_file(path.join(file::DECODER)).unwrap();
    std::fs::create_dir(path.join(file::DECODER)).unwrap();
    let error = Bundle::open(&path).unwrap().read(file::DECODER).unwrap_err().to_string();
    assert!(error.contains("decoder.onnx: a folder, where a file of the bundle belongs"), "{error}");
}

#[test]
fn another_format_version_is_refused_with_what_to_do_even_when_its_fields_differ() {
    let (_folder, path) = written();
    for format in [1, 3] {
        let text = format!(r#"{{"format": {format}, "something": "else"}}"#);
        std::fs::write(path.join(file::MANIFEST), text).unwrap();
        let error = open_error(&path);
        assert!(
            error.contains(&format!("format version {format}; this program reads 2; use the bundle of")),
            "{error}"
        );
        assert!(error.contains("or export yours again") && error.lines().count() == 1, "{error}");
    }
}

#[test]
fn a_changed_manifest_is_refused() {
    let (_folder, path) = written();
    edit_manifest(&path, "\"bytes\": 4", "\"bytes\": 5");
    assert!(open_error(&path).contains("the manifest was changed"));
}

#[test]
fn a_manifest_with_any_one_bit_flipped_is_refused_unless_it_says_the_same() {
    let (_folder, path) = written();
    let manifest = Bundle::open(&path).unwrap().manifest().clone();
    let whole = std::fs::read(path.join(file::MANIFEST)).unwrap();
    for place in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[place] ^= 1 << (place % 7);
        std::fs::write(path.join(file::MANIFEST), &flipped).unwrap();
        if let Ok(bundle) = Bundle::open(&path) {
            assert_eq!(*bundle.manifest(), manifest, "byte {place}");
        }
    }
}

#[test]
fn a_recorded_score_stands_in_the_manifest_and_nothing_else_is_changed() {
    let (_folder, path) = written();
    let before = Bundle::open(&path).unwrap().manifest().clone();
    let after = record_score(&path, "flickr8k", serde_json::json!({ "cider": 0.5 })).unwrap();
    assert_ne!(after.id, before.id);
    let read = Bundle::open(&path).unwrap().manifest().clone();
    assert_eq!(read, after);
    assert_eq!(read.scores["flickr8k"]["cider"], 0.5);
    assert_eq!(Manifest { id: before.id.clone(), scores: BTreeMap::new(), ..read }, before);
    assert!(record_score(&path.join("nowhere"), "x", serde_json::Value::Null).is_err());
}

#[test]
fn sizes_that_contradict_each_other_are_named() {
    let (_folder, path) = written();
    edit_manifest(&path, "\"feature\": 11", "\"feature\": 12");
    let error = open_error(&path);
    assert!(error.contains("shapes.feature is 12, but 11"), "{error}");
}

#[test]
fn a_manifest_that_is_no_json_is_refused_with_its_place() {
    let (_folder, path) = written();
    std::fs::write(path.join(file::MANIFEST), "{\n  \"format\": 1,,\n").unwrap();
    let error = open_error(&path);
    assert!(error.contains("manifest.json") && error.contains("line 2"), "{error}");
}

#[test]
fn a_manifest_that_lists_no_head_is_refused() {
    let (_folder, path) = written();
    edit_manifest(&path, "\"head.onnx\"", "\"tail.onnx\"");
    assert!(open_error(&path).contains("does not list head.onnx"));
}

#[test]
fn no_folder_and_a_file_in_its_place_are_told_apart() {
    let (_folder, path) = written();
    assert!(open_error(&path.join("nowhere")).contains("no such folder"));
    assert!(open_error(&path.join(file::HEAD)).contains("a file, not the folder of a bundle"));
    std::fs::remove_file(path.join(file::MANIFEST)).unwrap();
    assert!(open_error(&path).contains("manifest.json: missing"));
}

#[test]
fn a_vocabulary_that_contradicts_the_manifest_is_named() {
    let (folder, _path) = written();
    let path = folder.path().join("other");
    let mut files = BTreeMap::new();
    for name in [file::ENCODER, file::DECODER, file::HEAD, "golden.jpg"] {
        files.insert(name.to_owned(), Vec::new());
    }
    files.insert(file::VOCABULARY.to_owned(), b"dog\n".to_vec());
    write(&path, manifest(), &files).unwrap();
    let error = Bundle::open(&path).unwrap().vocabulary().unwrap_err().to_string();
    assert!(error.contains("vocabulary.txt: 1 words, 6 expected"), "{error}");
}

#[test]
fn an_existing_folder_is_never_overwritten() {
    let (_folder, path) = written();
    let error = write(&path, manifest(), &BTreeMap::new()).unwrap_err().to_string();
    assert!(error.contains("exists already"), "{error}");
    // Nor is one beside it, whatever its name.
    let neighbour = path.with_extension("new");
    std::fs::create_dir(&neighbour).unwrap();
    std::fs::remove_dir_all(&path).unwrap();
    write(&path, manifest(), &BTreeMap::new()).unwrap();
    let left: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn a_bundle_has_all_that_belongs_to_concepts_or_nothing_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let names = [file::ENCODER, file::DECODER, file::HEAD, "golden.jpg", file::EVIDENCE, file::CONCEPTS];
    let mut files: BTreeMap<String, Vec<u8>> = names.map(|name| (name.to_owned(), Vec::new())).into();
    files.insert(file::VOCABULARY.into(), b"<padding>\n<start>\n<end>\n<unknown>\ndog\n<slot0>\n".to_vec());
    files.insert(file::CONCEPTS.into(), b"captions\tdog\nclass\tcat\t0\n".to_vec());
    let whole = Manifest {
        shapes: Shapes { phi: 8, classes: 2, concepts: 3, ..manifest().shapes },
        evidence: Some(EvidenceSettings {
            captions: CaptionEvidence { most: 8, at_least: 0.1 },
            classes: ClassEvidence { at_least: 0.25, share: 0.8 },
            things: ThingEvidence { at_least: 0.35 },
            required: 0.8,
        }),
        ..manifest()
    };
    let mut count = 0;
    let mut written = |manifest: &Manifest, files: &BTreeMap<String, Vec<u8>>| {
        count += 1;
        let path = folder.path().join(count.to_string());
        write(&path, manifest.clone(), files).unwrap();
        path
    };
    let path = written(&whole, &files);
    let bundle = Bundle::open(&path).unwrap();
    let error = bundle.sources(&bundle.vocabulary().unwrap()).unwrap_err().to_string();
    assert!(error.contains("concepts.txt: line 2: \"cat\" is no word of the vocabulary"), "{error}");

    let without = |name: &str| {
        let mut files = files.clone();
        files.remove(name);
        files
    };
    let shapes = whole.shapes;
    let wrong: [(Manifest, _, _); 7] = [
        (Manifest { evidence: None, ..whole.clone() }, files.clone(), "it has no evidence"),
        (whole.clone(), without(file::EVIDENCE), "does not list evidence.safetensors"),
        (whole.clone(), without(file::CONCEPTS), "does not list concepts.txt"),
        (
            Manifest { shapes: Shapes { phi: 0, ..shapes }, ..whole.clone() },
            files.clone(),
            "shapes.phi is none",
        ),
        (
            Manifest { shapes: Shapes { concepts: 0, ..shapes }, ..whole.clone() },
            files.clone(),
            "shapes.concepts is none",
        ),
        (
            Manifest { shapes: Shapes { concepts: 17, ..shapes }, ..whole.clone() },
            files.clone(),
            "shapes.concepts is 17, 16 at most",
        ),
        (
            Manifest { detector: Some(DetectorShape::yolox_nano()), ..whole.clone() },
            files.clone(),
            "does not list detector.onnx",
        ),
    ];
    for (manifest, files, expected) in wrong {
        let error = open_error(&written(&manifest, &files));
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn a_bundle_without_concepts_has_no_field_of_theirs_and_the_committed_one_can_be_opened() {
    let text = serde_json::to_string(&manifest()).unwrap();
    for new in ["phi", "classes", "concepts", "evidence", "detector"] {
        assert!(!text.contains(new), "{text}");
    }
    Bundle::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("flickr8k-lite0")).unwrap();
}
