//! The whole way from drawn pictures to a bundle, in seconds: prepare, pre-train, export.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use metalens_models::{Decoding, DetectorShape, Preprocessing};
use metalens_trainer::captioner::Parameters;
use metalens_trainer::corpus::{self, Format};
use metalens_trainer::encoder::{CLASSES, TrunkShape};
use metalens_trainer::export::{self, Parts};
use metalens_trainer::features::{self, PrepareOptions, Prepared};
use metalens_trainer::onnx::{GraphBuilder, Precision, ints_attribute};
use metalens_trainer::pretrain::config::Config;
use metalens_trainer::pretrain::{self, Outcome, Start};
use metalens_trainer::vocabulary::TrainingVocabulary;

use crate::drawing;

/// Channels of the tiny trunk: the mean colour of four parts of each position.
const CHANNELS: usize = 12;
/// Rows and columns of its feature map.
const GRID: usize = 7;
const SIDE: usize = drawing::SIDE as usize;

/// A trunk that looks at the mean colours of the quarters of each of 7x7 positions.
#[must_use]
pub fn trunk() -> (Vec<u8>, TrunkShape) {
    let side = SIDE / GRID;
    let half = side / 2;
    let mut weight = vec![0.0; CHANNELS * 3 * side * side];
    for channel in 0..CHANNELS {
        let (colour, quarter) = (channel / 4, channel % 4);
        let (top, left) = (quarter / 2 * half, quarter % 2 * half);
        for y in top..top + half {
            for x in left..left + half {
                weight[((channel * 3 + colour) * side + y) * side + x] = 1.0 / (half * half) as f32;
            }
        }
    }
    let mut graph = GraphBuilder::new("tiny", Precision::F32);
    graph.input("image", &[1.into(), 3.into(), SIDE.into(), SIDE.into()]);
    let weight = graph.weight("colours", &[CHANNELS, 3, side, side], &weight);
    let strides = vec![ints_attribute("strides", &[side as i64; 2])];
    graph.node_with("Conv", &["image", &weight], "map", strides);
    let shape = graph.integers("flat.shape", &[1, CHANNELS as i64, (GRID * GRID) as i64]);
    let flat = graph.node("Reshape", &["map", &shape], "flat");
    graph.node_with("Transpose", &[&flat], "features", vec![ints_attribute("perm", &[0, 2, 1])]);
    graph.output("features", &[1.into(), (GRID * GRID).into(), CHANNELS.into()]);
    let preprocessing = Preprocessing { width: SIDE, height: SIDE, mean: [127.0; 3], std: [128.0; 3] };
    (graph.finish(), TrunkShape { preprocessing, grid: [GRID, GRID], channels: CHANNELS, cut: None })
}

/// What [`detector`] takes and makes: two things, in cells of 28 and 56 pixels.
#[must_use]
pub fn detector_shape() -> DetectorShape {
    DetectorShape { width: SIDE, height: SIDE, strides: vec![SIDE / 2, SIDE], things: 2 }
}

/// A detector that is sure of anything anywhere, of the first thing by the share of blue in the picture and of the second by that of
/// red.
#[must_use]
pub fn detector() -> Vec<u8> {
    let shape = detector_shape();
    let (cells, columns) = (shape.cells(), 5 + shape.things);
    let mut weight = vec![0.0; 3 * cells * columns];
    let mut bias = vec![0.0; cells * columns];
    for cell in 0..cells {
        bias[cell * columns + 4] = 1.0;
        // Blue comes first, red last.
        for (plane, thing) in [(0, 5), (2, 6)] {
            weight[(plane * cells + cell) * columns + thing] = 1.0 / 255.0;
        }
    }
    let mut graph = GraphBuilder::new("tiny", Precision::F32);
    graph.input("images", &[1.into(), 3.into(), SIDE.into(), SIDE.into()]);
    let weight = graph.weight("weight", &[3, cells * columns], &weight);
    let bias = graph.weight("bias", &[cells * columns], &bias);
    graph.node("GlobalAveragePool", &["images"], "mean");
    let row = graph.integers("row", &[1, 3]);
    graph.node("Reshape", &["mean", &row], "colours");
    graph.node("Gemm", &["colours", &weight, &bias], "flat");
    let output = graph.integers("output.shape", &[1, cells as i64, columns as i64]);
    graph.node("Reshape", &["flat", &output], "output");
    graph.output("output", &[1.into(), cells.into(), columns.into()]);
    graph.finish()
}

/// The trunk with logits of classes beside its features: each is a mean of these.
///
/// # Panics
/// Never: the trunk is a graph.
#[must_use]
pub fn trunk_with_classes() -> Vec<u8> {
    let mut graph = GraphBuilder::extend_at(&trunk().0, "features", "tiny", Precision::F32)
        .expect("the trunk makes features");
    graph.output("features", &[1.into(), (GRID * GRID).into(), CHANNELS.into()]);
    let mut weight = vec![0.0; CHANNELS * CLASSES];
    (0..CLASSES).for_each(|class| weight[class % CHANNELS * CLASSES + class] = 1.0);
    let weight = graph.weight("classifier", &[CHANNELS, CLASSES], &weight);
    graph.node("GlobalAveragePool", &["map"], "pooled");
    let shape = graph.integers("pooled.shape", &[1, CHANNELS as i64]);
    graph.node("Reshape", &["pooled", &shape], "pooled.flat");
    graph.node("MatMul", &["pooled.flat", &weight], "classes");
    graph.output("classes", &[1.into(), CLASSES.into()]);
    graph.finish()
}

/// Where the tests' files are.
pub struct Tiny {
    /// The corpus, in Flickr8k's format.
    pub corpus: PathBuf,
    /// The prepared features.
    pub data: PathBuf,
    /// The training run.
    pub run: PathBuf,
}

/// The configuration of a tiny run over `data`.
///
/// # Panics
/// Never: the text is valid.
#[must_use]
pub fn config(data: &Path, epochs: usize) -> Config {
    let text = format!(
        "data = {data:?}\nseed = 5\n\
         [model]\ntoken = 16\nkey = 12\nstate = 32\nword = 16\nhidden = 24\n\
         [vocabulary]\nmin_count = 1\n\
         [schedule]\nepochs = {epochs}\npictures = 8\ncaptions = 2\npeak_learning_rate = 2e-2\naverage = 0.9\n\
         [regularisation]\ndropout = 0.1\nword_dropout = 0.05\nlabel_smoothing = 0.0\nflip = true\n\
         [validation]\npictures = 8\n"
    );
    toml::from_str(&text).expect("the text above is a configuration")
}

/// Draws the corpus in `folder` and prepares it.
///
/// # Errors
/// When a step fails.
pub fn prepare(folder: &Path) -> anyhow::Result<Tiny> {
    let tiny = Tiny { corpus: folder.join("corpus"), data: folder.join("data"), run: folder.join("run") };
    drawing::write_corpus(&tiny.corpus, 8)?;
    let (bytes, shape) = trunk();
    let path = folder.join("trunk.onnx");
    std::fs::write(&path, bytes)?;
    let options = PrepareOptions {
        trunk: path,
        shape,
        detector: None,
        out: tiny.data.clone(),
        mirrored: true,
        crops: 0,
        threads: 2,
    };
    let corpus = corpus::read(&tiny.corpus, Format::Flickr)?;
    let prepared = features::prepare(&corpus, &options, &AtomicBool::new(false))?;
    anyhow::ensure!(matches!(prepared, Prepared::Finished { .. }), "preparing was interrupted");
    Ok(tiny)
}

/// Trains for `epochs` epochs into `tiny.run`.
///
/// # Errors
/// When training fails.
pub fn train(tiny: &Tiny, epochs: usize) -> anyhow::Result<()> {
    let outcome =
        pretrain::run(&config(&tiny.data, epochs), &tiny.run, Start::Anew, &AtomicBool::new(false))?;
    anyhow::ensure!(outcome == Outcome::Finished, "training was interrupted");
    Ok(())
}

/// The run's best parameters and its words.
///
/// # Errors
/// When a file of the run is missing.
pub fn trained(tiny: &Tiny) -> anyhow::Result<(Parameters, TrainingVocabulary)> {
    let parameters = export::average(&[tiny.run.join("best.safetensors")])?;
    let words = std::fs::read_to_string(tiny.run.join("words.txt")).context("words.txt")?;
    Ok((parameters, TrainingVocabulary::from_words(words.lines().map(str::to_owned).collect())))
}

/// Exports the run's best parameters as a bundle in the new folder `out`.
///
/// # Errors
/// When exporting fails.
pub fn export(tiny: &Tiny, out: &Path, precision: Precision) -> anyhow::Result<()> {
    let (parameters, vocabulary) = trained(tiny)?;
    let (bytes, shape) = trunk();
    let mut golden = std::io::Cursor::new(Vec::new());
    drawing::picture(0, 0).write_to(&mut golden, image::ImageFormat::Png)?;
    let parts = Parts {
        name: "tiny",
        trunk: &bytes,
        shape: &shape,
        parameters: &parameters,
        vocabulary: &vocabulary,
        evidence: None,
        detector: None,
        slots: 16,
        precision,
        decoding: Decoding { beam: 3, length_normalisation: 0.7, max_words: 12 },
        golden: golden.get_ref(),
        training: serde_json::Value::Null,
    };
    export::write(&parts, out)?;
    Ok(())
}
