//! What meta-learning would add to the tiny bundle, by hand: a schedule, and ordinary pictures to compare with.

use std::collections::BTreeMap;
use std::path::Path;

use metalens::adaptation::load::tensor;
use metalens::adaptation::{Head, said};
use metalens::vision::Preprocessor;
use metalens_models::{Bundle, Familiarity, InnerLoop, Manifest, NewWordStart};
use ndarray::{Array1, Array2, ArrayView2, Axis};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::drawing;
use crate::graphs::Graphs;

/// Drawings of each kind among the ordinary pictures.
const DRAWINGS: u32 = 8;

/// A schedule for new names of colours. Only likeness with a word's support pictures speaks for it: the tiny captioner's
/// visual vectors tell colours apart, and drawings of the same colour are about 1.5 standard deviations more alike than
/// ordinary ones, those of the others less than 0.4.
#[must_use]
pub fn schedule() -> InnerLoop {
    let evidence = [0.0, 0.0, 4.0, -3.6];
    let plain = InnerLoop::plain(vec![[0.0, 0.5]; 5], Some(0.1));
    InnerLoop {
        new_words: NewWordStart { offset: 1.0, weight: 2.0, ..plain.new_words },
        familiarity: Familiarity {
            known: evidence,
            unknown: evidence,
            slope: 2.0,
            threshold: 8.0,
            ..plain.familiarity
        },
        ..plain
    }
}

/// Writes the bundle in `from`, with `schedule` and the drawings as ordinary pictures, into the new folder `out`.
///
/// # Errors
/// When the bundle is refused or cannot be written.
pub fn add(from: &Path, out: &Path, schedule: InnerLoop) -> anyhow::Result<Manifest> {
    let bundle = Bundle::open(from)?;
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for name in bundle.manifest().files.keys() {
        files.insert(name.clone(), bundle.read(name)?);
    }
    files.insert(metalens_models::file::ADAPTATION.to_owned(), references(&bundle)?);
    let manifest = Manifest { inner_loop: Some(schedule), ..bundle.manifest().clone() };
    Ok(metalens_models::write(out, manifest, &files)?)
}

/// `adaptation.safetensors`, without detectors.
fn references(bundle: &Bundle) -> anyhow::Result<Vec<u8>> {
    let (shapes, head) = (bundle.manifest().shapes, Head::of_bundle(bundle)?);
    let mut graphs = Graphs::open(bundle)?;
    let mut preprocessor = Preprocessor::new(bundle.manifest().preprocessing.clone());
    let (mut pooled, mut usually) = (Vec::new(), Array1::<f32>::zeros(head.words()));
    let pictures = drawing::KINDS * DRAWINGS as usize;
    for kind in 0..drawing::KINDS {
        for place in 0..DRAWINGS {
            graphs.encoder.set(0, preprocessor.run(&drawing::picture(kind, place * 7)))?;
            graphs.encoder.run()?;
            let tokens =
                ArrayView2::from_shape((shapes.positions(), shapes.token), graphs.encoder.output(0)?)?;
            pooled.extend(tokens.mean_axis(Axis(0)).into_iter().flatten());
            let along = greedy(bundle, &mut graphs, &head)?;
            usually += &said(&head.probabilities(&along.view()).view());
        }
    }
    let usually = usually / pictures as f32;
    let floats = |values: &[f32]| values.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let tensors = [
        (tensor::POOLED, Dtype::F32, vec![pictures, shapes.token], floats(&pooled)),
        (tensor::SAID, Dtype::F32, vec![head.words()], floats(&usually.to_vec())),
        (tensor::WORDS, Dtype::U32, vec![0], Vec::new()),
        (tensor::WEIGHT, Dtype::F32, vec![0, 3 * shapes.token + 1], Vec::new()),
        (tensor::DETECTIONS, Dtype::F32, vec![pictures, 0], Vec::new()),
    ];
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, data)| Ok((*name, TensorView::new(*dtype, shape.clone(), data)?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    Ok(safetensors::serialize(views, None)?)
}

/// z `[steps, feature]` along the likeliest words of the picture that was encoded last.
fn greedy(bundle: &Bundle, graphs: &mut Graphs, head: &Head<f32>) -> anyhow::Result<Array2<f32>> {
    let (shapes, special) = (bundle.manifest().shapes, bundle.manifest().special);
    graphs.decoder.set(1, graphs.encoder.output(2)?)?;
    graphs.decoder.set(2, graphs.encoder.output(0)?)?;
    graphs.decoder.set(3, graphs.encoder.output(1)?)?;
    let (mut along, mut word) = (Vec::new(), special.start.index());
    for _ in 0..bundle.manifest().decoding.max_words {
        graphs.decoder.set_i64(0, &[word as i64])?;
        graphs.decoder.run()?;
        let state = graphs.decoder.output(0)?.to_vec();
        graphs.decoder.set(1, &state)?;
        let z = ArrayView2::from_shape((1, shapes.feature), graphs.decoder.output(1)?)?;
        along.extend(z);
        let next = head.probabilities(&z);
        word = (0..head.words()).max_by(|&a, &b| next[[0, a]].total_cmp(&next[[0, b]])).unwrap_or_default();
        if word == special.end.index() {
            break;
        }
    }
    Ok(Array2::from_shape_vec((along.len() / shapes.feature, shapes.feature), along)?)
}
