//! Writes what the runtime computes for some pictures, for `tests/parity/onnxruntime_parity.py` to compare with.
//!
//! For picture number n: `n.image.f32`, `n.tokens.f32`, `n.keys.f32`, `n.state.f32`, and `n.logits.f32` along the greedy
//! caption, a row a step; of a bundle with concepts also `n.phi.f32`, `n.concepts.f32`, `n.confidence.f32`, and `n.pointer.f32` and
//! `n.attention.f32` like the logits. Of the first pictures there are `n.images.f32` and `n.output.f32`, the detector's. All are
//! little-endian; `index.json` holds every picture's name and words.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;
use metalens::engine::Session;
use metalens::evidence::Evidence;
use metalens::vision::{self, Preprocessor};
use metalens_models::{Bundle, DetectorShape, TokenId, Vocabulary};
use metalens_tests::graphs::Graphs;
use metalens_trainer::corpus::{self, Format};

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    bundle: PathBuf,
    #[arg(long)]
    data: PathBuf,
    #[arg(long, default_value = "flickr")]
    format: Format,
    #[arg(long, default_value_t = 100)]
    count: usize,
    #[arg(long)]
    out: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let bundle = Bundle::open(&arguments.bundle)?;
    let vocabulary = bundle.vocabulary()?;
    let mut graphs = Graphs::open(&bundle)?;
    let evidence = Evidence::load(&bundle, &vocabulary)?;
    let size = bundle.manifest().shapes.concepts;
    let mut preprocessor = Preprocessor::new(bundle.manifest().preprocessing.clone());
    std::fs::create_dir_all(&arguments.out)?;
    let corpus = corpus::read(&arguments.data, arguments.format)?;
    let mut index = Vec::new();
    for (number, picture) in corpus.pictures.iter().rev().take(arguments.count).enumerate() {
        let bytes = std::fs::read(&picture.path).with_context(|| picture.name.clone())?;
        let pixels = preprocessor.run(&vision::decode(&bytes)?).to_vec();
        graphs.encoder.set(0, &pixels)?;
        graphs.encoder.run()?;
        let mut concepts = (vec![0; size], vec![0.0; size]);
        if let Some(evidence) = &evidence {
            // Without classes and things: what is compared are the graphs.
            let found = evidence.concepts(Some(graphs.encoder.output(3)?), None, None);
            for (place, concept) in found.iter().enumerate() {
                concepts.0[place] = i64::from(concept.word.0);
                concepts.1[place] = concept.confidence;
            }
            graphs.decoder.set_i64(4, &concepts.0)?;
            graphs.decoder.set(5, &concepts.1)?;
        }
        let Greedy { words, logits, attention, pointers } =
            greedy(&mut graphs, &vocabulary, bundle.manifest().decoding.max_words)?;
        let save = |what: &str, data: &[f32]| write(&arguments.out, number, what, data);
        save("image", &pixels)?;
        for (place, what) in ["tokens", "keys", "state"].into_iter().enumerate() {
            save(what, graphs.encoder.output(place)?)?;
        }
        save("logits", &logits)?;
        if evidence.is_some() {
            let words: Vec<f32> = concepts.0.iter().map(|&word| word as f32).collect();
            save("phi", graphs.encoder.output(3)?)?;
            save("concepts", &words)?;
            save("confidence", &concepts.1)?;
            save("pointer", &pointers)?;
            save("attention", &attention)?;
        }
        if let (Some(detector), Some(shape)) = (&mut graphs.detector, &bundle.manifest().detector)
            && number < DETECTED
        {
            let images = blown_up(&pixels, bundle.manifest().preprocessing.width, shape);
            detector.set(0, &images)?;
            detector.run()?;
            save("images", &images)?;
            save("output", detector.output(0)?)?;
        }
        index.push(serde_json::json!({ "name": picture.name, "words": words }));
    }
    std::fs::write(arguments.out.join("index.json"), serde_json::to_vec(&index)?)?;
    Ok(())
}

/// Pictures that the detector is compared on: its inputs are large.
const DETECTED: usize = 10;

/// An encoder's input `[3, side, side]` as large as the detector's, 0 … 255: the graph is compared, not how a picture gets to it.
fn blown_up(pixels: &[f32], side: usize, shape: &DetectorShape) -> Vec<f32> {
    let (low, high) = pixels.iter().fold((f32::MAX, f32::MIN), |(low, high), &x| (low.min(x), high.max(x)));
    let cell = |channel: usize, row: usize, column: usize| {
        let (row, column) = (row * side / shape.height, column * side / shape.width);
        255.0 * (pixels[(channel * side + row) * side + column] - low) / (high - low).max(f32::EPSILON)
    };
    let rows = |channel| (0..shape.height).map(move |row| (channel, row));
    let cells = |(channel, row)| (0..shape.width).map(move |column| cell(channel, row, column));
    (0..3).flat_map(rows).flat_map(cells).collect()
}

/// A caption, and what was made on the way to it.
struct Greedy {
    words: Vec<u32>,
    /// Of every step.
    logits: Vec<f32>,
    /// Of every step.
    attention: Vec<f32>,
    /// Of every step, where there are concepts.
    pointers: Vec<f32>,
}

/// The most probable word again and again, with the logits of every step.
fn greedy(graphs: &mut Graphs, vocabulary: &Vocabulary, max_words: usize) -> anyhow::Result<Greedy> {
    let Graphs { encoder, decoder, head, .. } = graphs;
    let copy = |session: &Session, place: usize| session.output(place).map(<[f32]>::to_vec);
    decoder.set(2, encoder.output(0)?)?;
    decoder.set(3, encoder.output(1)?)?;
    let mut state = copy(encoder, 2)?;
    let special = vocabulary.special();
    let (mut words, mut all, mut attention, mut pointers) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut word = special.start;
    while words.len() < max_words {
        decoder.set_i64(0, &[i64::from(word.0)])?;
        decoder.set(1, &state)?;
        decoder.run()?;
        state = copy(decoder, 0)?;
        attention.extend_from_slice(decoder.output(2)?);
        pointers.extend_from_slice(decoder.output(3).unwrap_or_default());
        head.set(0, decoder.output(1)?)?;
        head.run()?;
        let logits = head.output(0)?;
        all.extend_from_slice(logits);
        let allowed = |id: &TokenId| vocabulary.can_be_said(*id) && !(words.is_empty() && *id == special.end);
        let best = (0..logits.len() as u32)
            .map(TokenId)
            .filter(allowed)
            .max_by(|a, b| logits[a.index()].total_cmp(&logits[b.index()]).then(b.cmp(a)));
        word = best.context("no word can be said")?;
        if word == special.end {
            break;
        }
        words.push(word.0);
    }
    Ok(Greedy { words, logits: all, attention, pointers })
}

fn write(folder: &Path, number: usize, what: &str, data: &[f32]) -> anyhow::Result<()> {
    let bytes: Vec<u8> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
    let path = folder.join(format!("{number}.{what}.f32"));
    std::fs::write(&path, bytes).with_context(|| path.display().to_string())
}
