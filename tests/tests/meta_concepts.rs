//! Meta-learning of a bundle with concepts: its body finds, looks at and points at what a device would.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use metalens::adaptation::{Head, Initialization, Sample};
use metalens::calibrator::{Calibrator, Proof};
use metalens::engine::{self, Constant};
use metalens::evidence::Concept;
use metalens::{Captioner, Evident, Options};
use metalens_models::{Bundle, TokenId, file};
use metalens_tests::concepts::{drawn, export};
use metalens_tests::graphs::Graphs;
use metalens_tests::meta::schedule;
use metalens_tests::{drawing, tiny};
use metalens_trainer::corpus::{self, Format};
use metalens_trainer::export::{adapted_body, adapted_head};
use metalens_trainer::features::{self, DetectorFile, Features, PrepareOptions};
use metalens_trainer::meta::{
    Algorithm, Body, DetectorConfig, Encodings, Episode, Gallery, MetaConfig, Method, OuterConfig, Trial,
    shown,
};
use metalens_trainer::vocabulary::{START, UNKNOWN};
use tempfile::TempDir;

/// More than any confidence.
const NEVER: f32 = 2.0;
/// Pictures of a scene: enough for the support and the queries of a task.
const PICTURES: u32 = 25;
const SCENES: [&str; 4] = ["harbour", "orchard", "quarry", "meadow"];

/// The drawn captioner's bundle, and pictures.
struct Ground {
    folder: TempDir,
    bundle: PathBuf,
    /// Ordinary ones, one of each kind.
    pictures: Vec<PathBuf>,
}

impl Ground {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (bundle, corpus) = (folder.path().join("drawn"), folder.path().join("corpus"));
        export(&drawn(NEVER).unwrap(), &bundle).unwrap();
        drawing::write_corpus(&corpus, 8).unwrap();
        let pictures = (0..drawing::KINDS).map(|kind| corpus.join(format!("images/{kind}-01.png"))).collect();
        Self { folder, bundle, pictures }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Prepares a corpus with what the bundle finds concepts by, or without.
    fn prepare(&self, corpus: &str, format: Format, out: &str, with_concepts: bool) -> PathBuf {
        let (trunk, detector) = (self.path("trunk.onnx"), self.path("detector.onnx"));
        std::fs::write(&trunk, if with_concepts { tiny::trunk_with_classes() } else { tiny::trunk().0 })
            .unwrap();
        std::fs::write(&detector, tiny::detector()).unwrap();
        let detector = DetectorFile { path: detector, shape: tiny::detector_shape() };
        let options = PrepareOptions {
            trunk,
            shape: tiny::trunk().1,
            detector: with_concepts.then_some(detector),
            out: self.path(out),
            mirrored: false,
            crops: 0,
            threads: 2,
        };
        let corpus = corpus::read(&self.path(corpus), format).unwrap();
        features::prepare(&corpus, &options, &AtomicBool::new(false)).unwrap();
        self.path(out)
    }

    /// Places whose captions have words that the captioner knows, and one that it does not.
    fn draw_places(&self) -> Vec<PathBuf> {
        let corpus = self.path("places");
        std::fs::create_dir_all(corpus.join("images")).unwrap();
        let (mut images, mut files) = (Vec::new(), Vec::new());
        for (kind, scene) in SCENES.into_iter().enumerate() {
            for place in 0..PICTURES {
                let name = format!("{scene}-{place}.png");
                let mut picture = drawing::picture(kind, place);
                image::imageops::invert(&mut picture);
                files.push(corpus.join("images").join(&name));
                picture.save(&files[files.len() - 1]).unwrap();
                let raw = format!("small {scene} on grey ground");
                images.push(serde_json::json!({
                    "filename": name, "split": "train", "scene": scene, "sentences": [{ "raw": raw }],
                }));
            }
        }
        let text = serde_json::json!({ "images": images }).to_string();
        std::fs::write(corpus.join("dataset.json"), text).unwrap();
        files
    }
}

/// The device's captions of pictures, greedy, and what they were made of.
fn of_device(captioner: &mut Captioner, pictures: &[PathBuf]) -> Vec<(String, Vec<Evident>)> {
    let mut of = |path: &PathBuf| {
        let picture = metalens::vision::decode(&std::fs::read(path).unwrap()).unwrap();
        let caption = captioner.caption(&picture).unwrap();
        (caption.text(), caption.concepts)
    };
    pictures.iter().map(&mut of).collect()
}

fn greedy(bundle: &Path) -> Captioner {
    Captioner::open(bundle, Options { beam: Some(1), ..Options::default() }).unwrap()
}

fn text(body: &Body, words: &[u32]) -> String {
    let word = |&id: &u32| body.vocabulary().word(TokenId(id)).unwrap();
    words.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn gap(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0.0, |most, (a, b)| most.max((a - b).abs()))
}

/// z along a caption `[words + 1, feature]`, by the bundle's own graph.
fn z_of_graph(graphs: &mut Graphs, encodings: &Encodings, picture: usize, caption: &[u32]) -> Vec<f32> {
    let places = metalens_tests::concepts::CONCEPTS;
    let (mut words, mut confidence) = (vec![0; places], vec![0.0; places]);
    for (place, concept) in encodings.concepts[picture].iter().enumerate() {
        (words[place], confidence[place]) = (i64::from(concept.word.0), concept.confidence);
    }
    let decoder = &mut graphs.decoder;
    decoder.set(1, &encodings.states[picture]).unwrap();
    decoder.set(2, &encodings.tokens[picture]).unwrap();
    decoder.set(3, &encodings.keys[picture]).unwrap();
    decoder.set_i64(4, &words).unwrap();
    decoder.set(5, &confidence).unwrap();
    let mut z = Vec::new();
    for &word in [START].iter().chain(caption) {
        decoder.set_i64(0, &[i64::from(word)]).unwrap();
        decoder.run().unwrap();
        z.extend_from_slice(decoder.output(1).unwrap());
        let state = decoder.output(0).unwrap().to_vec();
        decoder.set(1, &state).unwrap();
    }
    z
}

#[test]
fn a_body_finds_looks_at_and_points_at_the_concepts_of_the_device() {
    let ground = Ground::new();
    let body = Body::open(&ground.bundle).unwrap();
    let encodings = body.encode(&ground.pictures, &AtomicBool::new(false)).unwrap();
    let device = of_device(&mut greedy(&ground.bundle), &ground.pictures);
    let evident = |concept: &Concept| Evident {
        word: body.vocabulary().word(concept.word).unwrap().to_owned(),
        evidence: concept.confidence,
    };
    for (found, (_, of_device)) in encodings.concepts.iter().zip(&device) {
        assert_eq!(found.iter().map(evident).collect::<Vec<_>>(), *of_device);
        assert!(found.len() > 1, "{found:?}");
    }
    let kinds: HashSet<TokenId> = encodings.concepts.iter().flatten().map(|concept| concept.word).collect();
    // Small is told by classes, on by the detector.
    for word in ["small", "on"] {
        assert!(kinds.contains(&body.vocabulary().id(word).unwrap()), "{word}");
    }

    // Slots read the row of slots, and not that of the unknown word.
    let first = body.bundle().manifest().special.slots.first.0;
    let captions: Vec<(usize, Vec<u32>)> = (0..ground.pictures.len())
        .map(|picture| (picture, vec![5, first + picture as u32 % 4, UNKNOWN, 9][..1 + picture % 4].to_vec()))
        .collect();
    let mut graphs = Graphs::open(body.bundle()).unwrap();
    let taught = body.teach(&encodings, &captions).unwrap();
    for ((picture, caption), taught) in captions.iter().zip(&taught) {
        let z: Vec<f32> = taught.z.iter().copied().collect();
        let gap = gap(&z, &z_of_graph(&mut graphs, &encodings, *picture, caption));
        assert!(gap < 1e-4, "{picture}: {gap}");
    }
    let z = |word: u32| body.teach(&encodings, &[(0, vec![word])]).unwrap()[0].z.clone();
    assert_eq!(z(first), z(first + 1));
    assert_ne!(z(first), z(UNKNOWN));

    // Before calibration it says what the device says, and that points.
    let head = Head::of_bundle(body.bundle()).unwrap();
    let gallery = Gallery::new(&body, &head, encodings).unwrap();
    let all: Vec<usize> = (0..ground.pictures.len()).collect();
    let said = gallery.captions(&body, &head, &all).unwrap();
    for (said, (caption, _)) in said.iter().zip(&device) {
        assert_eq!(text(&body, said), *caption);
    }
    assert!(said.iter().zip(&gallery.base).any(|(said, base)| *said != base.words));
}

#[test]
fn prepared_pictures_have_the_concepts_of_their_files() {
    let ground = Ground::new();
    let body = Body::open(&ground.bundle).unwrap();
    let features = Features::open(&ground.prepare("corpus", Format::Flickr, "things", true)).unwrap();
    let name = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
    let place =
        |path| features.index().pictures.iter().position(|picture| picture.name == name(path)).unwrap();
    let places: Vec<usize> = ground.pictures.iter().map(place).collect();
    let prepared = body.encode_prepared(&features, &places).unwrap();
    let encoded = body.encode(&ground.pictures, &AtomicBool::new(false)).unwrap();
    for (prepared, encoded) in prepared.concepts.iter().zip(&encoded.concepts) {
        assert_eq!(prepared.len(), encoded.len());
        for concept in encoded {
            let same = prepared.iter().find(|same| same.word == concept.word).unwrap();
            // What is prepared is stored in halves.
            assert!((same.confidence - concept.confidence).abs() < 2e-3, "{same:?} {concept:?}");
        }
    }
    // A batch for a body that learns has the same, row by row.
    let captions: Vec<(usize, Vec<u32>)> = vec![(places[2], vec![5]), (places[0], vec![6, 7])];
    let batch = body.batch(&features, &captions).unwrap();
    let rows = batch.concepts.unwrap();
    let of_row = |row: usize| rows.concepts[rows.of_row[row].clone()].to_vec();
    assert_eq!([of_row(0), of_row(1)], [prepared.concepts[0].clone(), prepared.concepts[2].clone()]);

    let bare = Features::open(&ground.prepare("corpus", Format::Flickr, "bare", false)).unwrap();
    let error = body.encode_prepared(&bare, &places).unwrap_err().to_string();
    assert!(error.contains("trunk.onnx: tells 0 classes, and the bundle's encoder 1000"), "{error}");
}

#[test]
fn unchanged_parameters_make_the_same_graphs() {
    let ground = Ground::new();
    let body = Body::open(&ground.bundle).unwrap();
    let mut files = adapted_body(&body, body.parameters()).unwrap();
    let head = Head::of_bundle(body.bundle()).unwrap();
    files.insert(file::HEAD.to_owned(), adapted_head(&body, &head, 4).unwrap());
    let mut compared = HashSet::new();
    for (name, bytes) in files {
        let before = engine::constants(&body.bundle().read(&name).unwrap(), &name).unwrap();
        let mut after = engine::constants(&bytes, &name).unwrap();
        for (constant, Constant { shape, mut values }) in before {
            let again = after.remove(&constant).unwrap_or_else(|| panic!("{name} lost {constant}"));
            assert_eq!(again.shape, shape, "{name}: {constant}");
            if constant == "head.fc2.bias" {
                // Words that must not be said are barred by number there, and by their ids on a device.
                let special = |id: &usize| !body.vocabulary().can_be_said(TokenId(*id as u32));
                (0..head.words()).filter(special).for_each(|id| values[id] = again.values[id]);
            }
            // Large ones are stored at half precision.
            let gap = gap(&again.values, &values);
            assert!(gap < 2e-3, "{name}: {constant}: {gap}");
            compared.insert(constant);
        }
        assert!(after.is_empty(), "{name}: {:?}", after.keys());
    }
    for name in
        ["word.weight", "head.fc2.weight", "concept.weight", "concept.norm.bias", "pointer.bias", "phi.mean"]
    {
        assert!(compared.contains(name), "{name}");
    }
}

fn trainer(arguments: &[&str]) -> String {
    metalens_tests::trainer::run(env!("CARGO_BIN_EXE_metalens-under-test"), arguments)
}

#[test]
fn a_bundle_with_concepts_is_meta_trained_and_calibrates_in_trials_as_on_the_device() {
    let ground = Ground::new();
    let pictures = ground.draw_places();
    let unseen = ground.path("unseen.txt");
    let names: String = (0..drawing::KINDS).map(|kind| format!("{kind}-00.png\n")).collect();
    std::fs::write(&unseen, names).unwrap();
    let config = MetaConfig {
        seed: 0,
        things: ground.prepare("corpus", Format::Flickr, "things", true),
        unseen: Some(unseen),
        places: Some(ground.prepare("places", Format::Karpathy, "prepared", true)),
        test_scenes: Vec::new(),
        ordinary: 20,
        detectors: DetectorConfig { epochs: 1, ..DetectorConfig::default() },
        evidence: None,
        outer: OuterConfig {
            algorithm: Algorithm::Maml,
            iterations: 2,
            meta_batch: 2,
            head_rate: 1e-3,
            number_rate: 1e-1,
            body: true,
            body_rate: 1e-3,
        },
        inner_loop: Some(schedule()),
    };
    let path = ground.path("meta.toml");
    std::fs::write(&path, toml::to_string(&config).unwrap()).unwrap();
    let name = |path: &Path| path.to_str().unwrap().to_owned();
    let (from, config, out) = (name(&ground.bundle), name(&path), ground.path("learned"));
    trainer(&[
        "meta-train",
        "--bundle",
        &from,
        "--config",
        &config,
        "--run",
        &name(&ground.path("run")),
        "--out",
        &name(&out),
    ]);
    let [before, after] = [&ground.bundle, &out].map(|folder| Bundle::open(folder).unwrap());
    assert_eq!((before.manifest().format, after.manifest().format), (2, 2));
    assert_eq!(before.manifest().evidence, after.manifest().evidence);
    for kept in [file::EVIDENCE, file::CONCEPTS, file::DETECTOR] {
        assert_eq!(before.read(kept).unwrap(), after.read(kept).unwrap(), "{kept}");
    }
    // The body learned, how it looks at concepts included.
    let [was, is] = [&before, &after].map(|bundle| {
        engine::constants(&bundle.read(file::DECODER).unwrap(), file::DECODER)
            .unwrap()
            .remove("concept.bias")
            .unwrap()
    });
    assert!(gap(&was.values, &is.values) > 1e-4);

    let asked: Vec<usize> = (0..pictures.len()).step_by(5).collect();
    trials_say_what_the_device_says(&after, &pictures, &asked, None);
    // No support is a place of its own to this one, and it sees every new word.
    let mut manifest = after.manifest().clone();
    let familiarity = &mut manifest.inner_loop.as_mut().unwrap().familiarity;
    (familiarity.place, familiarity.known) = ([0.0, 0.0, -9.0], [0.0, 0.0, 0.0, 5.0]);
    familiarity.unknown = familiarity.known;
    let files = manifest.files.keys().map(|name| (name.clone(), after.read(name).unwrap())).collect();
    let seeing = ground.path("seeing");
    metalens_models::write(&seeing, manifest, &files).unwrap();
    trials_say_what_the_device_says(&Bundle::open(&seeing).unwrap(), &pictures, &asked, Some("zorb"));
}

/// Before and after a calibration on six pictures of circles, which are called `new_word` where there is one.
fn trials_say_what_the_device_says(
    bundle: &Bundle,
    pictures: &[PathBuf],
    asked: &[usize],
    new_word: Option<&str>,
) {
    let body = Body::open(bundle.folder()).unwrap();
    let initialization = Initialization::of_bundle(bundle).unwrap();
    let encodings = body.encode(pictures, &AtomicBool::new(false)).unwrap();
    let gallery = Gallery::new(&body, &initialization.head, encodings).unwrap();
    let words: Vec<String> = (0..initialization.head.words() as u32)
        .map(|id| body.vocabulary().word(TokenId(id)).unwrap().to_owned())
        .collect();
    let trial = Trial {
        body: &body,
        gallery: &gallery,
        initialization: &initialization,
        words: &words,
        inner_loop: None,
    };
    // Of the second scene.
    let support: Vec<usize> = (0..6).map(|place| PICTURES as usize + 3 * place).collect();
    let caption = |place: usize| {
        let known = ["large circle on blue ground", "red circle on grey ground"][place % 2];
        new_word.map_or(known.to_owned(), |word| known.replace("circle", word))
    };
    let samples: Vec<Sample> = support
        .iter()
        .map(|&place| Sample {
            name: place.to_string(),
            path: pictures[place].clone(),
            captions: vec![caption(place)],
        })
        .collect();
    let new_words: Vec<String> = new_word.map(str::to_owned).into_iter().collect();
    let ids: Vec<(usize, Vec<Vec<u32>>)> =
        support.iter().map(|&place| (place, vec![body.ids(&caption(place), &new_words)])).collect();
    let episode = Episode {
        support: shown(&body, &gallery, &initialization, &ids).unwrap(),
        support_pictures: support,
        new_words,
        renamed: None,
        query: Vec::new(),
        scenes: 1,
    };
    let files: Vec<PathBuf> = asked.iter().map(|&place| pictures[place].clone()).collect();
    let texts = |said: &[(String, Vec<Evident>)]| -> Vec<String> {
        said.iter().map(|(text, _)| text.clone()).collect()
    };
    let mut device = greedy(bundle.folder());
    let plain = of_device(&mut device, &files);
    assert_eq!(trial.say(Method::Before, &episode, asked).unwrap(), texts(&plain));
    let calibration = Calibrator::open(bundle).unwrap().calibrate(&samples, Proof::Waived).unwrap();
    device.learn(Some(calibration.learned));
    let learned = of_device(&mut device, &files);
    assert_eq!(trial.say(Method::Calibrated, &episode, asked).unwrap(), texts(&learned));
    assert_ne!(texts(&plain), texts(&learned));
    // A new word that is to be said is a concept of the picture.
    let holds = |said: &(String, Vec<Evident>)| {
        new_word.is_none_or(|new| said.1.iter().any(|concept| concept.word == new))
    };
    assert!(learned.iter().all(holds), "{learned:?}");
}
