//! From drawn pictures to captions: what the trainer computes and what the device computes are the same.
#![allow(clippy::unwrap_used)]

mod concepts;
mod prepare;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::Tensor;
use metalens::engine::{Graph, Input, Output};
use metalens::{Captioner, Options};
use metalens_models::Bundle;
use metalens_tests::graphs::Graphs;
use metalens_tests::{drawing, tiny};
use metalens_trainer::captioner::{Captioner as Trained, Parameters};
use metalens_trainer::corpus::{self, Format};
use metalens_trainer::encoder::{self, checkpoint};
use metalens_trainer::evaluate::evaluate;
use metalens_trainer::export;
use metalens_trainer::features::{self, Features, PrepareOptions, Prepared};
use metalens_trainer::onnx::Precision;
use metalens_trainer::pretrain::config::{Config, Distillation, Objective, Trunk};
use metalens_trainer::pretrain::{self, Outcome, RunFolder, Start};

fn flat(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_close(what: &str, trained: &[f32], exported: &[f32]) {
    assert_eq!(trained.len(), exported.len(), "{what}");
    for (a, b) in trained.iter().zip(exported) {
        // Written so that no number at all fails too.
        assert!((a - b).abs() < 1e-4, "{what}: {a} became {b}");
    }
}

#[test]
fn candle_and_the_exported_graphs_agree_to_1e_4_at_every_step() {
    let folder = tempfile::tempdir().unwrap();
    let small = tiny::prepare(folder.path()).unwrap();
    tiny::train(&small, 2).unwrap();
    let out = folder.path().join("bundle");
    tiny::export(&small, &out, Precision::F32).unwrap();
    let bundle = Bundle::open(&out).unwrap();
    let Graphs { mut encoder, mut decoder, mut head, .. } = Graphs::open(&bundle).unwrap();

    let (parameters, vocabulary) = tiny::trained(&small).unwrap();
    let trained = Trained::new(&parameters);
    let (trunk, shape) = tiny::trunk();
    let mut trunk = Graph::load(
        &trunk,
        "trunk",
        &[Input::F32("image", &[1, 3, 56, 56])],
        &[Output("features", &[1, shape.positions(), shape.channels])],
    )
    .unwrap()
    .session()
    .unwrap();
    let mut preprocessor = metalens::vision::Preprocessor::new(shape.preprocessing.clone());
    for kind in 0..drawing::KINDS {
        let picture = drawing::picture(kind, 3);
        trunk.set(0, preprocessor.run(&picture)).unwrap();
        trunk.run().unwrap();
        encoder.set(0, preprocessor.run(&picture)).unwrap();
        encoder.run().unwrap();
        let features = Tensor::from_slice(
            trunk.output(0).unwrap(),
            (1, shape.positions(), shape.channels),
            &candle_core::Device::Cpu,
        )
        .unwrap();
        let encoded = trained.encode(&features, &mut None).unwrap();
        assert_close("tokens", &flat(&encoded.tokens), encoder.output(0).unwrap());
        assert_close("keys", &flat(&encoded.keys), encoder.output(1).unwrap());
        assert_close("initial state", &flat(&encoded.state), encoder.output(2).unwrap());

        let seen = trained.seen(&encoded, None).unwrap();
        let mut state = encoded.state.clone();
        decoder.set(2, encoder.output(0).unwrap()).unwrap();
        decoder.set(3, encoder.output(1).unwrap()).unwrap();
        let caption = vocabulary.encode(&drawing::captions(kind)[1], 12);
        for word in [&[1], caption.as_slice()].concat() {
            let step = trained.step(&[word], &state, &seen, &[0]).unwrap();
            let logits = flat(&trained.head(&step.z, &mut None).unwrap());
            decoder.set_i64(0, &[i64::from(word)]).unwrap();
            decoder.set(1, &flat(&state)).unwrap();
            decoder.run().unwrap();
            head.set(0, decoder.output(1).unwrap()).unwrap();
            head.run().unwrap();
            assert_close("state", &flat(&step.state), decoder.output(0).unwrap());
            assert_close("z", &flat(&step.z), decoder.output(1).unwrap());
            assert_close("attention", &flat(&step.attention), decoder.output(2).unwrap());
            // Behind the words stand the slots, which the trainer does not have.
            assert_close("logits", &logits, &head.output(0).unwrap()[..logits.len()]);
            state = step.state;
        }
    }
}

#[test]
fn the_tiny_captioner_learns_its_pictures_and_says_so_from_either_precision() {
    let folder = tempfile::tempdir().unwrap();
    let small = tiny::prepare(folder.path()).unwrap();
    tiny::train(&small, 25).unwrap();
    let dev = corpus::read(&small.corpus, Format::Flickr).unwrap();
    let dev: Vec<_> = dev.split(corpus::Split::Dev).collect();
    let mut said = Vec::new();
    for (name, precision) in [("full", Precision::F32), ("half", Precision::F16)] {
        let out = folder.path().join(name);
        tiny::export(&small, &out, precision).unwrap();
        let evaluation = evaluate(&out, None, &dev, 2, &AtomicBool::new(false)).unwrap();
        // A captioner that does not look says the same of all eight kinds, and has no more than 0.5.
        assert!(evaluation.scores.bleu4 > 0.75, "{}", evaluation.scores);
        said.push(evaluation.captions.into_iter().map(|c| c.caption).collect::<Vec<_>>());
    }
    assert_eq!(said[0], said[1]);
    // A slot that no word has taken, and the special tokens, are never said.
    let mut captioner =
        Captioner::open(&folder.path().join("full"), Options { beam: Some(5), ..Options::default() })
            .unwrap();
    let caption = captioner.caption(&drawing::picture(1, 2)).unwrap();
    assert!(caption.words.iter().all(|word| !word.word.starts_with('<')), "{}", caption.text());
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = ["epoch-001", "epoch-002", "epoch-003", "best"]
        .iter()
        .map(|name| {
            let name = format!("{name}.safetensors");
            (name.clone(), std::fs::read(folder.join(name)).unwrap())
        })
        .collect();
    // Times differ; the scores must not.
    let curve = std::fs::read_to_string(folder.join("curve.csv")).unwrap();
    let rows = curve.lines().map(|line| line.rsplitn(3, ',').last().unwrap().to_owned());
    files.push(("curve.csv".into(), rows.collect::<Vec<_>>().join("\n").into_bytes()));
    files
}

/// Runs `config` into `folder`, stopped after a while, again and again; at least once.
fn run_with_interruptions(config: &Config, folder: &Path) {
    let stop = AtomicBool::new(false);
    let mut start = Start::Anew;
    let mut interruptions = 0;
    loop {
        let outcome = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(std::time::Duration::from_millis(25 * interruptions));
                stop.store(true, Ordering::Relaxed);
            });
            pretrain::run(config, folder, start, &stop)
        });
        stop.store(false, Ordering::Relaxed);
        match outcome {
            // There is nothing to go on from yet.
            Err(error) if error.to_string().contains("evidence") => interruptions += 1,
            Ok(Outcome::Interrupted) => (start, interruptions) = (Start::Resume, interruptions + 1),
            Ok(Outcome::Finished) => break,
            Err(error) => panic!("{error:#}"),
        }
    }
    assert!(interruptions > 0, "the run was too fast to be interrupted");
}

#[test]
fn a_run_that_was_interrupted_anywhere_goes_on_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let small = tiny::prepare(folder.path()).unwrap();
    let likelihood = tiny::config(&small.data, 3);
    let rewards = Config {
        objective: Objective::SelfCritical,
        initial: vec![folder.path().join("likelihood/best.safetensors")],
        distillation: Some(Distillation {
            teachers: vec![folder.path().join("likelihood/best.safetensors")],
            share: 0.5,
        }),
        ..likelihood.clone()
    };
    let of_concepts = concepts::config(&small.data, &folder.path().join("texts.txt"), 3);
    let rewards_of_concepts = Config {
        objective: Objective::SelfCritical,
        initial: vec![folder.path().join("concepts/best.safetensors")],
        ..of_concepts.clone()
    };
    for (name, config) in [
        ("likelihood", &likelihood),
        ("rewards", &rewards),
        ("concepts", &of_concepts),
        ("rewards of concepts", &rewards_of_concepts),
    ] {
        let (whole, interrupted) = (folder.path().join(name), folder.path().join(format!("{name}-again")));
        pretrain::run(config, &whole, Start::Anew, &AtomicBool::new(false)).unwrap();
        run_with_interruptions(config, &interrupted);
        for ((file, expected), (_, found)) in files(&whole).iter().zip(files(&interrupted)) {
            assert!(*expected == found, "{name}: {file} differs");
        }
    }
}

#[test]
fn a_student_knows_what_those_know_whom_it_listens_to() {
    let folder = tempfile::tempdir().unwrap();
    let small = tiny::prepare(folder.path()).unwrap();
    let never = AtomicBool::new(false);
    // A teacher that has hardly learned anything.
    let mut poor = tiny::config(&small.data, 1);
    poor.schedule.peak_learning_rate = 1e-9;
    let teacher = folder.path().join("teacher");
    pretrain::run(&poor, &teacher, Start::Anew, &never).unwrap();
    let loss = |share: f64| {
        let distillation = Distillation { teachers: vec![teacher.join("best.safetensors")], share };
        let config = Config { distillation: Some(distillation), ..tiny::config(&small.data, 10) };
        let run = folder.path().join(format!("student-{share}"));
        pretrain::run(&config, &run, Start::Anew, &never).unwrap();
        let curve = std::fs::read_to_string(run.join("curve.csv")).unwrap();
        curve.lines().last().unwrap().split(',').nth(3).unwrap().parse::<f64>().unwrap()
    };
    let (people, teacher) = (loss(0.0), loss(1.0));
    assert!(teacher > 2.0 * people, "{people} {teacher}");

    let distillation =
        Some(Distillation { teachers: vec![folder.path().join("none.safetensors")], share: 0.5 });
    let config = Config { distillation, ..tiny::config(&small.data, 1) };
    let error = pretrain::run(&config, &folder.path().join("lonely"), Start::Anew, &never).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.starts_with("distillation.teachers: ") && error.contains("no such checkpoint"), "{error}");
}

#[test]
fn a_run_that_could_learn_nothing_does_not_begin() {
    let folder = tempfile::tempdir().unwrap();
    let small = tiny::prepare(folder.path()).unwrap();
    let begin = |config: &Config| {
        let error = pretrain::run(config, &small.run, Start::Anew, &AtomicBool::new(false)).unwrap_err();
        assert!(!small.run.exists());
        format!("{error:#}")
    };
    let mut config = tiny::config(&small.data, 1);
    config.vocabulary.min_count = 1_000_000;
    assert!(begin(&config).contains("no word stands vocabulary.min_count = 1000000 times"));

    // Six training pictures alone say something that is a word.
    let index = small.data.join("pictures.json");
    let mut pictures: serde_json::Value = serde_json::from_slice(&std::fs::read(&index).unwrap()).unwrap();
    let training = pictures["pictures"].as_array_mut().unwrap().iter_mut();
    for picture in training.filter(|picture| picture["split"] == "train").skip(6) {
        picture["captions"] = serde_json::json!(["..."]);
    }
    std::fs::write(&index, pictures.to_string()).unwrap();
    let error = begin(&tiny::config(&small.data, 1));
    assert!(
        error.ends_with("training pictures have words in their captions, and schedule.pictures = 8"),
        "{error}"
    );
}

#[test]
fn a_new_run_takes_no_folder_that_holds_something() {
    let folder = tempfile::tempdir().unwrap();
    let small = tiny::prepare(folder.path()).unwrap();
    let begin =
        || pretrain::run(&tiny::config(&small.data, 1), &small.run, Start::Anew, &AtomicBool::new(false));
    std::fs::create_dir(&small.run).unwrap();
    std::fs::write(small.run.join("notes.txt"), "mine").unwrap();
    let error = begin().unwrap_err().to_string();
    assert!(error.contains("holds files, and no checkpoint to go on from; empty it"), "{error}");
    std::fs::remove_file(small.run.join("notes.txt")).unwrap();
    begin().unwrap();
    let error = begin().unwrap_err().to_string();
    assert!(error.contains("holds a run already; go on with --resume"), "{error}");
}

#[test]
fn of_epochs_with_the_same_cider_the_one_with_the_least_loss_is_the_best() {
    let folder = tempfile::tempdir().unwrap();
    let small = tiny::prepare(folder.path()).unwrap();
    // One picture's caption has no CIDEr: every word is in every document.
    let mut config = tiny::config(&small.data, 6);
    config.validation.pictures = 1;
    config.schedule.patience = Some(2);
    pretrain::run(&config, &small.run, Start::Anew, &AtomicBool::new(false)).unwrap();
    let curve = std::fs::read_to_string(small.run.join("curve.csv")).unwrap();
    let column = |number: usize| -> Vec<f64> {
        curve.lines().skip(1).map(|row| row.split(',').nth(number).unwrap().parse().unwrap()).collect()
    };
    let (losses, cider) = (column(3), column(9));
    assert!(cider.iter().all(|&cider| cider == 0.0), "{cider:?}");
    let best = (0..losses.len()).min_by(|&a, &b| losses[a].total_cmp(&losses[b])).unwrap();
    assert!(best > 0, "{losses:?}");
    let read = |name: &str| std::fs::read(small.run.join(name)).unwrap();
    assert!(read("best.safetensors") == read(&format!("epoch-{:03}.safetensors", best + 1)));
}

#[test]
fn a_run_is_tied_to_its_trunk_and_its_words() {
    let folder = tempfile::tempdir().unwrap();
    let small = tiny::prepare(folder.path()).unwrap();
    tiny::train(&small, 1).unwrap();
    let never = AtomicBool::new(false);
    let resume = |config: &Config| pretrain::run(config, &small.run, Start::Resume, &never);
    let config = tiny::config(&small.data, 2);
    resume(&config).unwrap();

    let rare = Config {
        vocabulary: pretrain::config::VocabularyConfig { min_count: 30, ..config.vocabulary.clone() },
        ..config.clone()
    };
    let error = format!("{:#}", resume(&rare).unwrap_err());
    assert!(error.contains("words.txt: not the words"), "{error}");
    let initial = vec![small.run.join("best.safetensors")];
    let other = folder.path().join("other");
    let error = pretrain::run(&Config { initial, ..rare }, &other, Start::Anew, &never).unwrap_err();
    assert!(format!("{error:#}").contains("initial: ") && !other.exists(), "{error:#}");

    let held = RunFolder(small.run.clone()).hold().unwrap();
    let error = format!("{:#}", resume(&config).unwrap_err());
    assert!(error.ends_with("another metalens-trainer trains into it; wait until it has ended"), "{error}");
    drop(held);
    resume(&config).unwrap();

    std::fs::write(small.run.join("trunk.sha256"), "0123\n").unwrap();
    let error = format!("{:#}", resume(&config).unwrap_err());
    assert!(error.contains("trunk.sha256") && error.contains("0123"), "{error}");
}

#[test]
fn a_run_stops_when_patience_is_at_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let small = tiny::prepare(folder.path()).unwrap();
    let mut config = tiny::config(&small.data, 40);
    config.schedule.patience = Some(2);
    pretrain::run(&config, &small.run, Start::Anew, &AtomicBool::new(false)).unwrap();
    let curve = std::fs::read_to_string(small.run.join("curve.csv")).unwrap();
    let cider: Vec<f64> =
        curve.lines().skip(1).map(|row| row.split(',').nth(9).unwrap().parse().unwrap()).collect();
    let best = cider.iter().copied().fold(0.0, f64::max);
    let first_best = cider.iter().position(|&value| value == best).unwrap();
    assert!(cider.len() < 40, "it never stopped");
    assert_eq!(cider.len(), first_best + 3, "{cider:?}");
}

#[test]
fn the_trunks_last_block_is_learned_exported_and_started_from() {
    const CUT: usize = 15;
    let Some(published) = std::env::var_os("METALENS_CHECKPOINT").map(PathBuf::from) else {
        println!("skipped: METALENS_CHECKPOINT names no efficientnet-lite0-57934424.pth");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let never = AtomicBool::new(false);
    drawing::write_corpus(&path("corpus"), 4).unwrap();
    let corpus = corpus::read(&path("corpus"), Format::Flickr).unwrap();
    let prepare = |name: &str, trunk: &[u8], cut| {
        std::fs::write(path("trunk.onnx"), trunk).unwrap();
        let (trunk, shape, out) = (path("trunk.onnx"), encoder::lite0(cut), path(name));
        let options =
            PrepareOptions { trunk, shape, detector: None, out, mirrored: true, crops: 0, threads: 2 };
        let prepared = features::prepare(&corpus, &options, &never).unwrap();
        assert!(matches!(prepared, Prepared::Finished { .. }));
    };
    let weights = checkpoint::read(&published).unwrap();
    prepare("part", &encoder::write_lower(&weights, CUT, Precision::F16).unwrap(), Some(CUT));
    let config = |data: &str| Config { shards: 1, ..tiny::config(&path(data), 1) };

    let error = pretrain::run(&config("part"), &path("none"), Start::Anew, &never).unwrap_err();
    assert!(format!("{error:#}").contains("trunk.checkpoint"), "{error:#}");
    let trunk = Some(Trunk { checkpoint: Some(published), learning_rate: 0.05 });
    let learning = Config { trunk, ..config("part") };
    pretrain::run(&learning, &path("learned"), Start::Anew, &never).unwrap();

    // The trunk that came of it is another, and a run may go on from there with features of that trunk alone.
    let initial = vec![path("learned/best.safetensors")];
    let learned = export::average(&initial).unwrap();
    let features = Features::open(&path("part")).unwrap();
    let (whole, _) = export::trunk(&features, &learned, Precision::F16).unwrap();
    let untouched = encoder::write(&weights, encoder::Output::Trunk, Precision::F16).unwrap();
    assert_ne!(whole, untouched);
    prepare("whole", &whole, None);
    let blended = |share| export::blended_trunk(&weights, &learned, share, Precision::F16).unwrap();
    let half = blended(0.5);
    assert!(half.len() == untouched.len() && half != untouched && half != blended(1.0));
    let frozen = |data: &str| Config { initial: initial.clone(), ..config(data) };
    let error = pretrain::run(
        &Config { trunk: learning.trunk.clone(), ..frozen("whole") },
        &path("wrong"),
        Start::Anew,
        &never,
    );
    assert!(format!("{:#}", error.unwrap_err()).contains("prepared with the whole trunk"));
    pretrain::run(&frozen("whole"), &path("frozen"), Start::Anew, &never).unwrap();
    let frozen = export::average(&[path("frozen/best.safetensors")]).unwrap();
    assert_eq!(frozen.sizes.cut, None);

    // What is cached behind the trunk is what the learning captioner made of the part before it.
    let picture = 3;
    let encode = |data: &str, parameters: &Parameters| {
        let features = Features::open(&path(data)).unwrap();
        let mut row = Vec::new();
        features.extend(picture, 0, &mut row);
        let shape = &features.index().trunk;
        let row =
            Tensor::from_vec(row, (1, shape.positions(), shape.channels), &candle_core::Device::Cpu).unwrap();
        flat(&Trained::new(parameters).encode(&row, &mut None).unwrap().tokens)
    };
    let (of_part, of_whole) = (encode("part", &learned), encode("whole", &learned.clone().without_trunk()));
    let largest = of_part.iter().zip(&of_whole).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(largest < 0.05, "{largest}");
}
