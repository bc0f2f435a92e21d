//! What a captioner learns of concepts, and of captions without pictures.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use candle_core::{D, Device, Tensor};
use metalens::evidence::Concept;
use metalens_models::TokenId;
use metalens_tests::{drawing, tiny};
use metalens_trainer::captioner::{Captioner, ConceptRows, Encoded, Parameters};
use metalens_trainer::features::Features;
use metalens_trainer::pretrain::config::{ConceptsConfig, Config};
use metalens_trainer::pretrain::{self, Outcome, RunFolder, Start};
use metalens_trainer::vocabulary::{END, START};

/// A tiny run that knows concepts, and reads of purple things, of which it sees none.
pub fn config(data: &Path, texts: &Path, epochs: usize) -> Config {
    let mut lines = String::new();
    for shape in ["square", "circle", "cross", "ring"] {
        for _ in 0..8 {
            lines += &format!("A purple {shape} .\nThere is a purple {shape} here .\n");
        }
    }
    std::fs::write(texts, lines).unwrap();
    let mut config = tiny::config(data, epochs);
    config.texts = vec![texts.to_owned()];
    config.schedule.texts = 8;
    config.vocabulary.min_count_of_texts = 1;
    config.concepts =
        Some(ConceptsConfig { tokens: 4, phi: 6, min_pictures: 1, ..ConceptsConfig::default() });
    config
}

/// What is said greedily of `encoded`, where these words are its concepts; slots may be said that are among them.
fn said(captioner: &Captioner, encoded: &Encoded, vocabulary: &[String], concepts: &[(&str, f32)]) -> String {
    let id = |word: &str| vocabulary.iter().position(|known| known == word).unwrap() as u32;
    let concepts: Vec<Concept> =
        concepts.iter().map(|&(word, confidence)| Concept { word: TokenId(id(word)), confidence }).collect();
    let rows = ConceptRows::new([concepts.as_slice()]);
    let seen = captioner.seen(encoded, Some(&captioner.concepts(&rows).unwrap())).unwrap();
    let mut spoken = vec![false; concepts.len()];
    let (mut state, mut words) = (encoded.state.clone(), vec![START]);
    while words.len() < 12 {
        let word = *words.last().unwrap();
        let step = captioner.step(&[word], &state, &seen, &[0]).unwrap();
        let mut pointings = Vec::new();
        rows.point_at(word, 0, &rows.of_row[0], &mut spoken, &mut pointings);
        let logits = captioner.head(&step.z, &mut None).unwrap();
        let logits = captioner.point(&logits, &step.z, &pointings).unwrap();
        let slot_is_there = concepts.iter().any(|concept| concept.word.index() == captioner.vocabulary());
        let known = captioner.vocabulary() + usize::from(slot_is_there);
        let next =
            logits.narrow(1, 0, known).unwrap().argmax(D::Minus1).unwrap().to_vec1::<u32>().unwrap()[0];
        if next == END {
            break;
        }
        words.push(next);
        state = step.state;
    }
    let words: Vec<&str> = words[1..].iter().map(|&word| vocabulary[word as usize].as_str()).collect();
    words.join(" ")
}

#[test]
fn words_that_only_texts_know_are_said_where_evidence_points_at_them() {
    let folder = tempfile::tempdir().unwrap();
    let small = tiny::prepare(folder.path()).unwrap();
    let config = config(&small.data, &folder.path().join("texts.txt"), 25);
    let run = folder.path().join("run");
    assert_eq!(
        pretrain::run(&config, &run, Start::Anew, &AtomicBool::new(false)).unwrap(),
        Outcome::Finished
    );
    let parameters = Parameters::load(&run.join("best.safetensors"), &Device::Cpu).unwrap();
    let mut vocabulary = RunFolder(run.clone()).words().unwrap().words().to_vec();
    assert!(parameters.sizes.concepts && parameters.sizes.vocabulary == vocabulary.len());
    vocabulary.push("<slot>".to_owned());
    let captioner = Captioner::new(&parameters);

    let nothing = captioner.no_picture().unwrap();
    for shape in ["circle", "ring"] {
        let caption = said(&captioner, &nothing, &vocabulary, &[("purple", 0.9), (shape, 0.8)]);
        assert!(caption.contains("purple") && caption.contains(shape), "{caption}");
    }
    // Any new thing is said as a slot, which stands where the thing would.
    let caption = said(&captioner, &nothing, &vocabulary, &[("purple", 0.9), ("<slot>", 0.8)]);
    assert!(caption.contains("<slot>"), "{caption}");

    let features = Features::open(&small.data).unwrap();
    let index = features.index();
    let mut map = Vec::new();
    features.extend(index.pictures.iter().position(|it| it.name.starts_with("0-")).unwrap(), 0, &mut map);
    let map =
        Tensor::from_vec(map, (1, index.trunk.positions(), index.trunk.channels), &Device::Cpu).unwrap();
    let shown = captioner.encode(&map, &mut None).unwrap();
    let caption = said(&captioner, &shown, &vocabulary, &[]);
    assert!(caption.contains(drawing::captions(0)[0].split(' ').nth(1).unwrap()), "{caption}");
}

#[test]
fn captions_of_held_out_pictures_are_not_read_as_texts() {
    let folder = tempfile::tempdir().unwrap();
    let small = tiny::prepare(folder.path()).unwrap();
    let texts = folder.path().join("texts.txt");
    let mut config = config(&small.data, &texts, 1);
    // All kinds are among the held-out pictures, so that nothing is left of these.
    let lines: Vec<String> = (0..drawing::KINDS).flat_map(drawing::captions).collect();
    std::fs::write(&texts, lines.join("\n")).unwrap();
    config.validation.pictures = 40;
    let error = pretrain::run(&config, &folder.path().join("run"), Start::Anew, &AtomicBool::new(false));
    let error = format!("{:#}", error.unwrap_err());
    assert!(error.contains("texts.txt") && error.lines().count() == 1, "{error}");
}
