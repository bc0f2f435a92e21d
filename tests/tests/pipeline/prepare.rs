//! What `prepare` keeps, notices and refuses.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use metalens_tests::tiny;
use metalens_trainer::corpus::{self, Format};
use metalens_trainer::features::{self, DetectorFile, Features, PrepareOptions, Prepared};
use metalens_trainer::pretrain::config::Config;
use metalens_trainer::pretrain::{self, Outcome, Start};

/// How `tiny::prepare` prepared its corpus in `folder`, into another folder of it.
fn options(folder: &Path, out: &str) -> PrepareOptions {
    let (trunk, (_, shape)) = (folder.join("trunk.onnx"), tiny::trunk());
    PrepareOptions {
        trunk,
        shape,
        detector: None,
        out: folder.join(out),
        mirrored: true,
        crops: 0,
        threads: 2,
    }
}

#[test]
fn pictures_that_cannot_be_used_are_listed_and_training_goes_on_without_them() {
    let folder = tempfile::tempdir().unwrap();
    let small = tiny::prepare(folder.path()).unwrap();
    let images = small.corpus.join("images");
    std::fs::write(images.join("0-01.png"), b"").unwrap();
    std::fs::write(images.join("1-01.png"), b"this is no picture").unwrap();
    let whole = std::fs::read(images.join("2-01.png")).unwrap();
    std::fs::write(images.join("2-01.png"), &whole[..whole.len() / 2]).unwrap();
    std::fs::remove_file(images.join("3-01.png")).unwrap();
    let corpus = corpus::read(&small.corpus, Format::Flickr).unwrap();
    assert_eq!(corpus.missing().collect::<Vec<_>>(), ["3-01.png"]);

    let options = PrepareOptions { mirrored: false, ..options(folder.path(), "again") };
    let Prepared::Finished { usable, rejected } =
        features::prepare(&corpus, &options, &AtomicBool::new(false)).unwrap()
    else {
        panic!("nobody interrupted it")
    };
    let names: Vec<&str> = rejected.iter().map(|r| r.name.as_str()).collect();
    assert_eq!(names, ["0-01.png", "1-01.png", "2-01.png"]);
    assert_eq!(usable, corpus.pictures.len() - 3);
    assert!(rejected[0].reason.contains("empty") && rejected[2].reason.contains("ends early"));

    let config = Config {
        regularisation: pretrain::config::Regularisation { flip: false, ..Default::default() },
        ..tiny::config(&options.out, 1)
    };
    let outcome = pretrain::run(&config, &small.run, Start::Anew, &AtomicBool::new(false)).unwrap();
    assert_eq!(outcome, Outcome::Finished);
}

#[test]
fn preparing_goes_on_where_it_stopped_and_starts_anew_for_another_trunk() {
    let folder = tempfile::tempdir().unwrap();
    let small = tiny::prepare(folder.path()).unwrap();
    let first = std::fs::read(small.data.join("features.f16")).unwrap();
    let corpus = corpus::read(&small.corpus, Format::Flickr).unwrap();
    let options = options(folder.path(), "data");

    // As after a power cut: some pictures are marked as not done, and their rows are garbage.
    let mut status = std::fs::read(small.data.join("status.bin")).unwrap();
    status[3..9].fill(0);
    std::fs::write(small.data.join("status.bin"), &status).unwrap();
    let row = first.len() / status.len();
    let mut torn = first.clone();
    torn[3 * row..9 * row].fill(0xaa);
    std::fs::write(small.data.join("features.f16"), &torn).unwrap();
    assert!(Features::open(&small.data).unwrap_err().to_string().contains("6 of 72 pictures"));

    // Stopped at once: nothing is lost; then to the end.
    let stopped = features::prepare(&corpus, &options, &AtomicBool::new(true)).unwrap();
    assert_eq!(stopped, Prepared::Interrupted { pending: 6 });
    features::prepare(&corpus, &options, &AtomicBool::new(false)).unwrap();
    assert!(std::fs::read(small.data.join("features.f16")).unwrap() == first);

    // A finished folder is not computed again: a mark in a done row survives.
    torn = first.clone();
    torn[0] ^= 1;
    std::fs::write(small.data.join("features.f16"), &torn).unwrap();
    features::prepare(&corpus, &options, &AtomicBool::new(false)).unwrap();
    assert!(std::fs::read(small.data.join("features.f16")).unwrap() == torn);

    // Another trunk, if only by its hash, makes everything anew.
    let mut other = tiny::trunk().0;
    let producer = other.windows(8).position(|w| w == b"metalens").unwrap();
    other[producer] = b'M';
    std::fs::write(&options.trunk, other).unwrap();
    features::prepare(&corpus, &options, &AtomicBool::new(false)).unwrap();
    assert!(std::fs::read(small.data.join("features.f16")).unwrap() == first);
}

#[test]
fn a_folder_survives_a_trunk_that_is_none_and_is_not_made_of_another_ones_files() {
    let folder = tempfile::tempdir().unwrap();
    let small = tiny::prepare(folder.path()).unwrap();
    let corpus = corpus::read(&small.corpus, Format::Flickr).unwrap();
    let content =
        |folder: &Path| ["features.f16", "trunk.onnx"].map(|name| std::fs::read(folder.join(name)).ok());
    let prepare = |options: &PrepareOptions| features::prepare(&corpus, options, &AtomicBool::new(false));

    let before = content(&small.data);
    let broken =
        PrepareOptions { trunk: folder.path().join("broken.onnx"), ..options(folder.path(), "data") };
    std::fs::write(&broken.trunk, "no trunk").unwrap();
    let error = format!("{:#}", prepare(&broken).unwrap_err());
    assert!(error.contains("broken.onnx"), "{error}");
    assert_eq!(content(&small.data), before);

    let other = options(folder.path(), "precious");
    std::fs::create_dir(&other.out).unwrap();
    std::fs::write(other.out.join("features.f16"), "somebody's").unwrap();
    let error = format!("{:#}", prepare(&other).unwrap_err());
    assert!(
        error.ends_with("precious: holds files that `prepare` did not write; give another --out"),
        "{error}"
    );
    assert_eq!(content(&other.out), [Some(b"somebody's".to_vec()), None]);
}

/// As on a full disk: what is to stand beside the old files cannot be written.
#[test]
fn a_folder_whose_new_files_cannot_be_written_stays_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let small = tiny::prepare(folder.path()).unwrap();
    let mut corpus = corpus::read(&small.corpus, Format::Flickr).unwrap();
    let options = options(folder.path(), "data");
    let prepare = |corpus: &corpus::Corpus| features::prepare(corpus, &options, &AtomicBool::new(false));
    let content = || {
        let mut names: Vec<_> =
            std::fs::read_dir(&small.data).unwrap().map(|file| file.unwrap().path()).collect();
        names.sort();
        names.into_iter().map(|path| (std::fs::read(&path).ok(), path)).collect::<Vec<_>>()
    };
    corpus.pictures.pop();
    for name in ["features.f16", "pictures.json", "status.bin"] {
        let in_the_way = metalens_models::hidden_sibling(&small.data.join(name), "new");
        std::fs::create_dir(&in_the_way).unwrap();
        let before = content();
        let error = format!("{:#}", prepare(&corpus).unwrap_err());
        assert!(error.contains(name), "{error}");
        assert!(content() == before, "{name}");
        std::fs::remove_dir(&in_the_way).unwrap();
    }
    prepare(&corpus).unwrap();
    assert_eq!(Features::open(&small.data).unwrap().index().pictures.len(), corpus.pictures.len());
}

#[test]
fn what_a_first_call_left_that_could_write_nothing_is_no_hindrance() {
    let folder = tempfile::tempdir().unwrap();
    let small = tiny::prepare(folder.path()).unwrap();
    let corpus = corpus::read(&small.corpus, Format::Flickr).unwrap();
    let options = options(folder.path(), "again");
    std::fs::create_dir(&options.out).unwrap();
    std::fs::write(options.out.join("features.f16"), "").unwrap();
    features::prepare(&corpus, &options, &AtomicBool::new(false)).unwrap();
    Features::open(&options.out).unwrap();
}

#[test]
fn rows_are_kept_by_name_when_captions_or_pictures_change() {
    let folder = tempfile::tempdir().unwrap();
    let small = tiny::prepare(folder.path()).unwrap();
    let features = small.data.join("features.f16");
    let mut corpus = corpus::read(&small.corpus, Format::Flickr).unwrap();
    let options = options(folder.path(), "data");
    let prepare = |corpus: &corpus::Corpus| features::prepare(corpus, &options, &AtomicBool::new(false));
    let first = std::fs::read(&features).unwrap();
    let row = first.len() / corpus.pictures.len();

    // A mark in the second picture's rows tells whether they are computed again.
    let mut marked = first.clone();
    marked[row] ^= 1;
    std::fs::write(&features, &marked).unwrap();
    corpus.pictures[1].captions.push("another caption".into());
    prepare(&corpus).unwrap();
    assert!(std::fs::read(&features).unwrap() == marked);
    let index = Features::open(&small.data).unwrap().index().clone();
    assert_eq!(index.pictures[1].captions.last().unwrap(), "another caption");

    // Without the first picture its rows are gone, and the others' move up; with it they are computed again.
    let gone = corpus.pictures.remove(0);
    prepare(&corpus).unwrap();
    assert!(std::fs::read(&features).unwrap() == marked[row..]);
    corpus.pictures.insert(0, gone);
    prepare(&corpus).unwrap();
    assert!(std::fs::read(&features).unwrap() == marked);

    // Another corpus does not take the place of this one's.
    let mut another = corpus.clone();
    another.pictures.iter_mut().for_each(|picture| picture.name.insert_str(0, "another-"));
    let error = prepare(&another).unwrap_err().to_string();
    assert!(error.ends_with("holds features of another corpus; give another --out, or remove it"), "{error}");

    // Features that are gone are not believed to be there.
    std::fs::remove_file(&features).unwrap();
    prepare(&corpus).unwrap();
    assert!(std::fs::read(&features).unwrap() == first);

    // A reader keeps the folder as it is.
    let reader = Features::open(&small.data).unwrap();
    let error = prepare(&corpus).unwrap_err().to_string();
    assert!(error.contains("features.f16: in use"), "{error}");
    drop(reader);
    prepare(&corpus).unwrap();
}

#[test]
fn another_picture_of_the_same_name_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let small = tiny::prepare(folder.path()).unwrap();
    let features = small.data.join("features.f16");
    let corpus = corpus::read(&small.corpus, Format::Flickr).unwrap();
    let options = options(folder.path(), "data");
    let prepare = || features::prepare(&corpus, &options, &AtomicBool::new(false)).unwrap();
    let first = std::fs::read(&features).unwrap();
    let row = first.len() / corpus.pictures.len();

    // Marks in two pictures' rows tell which of them are computed again.
    let mut marked = first.clone();
    marked[0] ^= 1;
    marked[row] ^= 1;
    std::fs::write(&features, &marked).unwrap();
    // Drawn pictures have one length here, so that it is the time that tells.
    let (changed, other) = (&corpus.pictures[0].path, 20);
    std::fs::copy(&corpus.pictures[other].path, changed).unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(60);
    std::fs::File::options().append(true).open(changed).unwrap().set_modified(later).unwrap();
    prepare();
    let found = std::fs::read(&features).unwrap();
    assert!(first[..row] != first[other * row..][..row], "both pictures are alike");
    assert!(found[..row] == first[other * row..][..row], "it kept the old picture's features");
    assert!(found[row..] == marked[row..], "an unchanged picture was computed again");
}

#[test]
fn crops_stand_beside_the_picture_and_its_mirror_image_and_are_the_same_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let small = tiny::prepare(folder.path()).unwrap();
    let corpus = corpus::read(&small.corpus, Format::Flickr).unwrap();
    let never = AtomicBool::new(false);
    let cropped = |out| {
        let options = PrepareOptions { crops: 2, ..options(folder.path(), out) };
        features::prepare(&corpus, &options, &never).unwrap();
        Features::open(&options.out).unwrap()
    };
    let (plain, one, two) = (Features::open(&small.data).unwrap(), cropped("one"), cropped("two"));
    assert_eq!((plain.index().views, one.index().views), (2, 4));
    let view = |features: &Features, view| {
        let mut row = Vec::new();
        features.extend(5, view, &mut row);
        row
    };
    for number in 0..4 {
        assert_eq!(view(&one, number), view(&two, number));
    }
    assert_eq!((view(&one, 0), view(&one, 1)), (view(&plain, 0), view(&plain, 1)));
    assert!(view(&one, 2) != view(&one, 0) && view(&one, 3) != view(&one, 2));

    let without = PrepareOptions { crops: 1, mirrored: false, ..options(folder.path(), "three") };
    assert!(features::prepare(&corpus, &without, &never).is_err());
}

#[test]
fn a_rejected_picture_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let small = tiny::prepare(folder.path()).unwrap();
    let picture = small.corpus.join("images/0-01.png");
    let whole = std::fs::read(&picture).unwrap();
    let options = PrepareOptions { mirrored: false, ..options(folder.path(), "again") };
    std::fs::write(&picture, &whole[..40]).unwrap();
    let corpus = corpus::read(&small.corpus, Format::Flickr).unwrap();
    for (attempt, expected) in [1, 1, 0].into_iter().enumerate() {
        if attempt == 2 {
            std::fs::write(&picture, &whole).unwrap();
        }
        let prepared = features::prepare(&corpus, &options, &AtomicBool::new(false)).unwrap();
        let Prepared::Finished { rejected, .. } = prepared else { panic!("nobody interrupted it") };
        assert_eq!(rejected.len(), expected);
        assert_eq!(Features::open(&options.out).unwrap().index().rejected, rejected);
    }
}

#[test]
fn classes_and_things_stand_beside_the_features_where_graphs_tell_them() {
    let folder = tempfile::tempdir().unwrap();
    let small = tiny::prepare(folder.path()).unwrap();
    let corpus = corpus::read(&small.corpus, Format::Flickr).unwrap();
    let content = |name: &str| std::fs::read(small.data.join(name)).ok();
    let prepare =
        |options: &PrepareOptions| features::prepare(&corpus, options, &AtomicBool::new(false)).unwrap();
    let plain = options(folder.path(), "data");
    let opened = Features::open(&small.data).unwrap();
    assert_eq!((opened.classes(0, 0), opened.things(0)), (None, None));
    assert!(!String::from_utf8(content("pictures.json").unwrap()).unwrap().contains("\"things\""));
    drop(opened);

    // With a detector all is computed anew, and the features stay what they were.
    let detector = folder.path().join("detector.onnx");
    std::fs::write(&detector, tiny::detector()).unwrap();
    let detector = DetectorFile { path: detector, shape: tiny::detector_shape() };
    let found = PrepareOptions { detector: Some(detector.clone()), ..plain.clone() };
    let first = content("features.f16");
    prepare(&found);
    assert_eq!(content("features.f16"), first);
    let opened = Features::open(&small.data).unwrap();
    // The red and the blue square: the second thing is the share of red, the first that of blue.
    let things = |name: &str| {
        let picture = opened.index().pictures.iter().position(|picture| picture.name == name).unwrap();
        opened.things(picture).unwrap()
    };
    let (red, blue) = (things("0-00.png"), things("2-00.png"));
    assert!(red[1] > red[0] && blue[0] > blue[1], "{red:?} {blue:?}");
    assert!((red[1] - (200.0 + 20.0 * 400.0 / 3136.0) / 255.0).abs() < 1e-3, "{red:?}");
    drop(opened);

    // As after a power cut: rows of one picture are garbage in both files, and its status says so.
    let (features, things) = (content("features.f16").unwrap(), content("things.f16").unwrap());
    let mut status = content("status.bin").unwrap();
    status[5] = 0;
    std::fs::write(small.data.join("status.bin"), &status).unwrap();
    let mut torn = things.clone();
    torn[5 * 4..6 * 4].fill(0xaa);
    // A mark in the row of a picture that is done survives.
    torn[0] ^= 1;
    std::fs::write(small.data.join("things.f16"), &torn).unwrap();
    prepare(&found);
    let mut expected = things.clone();
    expected[0] ^= 1;
    assert_eq!(content("things.f16"), Some(expected));

    // A file of another length is not believed, nor one that is gone.
    std::fs::write(small.data.join("things.f16"), &things[..8]).unwrap();
    assert!(
        Features::open(&small.data).unwrap_err().to_string().contains("things.f16: 8 bytes, 288 expected")
    );
    prepare(&found);
    assert_eq!(content("things.f16"), Some(things.clone()));
    std::fs::remove_file(small.data.join("things.f16")).unwrap();
    assert!(Features::open(&small.data).unwrap_err().to_string().contains("things.f16"));
    prepare(&found);
    assert_eq!((content("features.f16"), content("things.f16")), (Some(features), Some(things)));

    // A reader keeps the folder as it is.
    let reader = Features::open(&small.data).unwrap();
    assert!(features::prepare(&corpus, &found, &AtomicBool::new(false)).is_err());
    drop(reader);

    // Without the detector, and with a trunk that tells classes.
    std::fs::write(&plain.trunk, tiny::trunk_with_classes()).unwrap();
    prepare(&plain);
    assert_eq!((content("features.f16"), content("things.f16")), (first, None));
    let opened = Features::open(&small.data).unwrap();
    let mut row = Vec::new();
    opened.extend(7, 1, &mut row);
    let mean = row.iter().skip(3).step_by(12).sum::<f32>() / 49.0;
    let classes = opened.classes(7, 1).unwrap();
    assert!(classes.len() == 1000 && (classes[15] - mean).abs() < 1e-3, "{} {mean}", classes[15]);
    assert_eq!(opened.things(7), None);
}

#[test]
fn rows_of_things_and_classes_move_with_their_pictures() {
    let folder = tempfile::tempdir().unwrap();
    let small = tiny::prepare(folder.path()).unwrap();
    let mut corpus = corpus::read(&small.corpus, Format::Flickr).unwrap();
    let path = folder.path().join("detector.onnx");
    std::fs::write(&path, tiny::detector()).unwrap();
    let detector = Some(DetectorFile { path, shape: tiny::detector_shape() });
    let options = PrepareOptions { detector, ..options(folder.path(), "data") };
    std::fs::write(&options.trunk, tiny::trunk_with_classes()).unwrap();
    let told = |corpus: &corpus::Corpus| {
        features::prepare(corpus, &options, &AtomicBool::new(false)).unwrap();
        let opened = Features::open(&small.data).unwrap();
        let last = corpus.pictures.len() - 1;
        (opened.things(last).unwrap(), opened.classes(last, 1).unwrap())
    };
    let before = told(&corpus);
    // Marks in the rows of the last picture tell whether they are computed again.
    for name in ["things.f16", "classes.f16"] {
        let mut bytes = std::fs::read(small.data.join(name)).unwrap();
        let last = bytes.len() - 2;
        bytes[last] ^= 1;
        std::fs::write(small.data.join(name), bytes).unwrap();
    }
    corpus.pictures.remove(0);
    let after = told(&corpus);
    assert!(after.0[0] == before.0[0] && after.0[1] != before.0[1]);
    assert!(after.1[..999] == before.1[..999] && after.1[999] != before.1[999]);
}
