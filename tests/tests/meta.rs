//! Meta-training on drawn places, with every algorithm.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use candle_core::{Device, Tensor, Var};
use metalens::adaptation::{self, Initialization};
use metalens_models::Bundle;
use metalens_tests::bundles::Bundles;
use metalens_tests::meta::schedule;
use metalens_tests::{drawing, tiny};
use metalens_trainer::corpus::{self, Corpus, Format};
use metalens_trainer::export;
use metalens_trainer::features::{self, PrepareOptions};
use metalens_trainer::meta::{
    self, Algorithm, Body, DetectorConfig, Gallery, Learned, MetaConfig, MetaTrained, Method, OuterConfig,
    Protocol, Reached, known_words, meta_train, table_by_concept,
};
use metalens_trainer::tasks::{Kind, MetaSplit, Partition, Pool, Sampler, Task, TaskOptions, TaskPicture};
use ndarray::{Array1, Array2, Axis, concatenate};
use tempfile::TempDir;

/// Pictures of a scene: enough for the support and the queries of a task.
const PICTURES: u32 = 25;
const SCENES: [(&str, usize); 4] = [("harbour", 0), ("orchard", 1), ("quarry", 2), ("meadow", 3)];

fn outer(algorithm: Algorithm, iterations: usize) -> OuterConfig {
    let (head_rate, number_rate, body_rate) = (1e-3, 1e-1, 1e-3);
    OuterConfig { algorithm, iterations, meta_batch: 2, head_rate, number_rate, body: false, body_rate }
}

/// A bundle, the folder that its body learned from, and a corpus of places.
struct Ground {
    folder: TempDir,
    body: Body,
}

impl Ground {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let bundles = Bundles::make(&folder.path().join("bundles")).unwrap();
        let ground = Self { body: Body::open(&bundles.places).unwrap(), folder };
        ground.draw_places();
        ground
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn draw_places(&self) {
        let corpus = self.path("places");
        std::fs::create_dir_all(corpus.join("images")).unwrap();
        let mut images = Vec::new();
        for (scene, kind) in SCENES {
            for place in 0..PICTURES {
                let name = format!("{scene}-{place}.png");
                // Unlike any picture that the bundle carries to compare with.
                let mut picture = drawing::picture(kind, place);
                image::imageops::invert(&mut picture);
                picture.save(corpus.join("images").join(&name)).unwrap();
                let raw = format!("a {scene} seen from above");
                images.push(serde_json::json!({
                    "filename": name, "split": "train", "scene": scene, "sentences": [{ "raw": raw }],
                }));
            }
        }
        let text = serde_json::json!({ "images": images }).to_string();
        std::fs::write(corpus.join("dataset.json"), text).unwrap();
        let (trunk, shape) = tiny::trunk();
        let path = self.path("trunk.onnx");
        std::fs::write(&path, trunk).unwrap();
        let out = self.path("prepared");
        let options =
            PrepareOptions { trunk: path, shape, detector: None, out, mirrored: false, crops: 0, threads: 2 };
        features::prepare(&self.corpus(), &options, &AtomicBool::new(false)).unwrap();
    }

    fn corpus(&self) -> Corpus {
        corpus::read(&self.path("places"), Format::Karpathy).unwrap()
    }

    fn train(&self, algorithm: Algorithm, iterations: usize) -> MetaTrained {
        self.train_with(algorithm, iterations, false)
    }

    fn train_with(&self, algorithm: Algorithm, iterations: usize, body: bool) -> MetaTrained {
        let config = self.config(OuterConfig { body, ..outer(algorithm, iterations) });
        let run = self.path(&format!("run-{algorithm:?}-{iterations}-{body}"));
        std::fs::create_dir(&run).unwrap();
        meta_train(&self.body, &config, &run, &AtomicBool::new(false)).unwrap()
    }

    fn config(&self, outer: OuterConfig) -> MetaConfig {
        MetaConfig {
            seed: 0,
            things: self.path("bundles/data"),
            unseen: Some(self.path("bundles/run/held-out.txt")),
            places: Some(self.path("prepared")),
            test_scenes: Vec::new(),
            ordinary: 20,
            detectors: DetectorConfig { epochs: 1, ..DetectorConfig::default() },
            evidence: None,
            outer,
            inner_loop: Some(metalens_models::InnerLoop {
                alpha: vec![[0.1, 0.5], [0.0, 0.5]],
                steps: 2,
                tokens: Some(100),
                ..schedule()
            }),
        }
    }

    /// What calibration reaches on tasks of all places.
    fn reached(&self, trained: &MetaTrained, inner_loop: Option<&Learned>) -> Reached {
        let own = Initialization::of_bundle(self.body.bundle()).unwrap();
        let mut schedule = trained.initialization.schedule.clone();
        // Whatever it is near to is a place.
        (schedule.familiarity.slope, schedule.familiarity.threshold) = (4.0, -2.0);
        let initialization = Initialization { head: trained.initialization.head.clone(), schedule, ..own };
        let corpus = self.corpus();
        let pool = Pool::new(corpus.pictures.iter().map(TaskPicture::from));
        let known: HashSet<String> = known_words(self.body.vocabulary());
        let number = |n| NonZeroUsize::new(n).unwrap();
        let options = TaskOptions {
            kind: Kind::NewDomain { scenes: number(1), shots: number(10) },
            split: MetaSplit::Train,
            partition: Partition {
                subjects: "1,0,0".parse().unwrap(),
                held_out: BTreeSet::new(),
                ..Partition::default()
            },
            seed: 1,
            known,
        };
        let sampler = Sampler::new(&pool, options).unwrap();
        let tasks: Vec<Task> = (0..4).map(|number| sampler.task(number)).collect();
        let files: Vec<PathBuf> = corpus.pictures.iter().map(|picture| picture.path.clone()).collect();
        let encodings = self.body.encode(&files, &AtomicBool::new(false)).unwrap();
        let gallery = Gallery::new(&self.body, &initialization.head, encodings).unwrap();
        let protocol = Protocol {
            body: &self.body,
            gallery: &gallery,
            pool: &pool,
            tasks: &tasks,
            ordinary: &[],
            ordinary_tasks: 0,
            inner_loop,
        };
        protocol.run(&initialization, &[Method::Calibrated], || Ok(())).unwrap().remove(0)
    }
}

#[test]
fn a_scene_for_reporting_that_no_picture_has_is_refused() {
    let ground = Ground::new();
    let config =
        MetaConfig { test_scenes: vec!["nowhere".to_owned()], ..ground.config(outer(Algorithm::Maml, 1)) };
    let Err(error) = meta_train(&ground.body, &config, ground.folder.path(), &AtomicBool::new(false)) else {
        panic!("it was accepted");
    };
    assert!(error.to_string().contains("test_scenes: no picture has the scene `nowhere`"), "{error:#}");
}

#[test]
fn every_algorithm_learns_from_places() {
    let ground = Ground::new();
    let start = Initialization::of_bundle(ground.body.bundle()).unwrap().head;
    for algorithm in [Algorithm::Maml, Algorithm::Fomaml, Algorithm::MetaSgd, Algorithm::Reptile] {
        let trained = ground.train(algorithm, 12);
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        assert!(
            mean(&trained.losses[9..]) < mean(&trained.losses[..3]),
            "{algorithm:?}: {:?}",
            trained.losses
        );
        assert_ne!(trained.initialization.head, start, "{algorithm:?}");
        assert_eq!(
            trained.initialization.schedule.alpha[1][0], 0.0,
            "{algorithm:?}: a layer that rests goes on resting"
        );
        let [alone, surprise, _] = trained.initialization.schedule.familiarity.place;
        assert!(alone > 0.0 && surprise > 0.0, "{algorithm:?}: places are alone and a surprise");
    }
}

#[test]
fn a_body_learns_too_where_it_is_asked_to_and_is_exported() {
    let ground = Ground::new();
    let (frozen, learned) = (ground.train(Algorithm::Maml, 8), ground.train_with(Algorithm::Maml, 8, true));
    // Before the first step, captions that are read anew are what they were.
    assert!((frozen.losses[0] - learned.losses[0]).abs() < 1e-4, "{:?} {:?}", frozen.losses, learned.losses);
    assert!(learned.losses[7] < frozen.losses[7], "{:?} {:?}", frozen.losses, learned.losses);
    assert!(frozen.outer.unwrap().body().is_none());
    let outer = learned.outer.unwrap();
    let parameters = outer.body().unwrap();

    let bundle = ground.body.bundle();
    let mut files: BTreeMap<String, Vec<u8>> =
        bundle.manifest().files.keys().map(|name| (name.clone(), bundle.read(name).unwrap())).collect();
    files.extend(export::adapted_body(&ground.body, parameters).unwrap());
    let out = ground.path("learned");
    // The runtime captions the golden picture with the new graphs.
    export::write_files(bundle.manifest().clone(), &files, &out).unwrap();
    let body = Body::open(&out).unwrap();
    let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    let gap = |a: &[f32], b: &[f32]| a.iter().zip(b).fold(0.0_f32, |most, (x, y)| most.max((x - y).abs()));
    for name in
        ["projection.weight", "norm.bias", "key.weight", "start.bias", "word.weight", "gru.state.weight"]
    {
        let [was, is, read] =
            [ground.body.parameters(), parameters, body.parameters()].map(|of| flat(of.get(name)));
        assert!(gap(&was, &is) > 1e-4, "{name} did not learn");
        // Large ones are stored at half precision.
        assert!(gap(&is, &read) < 1e-3, "{name}: {}", gap(&is, &read));
    }
}

/// Of the committed head, in f32, on inputs as large as the decoder's.
#[test]
fn the_devices_gradient_is_that_of_the_trainers_automatic_differentiation() {
    let bundle =
        Bundle::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/flickr8k-lite0").as_path());
    let device = adaptation::Head::<f32>::of_bundle(&bundle.unwrap()).unwrap();
    let (tokens, words) = (12, device.words());
    let z = Array2::from_shape_fn((tokens, device.weight_1.ncols()), |(i, j)| {
        ((i * 31 + j * 17) as f32 * 0.7).sin() * 0.8
    });
    let targets: Vec<usize> = (0..tokens).map(|n| 5 + n * 211 % (words - 5)).collect();
    let weights = Array1::from_shape_fn(tokens, |n| (n + 1) as f32 / 78.0);

    let column = |x: &Array1<f32>| x.view().insert_axis(Axis(1)).to_owned();
    let with_last =
        |x: &Array2<f32>, last: &Array2<f32>| concatenate(Axis(1), &[x.view(), last.view()]).unwrap();
    let tensor = |x: &Array2<f32>| {
        Tensor::from_vec(x.iter().copied().collect::<Vec<_>>(), x.dim(), &Device::Cpu).unwrap()
    };
    let first = Var::from_tensor(&tensor(&with_last(&device.weight_1, &column(&device.bias_1)))).unwrap();
    let second = Var::from_tensor(&tensor(&with_last(&device.weight_2, &column(&device.bias_2)))).unwrap();
    let head = meta::Head { first: first.as_tensor().clone(), second: second.as_tensor().clone() };
    let one_hot =
        Array2::from_shape_fn((tokens, words), |(n, word)| if targets[n] == word { 1.0 } else { 0.0 });
    let support = meta::Tokens {
        z: tensor(&with_last(&z, &Array2::ones((tokens, 1)))),
        targets: tensor(&one_hot),
        weights: tensor(&column(&weights)),
    };
    let gradients = head.loss(&support).unwrap().backward().unwrap();
    let trainers = |var: &Var| {
        let (rows, columns) = var.dims2().unwrap();
        let flat: Vec<f32> = gradients.get(var).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        Array2::from_shape_vec((rows, columns), flat).unwrap()
    };

    let (_, own) = device.gradient(&adaptation::Tokens { z, targets, weights });
    let firsts = (with_last(&own.weight_1, &column(&own.bias_1)), trainers(&first));
    let seconds = (with_last(&own.weight_2, &column(&own.bias_2)), trainers(&second));
    for (own, trainers) in [firsts, seconds] {
        let largest = own.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let gap = (&own - &trainers).iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        assert!(largest > 1e-3 && gap < 1e-5, "{gap} of {largest}");
    }
}

#[test]
fn an_inner_loop_of_the_trainer_adapts_as_the_device_does_and_meta_sgd_otherwise() {
    let ground = Ground::new();
    let maml = ground.train(Algorithm::Maml, 6);
    let device = ground.reached(&maml, None);
    let trainer = ground.reached(&maml, maml.outer.as_ref());
    assert_eq!(device.examples, trainer.examples);
    let names = |caption: &String| SCENES.iter().any(|(scene, _)| caption.contains(scene));
    assert!(device.examples.iter().flatten().all(names), "{device:?}");
    let sgd = ground.train(Algorithm::MetaSgd, 6);
    assert!(ground.reached(&sgd, sgd.outer.as_ref()).figures["cider"].mean.is_finite());
}

#[test]
fn a_new_name_is_said_where_it_belongs_and_what_is_unrelated_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let bundles = Bundles::make(&folder.path().join("bundles")).unwrap();
    let body = Body::open(&bundles.words).unwrap();
    let initialization = Initialization::of_bundle(body.bundle()).unwrap();
    let corpus = corpus::read(&folder.path().join("bundles/corpus"), Format::Flickr).unwrap();
    let pool = Pool::new(corpus.pictures.iter().map(TaskPicture::from));
    let options = TaskOptions {
        kind: Kind::NewWord { shots: NonZeroUsize::new(5).unwrap() },
        split: MetaSplit::Test,
        partition: Partition {
            pictures: "0,0,1".parse().unwrap(),
            held_out: BTreeSet::from(["blue".to_owned()]),
            ..Partition::default()
        },
        seed: 1,
        known: known_words(body.vocabulary()),
    };
    let sampler = Sampler::new(&pool, options).unwrap();
    let tasks = [sampler.task(0), sampler.task(1)];
    let files: Vec<PathBuf> = corpus.pictures.iter().map(|picture| picture.path.clone()).collect();
    let encodings = body.encode(&files, &AtomicBool::new(false)).unwrap();
    let gallery = Gallery::new(&body, &initialization.head, encodings).unwrap();
    let ordinary: Vec<(usize, Vec<String>)> =
        corpus.pictures.iter().map(|picture| picture.captions.clone()).enumerate().collect();
    let protocol = Protocol {
        body: &body,
        gallery: &gallery,
        pool: &pool,
        tasks: &tasks,
        ordinary: &ordinary,
        ordinary_tasks: 1,
        inner_loop: None,
    };
    let methods = [Method::Before, Method::Nearest, Method::Calibrated, Method::Told, Method::OwnNames];
    let reached = protocol.run(&initialization, &methods, || Ok(())).unwrap();
    let figure = |name: &str| [0, 1, 2, 3, 4].map(|method: usize| reached[method].figures[name].mean);
    assert_eq!(reached[2].figures["refused"].mean, 0.0);
    let table = table_by_concept(&reached[2]);
    assert!(table.starts_with("blue  F1 1.000  recall 1.000  false 0.000\n"), "{table}");
    let [before, nearest, calibrated, told, own] = figure("f1");
    assert_eq!(before, 0.0);
    assert!(nearest < 0.8 && calibrated > 0.9 && told > 0.9, "{nearest} {calibrated} {told}");
    // Before calibration it knows the concept well, by the name that it has for it.
    assert!(own > 0.9, "{own}");
    // By the same references, a blue picture's caption is better for the new name, and the others' are as they were.
    let [before, nearest, calibrated, ..] = figure("generic");
    assert!(before == 1.0 && calibrated > 1.1 && nearest < 1.0, "{before} {calibrated} {nearest}");
    let [before, nearest, calibrated, ..] = figure("unrelated");
    assert!(before == 1.0 && calibrated > 0.95 && nearest < 0.5, "{before} {calibrated} {nearest}");
    // The bare word is enough, where people's captions say more.
    let bare = tasks.clone().map(|task| Task { written: Some("{}".to_owned()), ..task });
    let bare = Protocol { tasks: &bare, ordinary_tasks: 0, ..protocol };
    let reached = bare.run(&initialization, &[Method::Calibrated], || Ok(())).unwrap();
    assert!(reached[0].figures["f1"].mean > 0.9, "{:?}", reached[0].figures);
}

fn trainer(arguments: &[&str]) -> String {
    metalens_tests::trainer::run(env!("CARGO_BIN_EXE_metalens-under-test"), arguments)
}

#[test]
fn compare_has_a_line_for_each_algorithm_and_a_learned_body_makes_a_bundle() {
    let ground = Ground::new();
    let config = ground.path("meta.toml");
    let text = toml::to_string(&ground.config(outer(Algorithm::Maml, 2))).unwrap();
    std::fs::write(&config, text).unwrap();
    let text = |name: &str| ground.path(name).to_str().unwrap().to_owned();
    let (bundle, data, tasks) = (text("bundles/bare"), text("places"), text("tasks.json"));
    let place = ["--data", &data, "--format", "karpathy"];
    let kind = ["--kind", "new-domain", "--scenes", "1", "--shots", "5", "--count", "2"];
    let all = ["--split", "test", "--shares", "0,0,1", "--out", &tasks];
    trainer(&[&["tasks"][..], &place, &kind, &all].concat());

    let given = ["--bundle", &bundle, "--config", config.to_str().unwrap()];
    let (runs, figures) = (text("runs"), text("figures.json"));
    let rest = ["--tasks", &tasks, "--run", &runs, "--json", &figures];
    let said = trainer(&[&["compare"][..], &given, &place, &rest].concat());
    let figures: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&figures).unwrap()).unwrap();
    let methods: Vec<&str> =
        figures[&tasks].as_array().unwrap().iter().map(|line| line["method"].as_str().unwrap()).collect();
    for name in
        ["before", "nearest", "none", "maml", "maml-plus-plus", "fomaml", "meta-sgd", "reptile", "anil"]
    {
        assert!(methods.contains(&name), "{methods:?}");
        assert!(said.contains(&format!("\n{name} ")), "{said}");
    }
    // What was learned is not learned again.
    assert_eq!(trainer(&[&["compare"][..], &given, &place, &rest].concat()), said);

    let (run, out) = (text("run"), text("learned"));
    trainer(&[&["meta-train"][..], &given, &["--run", &run, "--out", &out, "--body"]].concat());
    let [before, after] = [&bundle, &out].map(|folder| Bundle::open(Path::new(folder)).unwrap());
    let decoder = |bundle: &Bundle| bundle.read(metalens_models::file::DECODER).unwrap();
    assert_ne!(decoder(&before), decoder(&after));
    assert!(Initialization::of_bundle(&after).is_ok());
}
