//! A captioner with concepts says on the device what its equations say.
#![allow(clippy::unwrap_used)]

use candle_core::{Device, Tensor};
use metalens::evidence::Concept;
use metalens::{Caption, Captioner, Options};
use metalens_models::{DetectorShape, TokenId};
use metalens_tests::concepts::{CONCEPTS, Drawn, drawn, export, export_with};
use metalens_tests::{drawing, tiny};
use metalens_trainer::captioner::{Captioner as Trained, ConceptRows};
use metalens_trainer::vocabulary::{END, SPECIAL, START};

/// More than any confidence.
const NEVER: f32 = 2.0;

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// The trunk's map `[positions, channels]` of a picture.
fn features(picture: &metalens::vision::Picture) -> Tensor {
    use metalens::engine::{Graph, Input, Output};
    let (bytes, shape) = tiny::trunk();
    let (positions, channels) = (shape.positions(), shape.channels);
    let inputs = [Input::F32("image", &[1, 3, 56, 56])];
    let mut trunk = Graph::load(&bytes, "trunk", &inputs, &[Output("features", &[1, positions, channels])])
        .unwrap()
        .session()
        .unwrap();
    let mut preprocessor = metalens::vision::Preprocessor::new(shape.preprocessing);
    trunk.set(0, preprocessor.run(picture)).unwrap();
    trunk.run().unwrap();
    Tensor::from_slice(trunk.output(0).unwrap(), (1, positions, channels), &Device::Cpu).unwrap()
}

/// The log-odds of the words of captions, by hand.
fn log_odds(features: &Tensor, drawn: &Drawn) -> Vec<f32> {
    let map: Vec<Vec<f32>> = features.squeeze(0).unwrap().to_vec2().unwrap();
    let channels = map[0].len();
    let mut pooled: Vec<f32> =
        (0..channels).map(|c| map.iter().map(|row| row[c]).sum::<f32>() / map.len() as f32).collect();
    pooled.extend((0..channels).map(|c| map.iter().map(|row| row[c]).fold(f32::MIN, f32::max)));
    let evidence = &drawn.evidence;
    let projection = evidence.phi.projection.as_ref().unwrap();
    let phi: Vec<f32> = (0..evidence.phi.width())
        .map(|to| {
            let sum: f32 = pooled.iter().enumerate().map(|(from, x)| x * projection[[from, to]]).sum();
            (sum - evidence.phi.mean[to]) / evidence.phi.spread[to]
        })
        .collect();
    let row = |row: usize| phi.iter().enumerate().map(|(at, x)| x * evidence.weight[[row, at]]).sum::<f32>();
    (0..evidence.bias.len()).map(|at| row(at) + evidence.bias[at]).collect()
}

fn id(drawn: &Drawn, word: &str) -> u32 {
    drawn.vocabulary.words().iter().position(|known| known == word).unwrap() as u32
}

fn concepts(drawn: &Drawn, caption: &Caption) -> Vec<Concept> {
    let concept = |evident: &metalens::Evident| Concept {
        word: TokenId(id(drawn, &evident.word)),
        confidence: evident.evidence,
    };
    caption.concepts.iter().map(concept).collect()
}

#[test]
fn evidence_of_the_device_is_that_of_the_formulas() {
    let folder = tempfile::tempdir().unwrap();
    let drawn = drawn(NEVER).unwrap();
    export(&drawn, &folder.path().join("bundle")).unwrap();
    let mut captioner = Captioner::open(&folder.path().join("bundle"), Options::default()).unwrap();
    let mut kinds = std::collections::HashSet::new();
    for kind in 0..drawing::KINDS {
        let picture = drawing::picture(kind, 1);
        let caption = captioner.caption(&picture).unwrap();
        let mut expected: Vec<(u32, f32)> = log_odds(&features(&picture), &drawn)
            .into_iter()
            .enumerate()
            .map(|(row, odds)| ((SPECIAL.len() + row) as u32, sigmoid(odds)))
            .collect();
        expected.sort_by(|a, b| b.1.total_cmp(&a.1));
        expected.truncate(3);
        expected.retain(|(_, p)| *p >= 0.05);
        let found = concepts(&drawn, &caption);
        assert!(found.is_sorted_by(|a, b| a.confidence >= b.confidence), "{found:?}");
        for (word, p) in &expected {
            let found = found.iter().find(|concept| concept.word.0 == *word).unwrap();
            // E is stored in halves.
            assert!((found.confidence - p).abs() < 2e-3, "{found:?} {p}");
        }
        // The first 600 of 1,000 classes of about the same logits, and the detector's red.
        let small = found.iter().find(|concept| concept.word.0 == id(&drawn, "small")).unwrap();
        assert!((0.3..0.65).contains(&small.confidence), "{small:?}");
        assert!(found.iter().all(|concept| concept.word.0 != id(&drawn, "large")));
        assert!(found.len() <= expected.len() + 2);
        kinds.extend(found.iter().map(|concept| concept.word.0));
    }
    assert!(kinds.contains(&id(&drawn, "on")), "the detector found nothing: {kinds:?}");

    let options = Options { detector: false, ..Options::default() };
    let mut without = Captioner::open(&folder.path().join("bundle"), options).unwrap();
    for kind in 0..drawing::KINDS {
        let caption = without.caption(&drawing::picture(kind, 1)).unwrap();
        assert!(
            caption.concepts.iter().all(|concept| concept.word != "on"),
            "a detector that rests found it"
        );
    }
}

#[test]
fn a_caption_is_as_probable_as_candle_says_and_looks_where_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let drawn = drawn(NEVER).unwrap();
    export(&drawn, &folder.path().join("bundle")).unwrap();
    let mut captioner = Captioner::open(&folder.path().join("bundle"), Options::default()).unwrap();
    let trained = Trained::new(&drawn.parameters);
    for kind in 0..drawing::KINDS {
        let picture = drawing::picture(kind, 2);
        let caption = captioner.caption(&picture).unwrap();
        let concepts = concepts(&drawn, &caption);
        assert!((2..CONCEPTS).contains(&concepts.len()), "{concepts:?}");
        let rows = ConceptRows::new([concepts.as_slice()]);
        let encoded = trained.encode(&features(&picture), &mut None).unwrap();
        let of_picture = trained.concepts(&rows).unwrap();
        let seen = trained.seen(&encoded, Some(&of_picture)).unwrap();
        let mut state = encoded.state.clone();
        let mut said = vec![false; concepts.len()];
        let mut before = START;
        let mut sum = 0.0;
        let words: Vec<u32> = caption.words.iter().map(|word| id(&drawn, &word.word)).collect();
        for (place, next) in words.iter().copied().chain([END]).take(8).enumerate() {
            let step = trained.step(&[before], &state, &seen, &[0]).unwrap();
            let mut pointings = Vec::new();
            rows.point_at(before, 0, &(0..concepts.len()), &mut said, &mut pointings);
            let logits = trained.head(&step.z, &mut None).unwrap();
            let logits = trained.point(&logits, &step.z, &pointings).unwrap();
            // Neither special tokens but the end, nor slots, are said.
            let known = drawn.vocabulary.words().len();
            let logits: Vec<f32> = logits.flatten_all().unwrap().to_vec1().unwrap();
            let may_be_said = |id: &usize| *id == END as usize || *id >= SPECIAL.len();
            let all: f32 = (0..known).filter(may_be_said).map(|id| logits[id].exp()).sum();
            sum += logits[next as usize] - all.ln();
            if next != END {
                let weights: Vec<f32> = step.attention.flatten_all().unwrap().to_vec1().unwrap();
                let found = caption.attention.row(place).to_vec().into_iter();
                let found: Vec<f32> = found.chain(caption.concept_attention.row(place).to_vec()).collect();
                assert_eq!(found.len(), weights.len());
                for (a, b) in found.iter().zip(&weights) {
                    assert!((a - b).abs() < 1e-4, "{place}: {a} {b}");
                }
                assert!((found.iter().sum::<f32>() - 1.0).abs() < 1e-4);
            }
            (state, before) = (step.state, next);
        }
        assert!((sum - caption.log_probability).abs() < 2e-3, "{sum} {}", caption.log_probability);
    }
}

#[test]
fn concepts_of_enough_confidence_are_required_of_the_search() {
    let folder = tempfile::tempdir().unwrap();
    let [free, strict] = [NEVER, 0.0].map(|required| {
        let path = folder.path().join(required.to_string());
        let drawn = drawn(required).unwrap();
        // Nothing is pointed at, or nearly every concept would be said anyway.
        for (name, var) in drawn.parameters.iter().filter(|(name, _)| name.starts_with("pointer.")) {
            let low = if name == "pointer.bias" { -20.0 } else { 0.0 };
            var.set(&Tensor::full(low, var.shape(), var.device()).unwrap().to_dtype(var.dtype()).unwrap())
                .unwrap();
        }
        export(&drawn, &path).unwrap();
        path
    });
    let mut free = Captioner::open(&free, Options::default()).unwrap();
    let mut strict = Captioner::open(&strict, Options::default()).unwrap();
    let mut others = 0;
    for kind in 0..drawing::KINDS {
        let picture = drawing::picture(kind, 0);
        let (free, strict) = (free.caption(&picture).unwrap(), strict.caption(&picture).unwrap());
        assert_eq!(free.concepts, strict.concepts);
        let says = |caption: &Caption, word: &str| caption.words.iter().any(|said| said.word == word);
        let missing: Vec<&str> = free.concepts.iter().map(|concept| concept.word.as_str()).collect();
        let missing: Vec<&str> = missing.into_iter().filter(|word| !says(&free, word)).collect();
        if strict.text() == free.text() {
            continue;
        }
        others += 1;
        assert!(missing.iter().any(|word| says(&strict, word)), "{missing:?}: {}", strict.text());
        assert!(
            strict.log_probability < free.log_probability + 1e-4 || strict.words.len() != free.words.len()
        );
    }
    assert!(others > 0, "every caption said all of its concepts already");
}

#[test]
fn a_detector_that_is_not_as_the_manifest_says_is_refused_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = DetectorShape { things: 3, ..tiny::detector_shape() };
    let error = export_with(&drawn(NEVER).unwrap(), &wrong, &folder.path().join("bundle")).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("detector.onnx") && error.contains("output"), "{error}");
    assert_eq!(error.lines().count(), 1);
}
