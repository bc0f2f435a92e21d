//! What a bundle carries for comparison, made from the pictures that the body was trained on.

use std::collections::HashSet;

use metalens::adaptation::load::tensor;
use metalens::adaptation::{Head, ReferenceParts, detect};
use metalens_models::Vocabulary;
use ndarray::{Array1, Array2, ArrayView2};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize};

use super::detectors::{self, DetectorConfig, Labelled};
use super::gallery::Gallery;
use super::{Body, Encodings};
use crate::tasks::nouns;

/// Makes the references from encoded pictures and their captions: detectors from all of them, `ordinary` of them, drawn from
/// `seed`, to compare with.
///
/// # Errors
/// When shapes do not fit.
pub fn references(
    body: &Body,
    head: &Head<f32>,
    encodings: &Encodings,
    captions: &[Vec<String>],
    ordinary: usize,
    config: DetectorConfig,
    seed: u64,
) -> anyhow::Result<ReferenceParts<f32>> {
    let vocabulary = body.vocabulary();
    let width = body.bundle().manifest().shapes.token;
    let ids: Vec<Vec<Vec<usize>>> =
        captions.iter().map(|texts| texts.iter().map(|text| known(text, vocabulary)).collect()).collect();
    let bar = indicatif::ProgressBar::new(1).with_style(crate::parallel::bar_style("steps of the detectors"));
    let labelled = Labelled { tokens: &encodings.tokens, width, captions: &ids };
    let candidates = content_words(captions, vocabulary);
    let trained = detectors::train(&labelled, &candidates, config, seed, |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    })?;
    bar.finish_and_clear();
    let detectors = Array2::from_shape_vec((trained.words.len(), 3 * width + 1), trained.weight)?;

    let mut chosen: Vec<usize> = (0..captions.len()).collect();
    chosen.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    chosen.truncate(ordinary);
    chosen.sort_unstable();
    let gallery = Gallery::new(body, head, encodings.select(&chosen))?;
    let count = chosen.len();
    let mut pooled = Array2::zeros((count, width));
    let mut detections = Array2::zeros((count, trained.words.len()));
    let mut said = Array1::zeros(head.words());
    for picture in 0..count {
        let tokens: ArrayView2<f32> = gallery.encodings.view(picture, width);
        pooled.row_mut(picture).assign(&gallery.encodings.pooled(picture, width));
        detections.row_mut(picture).assign(&detect(&detectors, &tokens));
        said += &gallery.said(head, picture);
    }
    Ok(ReferenceParts { pooled, detections, said: said / count as f32, detected: trained.words, detectors })
}

/// The ids of a caption's words that the vocabulary has.
fn known(text: &str, vocabulary: &Vocabulary) -> Vec<usize> {
    metalens::language::words(text)
        .iter()
        .filter_map(|word| vocabulary.id(word))
        .map(|id| id.index())
        .collect()
}

/// The nouns of the captions: words that can be seen.
fn content_words(captions: &[Vec<String>], vocabulary: &Vocabulary) -> Vec<usize> {
    let nouns: HashSet<String> =
        nouns(captions.iter().map(Vec::as_slice)).into_iter().map(|noun| noun.word).collect();
    let mut ids: Vec<usize> =
        nouns.iter().filter_map(|word| vocabulary.id(word)).map(|id| id.index()).collect();
    ids.sort_unstable();
    ids
}

/// `adaptation.safetensors`, the large tensors in f16.
///
/// # Errors
/// When the format refuses a shape.
pub fn to_file(parts: &ReferenceParts<f32>) -> anyhow::Result<Vec<u8>> {
    let half = |x: &[f32]| x.iter().flat_map(|&x| half::f16::from_f32(x).to_le_bytes()).collect::<Vec<u8>>();
    let single = |x: &[f32]| x.iter().flat_map(|&x| x.to_le_bytes()).collect::<Vec<u8>>();
    let words: Vec<u8> = parts.detected.iter().flat_map(|&word| (word as u32).to_le_bytes()).collect();
    let matrix = |x: &Array2<f32>| half(x.as_standard_layout().as_slice().unwrap_or_default());
    let vector = |x: &Array1<f32>| single(x.as_slice().unwrap_or_default());
    let shape = |x: &Array2<f32>| vec![x.nrows(), x.ncols()];
    let tensors = [
        (tensor::POOLED, Dtype::F16, shape(&parts.pooled), matrix(&parts.pooled)),
        (tensor::DETECTIONS, Dtype::F16, shape(&parts.detections), matrix(&parts.detections)),
        (tensor::SAID, Dtype::F32, vec![parts.said.len()], vector(&parts.said)),
        (tensor::WORDS, Dtype::U32, vec![parts.detected.len()], words),
        (tensor::WEIGHT, Dtype::F16, shape(&parts.detectors), matrix(&parts.detectors)),
    ];
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, data)| Ok((*name, TensorView::new(*dtype, shape.clone(), data)?)))
        .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()?;
    Ok(serialize(views, None)?)
}
