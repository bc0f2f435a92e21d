//! The imported EfficientNet-Lite0 computes what the published checkpoint computes in PyTorch
//! (`golden/lite0/make_golden.py`).
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use metalens::engine::{Graph, Input, Output};
use metalens_models::{Bundle, file};
use metalens_trainer::encoder::{self, Output as Ending, checkpoint};
use metalens_trainer::onnx::{Axis, GraphBuilder, Precision};

const SIDE: usize = 224;

fn golden(name: &str) -> Vec<f32> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/lite0").join(name);
    let bytes = std::fs::read(path).unwrap();
    bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()
}

fn wave(number: usize) -> Vec<f32> {
    let mut pixels = Vec::with_capacity(3 * SIDE * SIDE);
    for c in 0..3 {
        for y in 0..SIDE {
            for x in 0..SIDE {
                let phase = 0.05 * (number + 1) as f64 * x as f64 + 0.03 * y as f64 + f64::from(c);
                pixels.push(phase.sin() as f32);
            }
        }
    }
    pixels
}

fn run(graph: &[u8], output: Output, number: usize) -> Vec<f32> {
    let image = Input::F32("image", &[1, 3, SIDE, SIDE]);
    let mut session = Graph::load(graph, "lite0", &[image], &[output]).unwrap().session().unwrap();
    session.set(0, &wave(number)).unwrap();
    session.run().unwrap();
    session.output(0).unwrap().to_vec()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    // f32::max would pass over what is no number.
    differences.max_by(f32::total_cmp).unwrap()
}

/// The checkpoint's file, from METALENS_CHECKPOINT.
fn published() -> Option<PathBuf> {
    let path = std::env::var_os("METALENS_CHECKPOINT").map(PathBuf::from);
    if path.is_none() {
        println!("skipped: METALENS_CHECKPOINT names no efficientnet-lite0-57934424.pth");
    }
    path
}

#[test]
fn the_classifiers_logits_equal_the_published_checkpoints() {
    let Some(path) = published() else { return };
    let weights = checkpoint::read(&path).unwrap();
    let write = |ending| encoder::write(&weights, ending, Precision::F32).unwrap();
    let expected = golden("logits.f32");
    for (graph, name) in [(write(Ending::Classifier), "logits"), (write(Ending::Trunk), "classes")] {
        for number in 0..3 {
            let logits = run(&graph, Output(name, &[1, encoder::CLASSES]), number);
            let difference = largest_difference(&logits, &expected[number * 1000..][..1000]);
            assert!(difference < 1e-3, "{name} of picture {number}: {difference}");
        }
    }
}

#[test]
fn a_cut_checkpoint_is_refused_in_one_line() {
    let Some(path) = published() else { return };
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.pth");
    let whole = std::fs::read(path).unwrap();
    for length in [10, 1000, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&cut, &whole[..length]).unwrap();
        let error = checkpoint::read(&cut).unwrap_err().to_string();
        assert!(error.contains("cut.pth") && error.lines().count() == 1, "{error}");
    }
}

/// The mean over the rows `[positions, channels]`.
fn mean(rows: &[f32], channels: usize) -> Vec<f32> {
    let positions = (rows.len() / channels) as f32;
    (0..channels)
        .map(|channel| rows.iter().skip(channel).step_by(channels).sum::<f32>() / positions)
        .collect()
}

#[test]
fn the_trunk_and_its_lower_part_have_the_published_features() {
    let Some(path) = published() else { return };
    let weights = checkpoint::read(&path).unwrap();
    let trunk = encoder::write(&weights, Ending::Trunk, Precision::F16).unwrap();
    let lower = encoder::write_lower(&weights, LEARNED, Precision::F16).unwrap();
    for (graph, cut, file) in [(trunk, None, "features.f32"), (lower, Some(LEARNED), "block4.f32")] {
        let shape = encoder::lite0(cut);
        let expected = golden(file);
        for number in 0..3 {
            let features = run(&graph, Output("features", &[1, shape.positions(), shape.channels]), number);
            let expected = &expected[number * shape.channels..][..shape.channels];
            let difference = largest_difference(&mean(&features, shape.channels), expected);
            // Rounded to half precision; the trunk's features lie in 0 … 6, a block's in some ± 10.
            assert!(difference < 0.02, "{file}, picture {number}: {difference}");
        }
    }
}

/// The block from which on the committed bundle's trunk was learned.
const LEARNED: usize = 5;

/// What the committed bundle's encoder does before its first learned block is what the published one does.
#[test]
fn the_committed_bundles_trunk_begins_as_the_published_one() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/flickr8k-lite0");
    let bytes = Bundle::open(&folder).unwrap().read(file::ENCODER).unwrap();
    let last = "_blocks.4.output";
    let mut graph = GraphBuilder::extend_at(&bytes, last, "lower", Precision::F32).unwrap();
    let shape = encoder::lite0(Some(LEARNED));
    let [rows, columns] = shape.grid;
    let sizes = [1, shape.channels, rows, columns];
    graph.output(last, &sizes.map(Axis::from));
    let graph = graph.finish();
    let expected = golden("block4.f32");
    for number in 0..3 {
        let map = run(&graph, Output(last, &sizes), number);
        let positions = shape.positions() as f32;
        let mean: Vec<f32> = map
            .chunks_exact(shape.positions())
            .map(|channel| channel.iter().sum::<f32>() / positions)
            .collect();
        let difference = largest_difference(&mean, &expected[number * shape.channels..][..shape.channels]);
        assert!(difference < 0.02, "picture {number}: {difference}");
    }
}
