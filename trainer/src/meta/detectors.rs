//! Detectors of words: which of the frequent words a picture's captions say, from its visual tokens. `metalens::adaptation`
//! weighs the evidence for a new word by those of the known words that it is like.

use candle_core::{D, Device, Result, Tensor, Var};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::optimiser::{AdamW, Rates, learning_rate};

/// How detectors are trained.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DetectorConfig {
    /// Pictures whose captions must say a word for it to have a detector, as a share of all, in thousandths.
    pub per_mille: usize,
    /// Passes over the pictures.
    pub epochs: usize,
    /// The highest learning rate.
    pub peak_learning_rate: f64,
    /// Share of the visual tokens' numbers that are dropped.
    pub dropout: f32,
}

impl Default for DetectorConfig {
    fn default() -> Self {
        Self { per_mille: 3, epochs: 8, peak_learning_rate: 2e-3, dropout: 0.2 }
    }
}

/// Pictures a step.
const PICTURES: usize = 32;
const WEIGHT_DECAY: f64 = 0.05;
const WARM_UP: f64 = 0.1;
/// So many captions must say a word for it to be certainly there.
const CERTAIN: f32 = 2.0;

/// Visual tokens and the words of captions.
pub struct Labelled<'a> {
    /// `[positions, token]` of each picture.
    pub tokens: &'a [Vec<f32>],
    /// Width of a token.
    pub width: usize,
    /// The words of each picture's captions, a caption each.
    pub captions: &'a [Vec<Vec<usize>>],
}

/// Trained detectors.
pub struct Detectors {
    /// The words that have one.
    pub words: Vec<usize>,
    /// [A b G M] of `metalens::adaptation`'s references, `[words, 3 width + 1]`, row-major.
    pub weight: Vec<f32>,
}

/// Trains detectors of those of `words` that enough pictures' captions say; `step` is called after every step with its number
/// and the number of all.
///
/// # Errors
/// When the device refuses an allocation.
pub fn train(
    labelled: &Labelled,
    candidates: &[usize],
    config: DetectorConfig,
    seed: u64,
    mut step: impl FnMut(usize, usize),
) -> Result<Detectors> {
    let Labelled { tokens, width, captions } = *labelled;
    let says = |picture: usize, word: usize| {
        captions[picture].iter().filter(|caption| caption.contains(&word)).count() as f32
    };
    let fewest = (tokens.len() * config.per_mille).div_ceil(1000).max(2);
    let words: Vec<usize> = candidates
        .iter()
        .copied()
        .filter(|&word| (0..tokens.len()).filter(|&picture| says(picture, word) >= 1.0).count() >= fewest)
        .collect();
    let targets: Vec<Vec<f32>> = (0..tokens.len())
        .map(|picture| words.iter().map(|&word| (says(picture, word) / CERTAIN).min(1.0)).collect())
        .collect();
    let device = Device::Cpu;
    let count = words.len();
    let matrix = || Var::zeros((width, count), candle_core::DType::F32, &device);
    let (local, pooled, highest) = (matrix()?, matrix()?, matrix()?);
    // A word that one picture in a hundred has: where most start.
    let bias = Var::from_tensor(&Tensor::full(-4.6_f32, count, &device)?)?;
    let variables = [&local, &pooled, &highest, &bias];
    let mut optimiser = AdamW::new(variables.into_iter())?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let steps_an_epoch = tokens.len().div_ceil(PICTURES);
    let total = steps_an_epoch * config.epochs;
    let mut order: Vec<usize> = (0..tokens.len()).collect();
    for epoch in 0..config.epochs {
        order.shuffle(&mut rng);
        for (place, pictures) in order.chunks(PICTURES).enumerate() {
            let done = epoch * steps_an_epoch + place;
            let positions = tokens[pictures[0]].len() / width;
            let keep = 1.0 - config.dropout;
            let mut flat = Vec::with_capacity(pictures.len() * positions * width);
            for &picture in pictures {
                // One mask a picture: a feature that is dropped is dropped everywhere.
                let mask: Vec<f32> =
                    (0..width).map(|_| if rng.random::<f32>() < keep { 1.0 / keep } else { 0.0 }).collect();
                let row = tokens[picture].chunks_exact(width);
                flat.extend(row.flat_map(|v| v.iter().zip(&mask).map(|(v, m)| v * m)));
            }
            let v = Tensor::from_vec(flat, (pictures.len(), positions, width), &device)?;
            let logits = logits(&v, [&local, &pooled, &highest, &bias])?;
            let wanted: Vec<f32> =
                pictures.iter().flat_map(|&picture| targets[picture].iter().copied()).collect();
            let wanted = Tensor::from_vec(wanted, (pictures.len(), count), &device)?;
            // Binary cross-entropy: softplus(l) - target l, with softplus(l) = max(l, 0) + log(1 + exp(-|l|)).
            let softplus = (logits.relu()? + (logits.abs()?.neg()?.exp()? + 1.0)?.log()?)?;
            let loss = ((softplus - (&logits * wanted)?)?.sum_all()? / pictures.len() as f64)?;
            let gradients = loss.backward()?;
            let gradients: Vec<Vec<f32>> = variables
                .iter()
                .map(|var| match gradients.get(var) {
                    Some(gradient) => gradient.flatten_all()?.to_vec1(),
                    None => Ok(vec![0.0; var.elem_count()]),
                })
                .collect::<Result<_>>()?;
            let rates = Rates {
                learning_rate: learning_rate(config.peak_learning_rate, WARM_UP, done as f64 / total as f64),
                weight_decay: WEIGHT_DECAY,
                clip: f64::INFINITY,
                average: 0.0,
            };
            optimiser.step(variables.into_iter(), &gradients, rates)?;
            step(done + 1, total);
        }
    }
    let column = |bias: &Var| bias.reshape((count, 1));
    let weight = Tensor::cat(&[&local.t()?, &column(&bias)?, &pooled.t()?, &highest.t()?], 1)?;
    Ok(Detectors { words, weight: weight.flatten_all()?.to_vec1()? })
}

/// l `[pictures, words]` of v `[pictures, positions, width]`.
fn logits(v: &Tensor, [local, pooled, highest, bias]: [&Var; 4]) -> Result<Tensor> {
    let (pictures, positions, width) = v.dims3()?;
    let at = v.reshape((pictures * positions, width))?.matmul(local)?.reshape((pictures, positions, ()))?;
    let top = at.max_keepdim(1)?.detach();
    let local = (at.broadcast_sub(&top)?.exp()?.mean_keepdim(1)?.log()? + top)?.squeeze(1)?;
    let pooled = v.mean(1)?.matmul(pooled)?;
    let highest = v.max(1)?.matmul(highest)?;
    debug_assert_eq!(local.dim(D::Minus1)?, bias.elem_count());
    ((local + pooled)? + highest)?.broadcast_add(bias)
}
