//! Scores equal pycocoevalcap's to 1e-9, on files that `golden/score/make_golden.py` made with it.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;

use metalens_trainer::score::{Sample, Scores, score, score_files};

#[derive(serde::Deserialize)]
struct Expected {
    scores: Scores,
    rouge_l: Vec<f64>,
    cider: Vec<f64>,
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/score").join(name)
}

fn expected(set: &str) -> Expected {
    serde_json::from_slice(&std::fs::read(golden(&format!("{set}.expected.json"))).unwrap()).unwrap()
}

fn assert_close(found: &Scores, expected: &Scores) {
    let values = |s: &Scores| [s.bleu1, s.bleu2, s.bleu3, s.bleu4, s.rouge_l, s.cider];
    for (found, expected) in values(found).into_iter().zip(values(expected)) {
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    }
}

#[test]
fn whole_sets_have_pycocoevalcaps_scores() {
    for set in ["all", "short", "one"] {
        let path = |kind: &str| golden(&format!("{set}.{kind}.jsonl"));
        let found = score_files(&path("hypotheses"), &path("references")).unwrap();
        assert_close(&found, &expected(set).scores);
    }
}

#[test]
fn single_pictures_have_pycocoevalcaps_scores() {
    let lines = |kind: &str| -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(golden(&format!("all.{kind}.jsonl"))).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let samples: Vec<Sample> = lines("hypotheses")
        .iter()
        .zip(lines("references"))
        .map(|(hypothesis, references)| Sample {
            hypothesis: hypothesis["caption"].as_str().unwrap().to_owned(),
            references: serde_json::from_value(references["captions"].clone()).unwrap(),
        })
        .collect();
    let expected = expected("all");
    assert!(samples.len() >= 200);
    let mut cider =
        metalens_trainer::score::CiderScorer::new(samples.iter().map(|s| s.references.as_slice()));
    for (place, sample) in samples.iter().enumerate() {
        let references = cider.references(&sample.references);
        let found = cider.score(&sample.hypothesis, &references);
        assert!((found - expected.cider[place]).abs() < 1e-9, "CIDEr of picture {place}");
        let rouge = score(std::slice::from_ref(sample)).unwrap().rouge_l;
        assert!((rouge - expected.rouge_l[place]).abs() < 1e-9, "ROUGE-L of picture {place}");
    }
}
