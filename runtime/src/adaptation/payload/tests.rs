//! What is kept can be read again, and what does not fit is named.
#![allow(clippy::unwrap_used)]

use metalens_models::{Familiarity as Settings, InnerLoop, MemoryBlend, NewWordStart};

use super::*;
use crate::adaptation::references::{Observation, ReferenceParts, References};
use crate::adaptation::{Read, Shown};

fn numbers(shape: (usize, usize), seed: f32) -> Array2<f32> {
    Array2::from_shape_fn(shape, |(i, j)| ((i * 31 + j * 17) as f32 * 0.7 + seed).sin())
}

/// Tokens are 2 wide, z is 3, the hidden layer 4, and there are 5 known words.
fn initialization(alpha_1: f64) -> Initialization<f32> {
    let evidence = [0.0, 0.0, 1.0, 0.0];
    let plain = InnerLoop::plain(vec![[alpha_1, 0.5]; 2], Some(0.1));
    Initialization {
        head: Head {
            weight_1: numbers((4, 3), 1.0),
            bias_1: Array1::zeros(4),
            weight_2: numbers((5, 4), 2.0),
            bias_2: Array1::zeros(5),
        },
        end: 0,
        references: References::new(ReferenceParts {
            pooled: numbers((6, 2), 3.0),
            detections: Array2::zeros((6, 0)),
            said: Array1::from_elem(5, 0.1),
            detected: Vec::new(),
            detectors: Array2::zeros((0, 7)),
        }),
        schedule: InnerLoop {
            new_words: NewWordStart { offset: 1.0, ..plain.new_words },
            memory: MemoryBlend { share: 0.2, temperature: 1.0, picture: 1.0 },
            // Everything is near: the support is a place, where the first layer moves.
            familiarity: Settings {
                known: evidence,
                unknown: evidence,
                threshold: -100.0,
                ..plain.familiarity
            },
            ..plain
        },
    }
}

fn calibrated(initialization: &Initialization<f32>) -> Calibrated<f32, Head<f32>> {
    let shown = |seed: f32| Shown {
        observation: Observation {
            // Alike, and so nearer to each other than to any ordinary picture.
            pooled: numbers((1, 2), 9.0).row(0).to_owned(),
            detections: Array1::zeros(0),
            said: Array1::from_elem(5, 0.2),
            z: numbers((2, 3), seed),
        },
        captions: vec![Read::new(&initialization.head, numbers((3, 3), seed + 1.0), vec![2, 5, 0])],
    };
    initialization.calibrate(&[shown(1.0), shown(5.0)], 1).finish()
}

fn payload(initialization: &Initialization<f32>) -> Payload {
    let word = NewWord { word: "zorb".to_owned(), written: "Zorb".to_owned(), like: Vec::new() };
    let scores = Scores { samples: 2, held_out: Some([2.0, 1.0]) };
    Payload::new(initialization, &calibrated(initialization), vec![word], scores)
}

#[test]
fn what_is_kept_is_what_was_calibrated() {
    for alpha_1 in [0.0, 0.3] {
        let initialization = initialization(alpha_1);
        let expected = calibrated(&initialization);
        let payload = payload(&initialization);
        assert_eq!(payload.first.is_some(), alpha_1 != 0.0, "a first layer that rested is the bundle's");
        let bytes = postcard::to_stdvec(&payload).unwrap();
        let read: Payload = postcard::from_bytes(&bytes).unwrap();
        let found = read.into_calibrated(&initialization).unwrap();
        assert_eq!(found.head, expected.head);
        assert_eq!(found.memory, expected.memory);
        assert_eq!(found.familiarity, expected.familiarity);
        assert_eq!(found.new_words, 1);
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let initialization = initialization(0.3);
    let misfit = |change: &dyn Fn(&mut Payload)| {
        let mut payload = payload(&initialization);
        change(&mut payload);
        payload.into_calibrated(&initialization).unwrap_err().to_string()
    };
    assert_eq!(misfit(&|p| p.new_words.clear()), "the second layer: 24 numbers, 20 follow from the bundle");
    let first = misfit(&|p| p.first.as_mut().unwrap().weight.truncate(11));
    assert_eq!(first, "the first layer: 11 numbers, 12 follow from the bundle");
    let word = misfit(&|p| p.memory.words[1] = 6);
    assert_eq!(word, "a word of the memory: number 6 of 6");
    let picture = misfit(&|p| p.memory.pictures[0] = 2);
    assert_eq!(picture, "a picture of the memory: number 2 of 2");
    let familiar = misfit(&|p| p.familiarity.words.clear());
    assert_eq!(familiar, "the new words' familiarity: 0 numbers, 1 follow from the bundle");
}
