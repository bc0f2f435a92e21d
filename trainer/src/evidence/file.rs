//! Evidence for the words of captions, and its file in a run's folder.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use candle_core::{Device, Tensor};
use half::f16;
use half::slice::HalfFloatSliceExt;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::fit::NEVER;
use super::{Fitting, Linear, Phi, fit};
use crate::parallel::bar_style;

/// Where the words stand in the file.
const WORDS: &str = "words";

/// What tells how probable it is that people say a word of a picture.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The ids of the words, one a row.
    pub words: Vec<u32>,
    /// From a map to phi.
    pub phi: Phi,
    /// From phi to log-odds, learned from all training pictures.
    pub linear: Linear,
    /// `[views, rows]`, of every view of every picture; those of a training picture were told by rows that have not seen it.
    log_odds: Vec<f16>,
}

/// What evidence is learned from.
pub struct Examples<'a> {
    /// The words that get a row.
    pub words: Vec<u32>,
    /// Pooled maps `[views, 2 channels]` of every view of every picture.
    pub pooled: &'a Tensor,
    /// The views of each training picture.
    pub training: Vec<Vec<usize>>,
    /// The share of each training picture's captions that say each word, `[training, rows]`.
    pub shares: Tensor,
}

impl Evidence {
    /// Learns evidence, `folds` times on all training pictures but one part, to tell of that part, and once on all.
    ///
    /// # Errors
    /// When there are too few pictures, or `stop` was set.
    pub fn learn(
        examples: Examples,
        width: usize,
        folds: usize,
        fitting: &Fitting,
        seed: u64,
        stop: &AtomicBool,
    ) -> anyhow::Result<Self> {
        let Examples { words, pooled, training, shares } = examples;
        let rows_of = |keep: &dyn Fn(usize) -> bool| -> (Vec<u32>, Vec<u32>) {
            let kept = training.iter().enumerate().filter(|(picture, _)| keep(*picture));
            kept.flat_map(|(picture, views)| views.iter().map(move |&view| (view as u32, picture as u32)))
                .unzip()
        };
        let take = |of: &Tensor, rows: &[u32]| {
            of.index_select(&Tensor::from_slice(rows, rows.len(), &Device::Cpu)?, 0)
        };
        let (all, pictures) = rows_of(&|_| true);
        let phi = Phi::fit(&take(pooled, &all)?, width)?;
        let seen = phi.of(pooled)?;
        let bar = indicatif::ProgressBar::new(folds as u64 + 1).with_style(bar_style("evidence"));
        let linear = fit(&take(&seen, &all)?, &take(&shares, &pictures)?, fitting, seed)?;
        bar.inc(1);
        let mut log_odds = linear.log_odds(&seen)?.flatten_all()?.to_vec1::<f32>()?;
        for fold in 0..folds {
            anyhow::ensure!(!stop.load(Ordering::Relaxed), "interrupted while evidence was learned");
            let (others, pictures) = rows_of(&|picture| picture % folds != fold);
            let linear = fit(&take(&seen, &others)?, &take(&shares, &pictures)?, fitting, seed)?;
            let (held_out, _) = rows_of(&|picture| picture % folds == fold);
            if !held_out.is_empty() {
                let told: Vec<f32> = linear.log_odds(&take(&seen, &held_out)?)?.flatten_all()?.to_vec1()?;
                for (view, told) in held_out.iter().zip(told.chunks_exact(words.len())) {
                    log_odds[*view as usize * words.len()..][..words.len()].copy_from_slice(told);
                }
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        let prior: Vec<f32> = shares.mean(0)?.clamp(NEVER, 1.0 - NEVER)?.to_vec1()?;
        let prior: Vec<f32> = prior.iter().map(|p| (p / (1.0 - p)).ln()).collect();
        let shares: Vec<Vec<f32>> = shares.to_vec2()?;
        let (mut told, mut prior_told) = (0.0, 0.0);
        for (views, shares) in training.iter().zip(&shares) {
            let odds = &log_odds[views[0] * words.len()..][..words.len()];
            told += logistic_loss(odds, shares);
            prior_told += logistic_loss(&prior, shares);
        }
        let _ = metalens::cli::say(format_args!(
            "evidence for {} words: {:.2} nats a picture that it has not seen, {:.2} by how often each is said",
            words.len(),
            told / training.len() as f64,
            prior_told / training.len() as f64
        ));
        let log_odds = log_odds.into_iter().map(f16::from_f32).collect();
        Ok(Self { words, phi, linear, log_odds })
    }

    /// The log-odds `[rows]` of a view, counted over all views of all pictures.
    ///
    /// # Panics
    /// When there is no such view.
    #[must_use]
    pub fn log_odds_of(&self, view: usize) -> Vec<f32> {
        self.log_odds[view * self.words.len()..][..self.words.len()].to_f32_vec()
    }

    fn tensors(&self) -> [(&'static str, &Tensor); 4] {
        [
            (metalens::evidence::tensor::WEIGHT, &self.linear.weight),
            (metalens::evidence::tensor::BIAS, &self.linear.bias),
            ("phi.projection", &self.phi.projection),
            ("phi.offset", &self.phi.offset),
        ]
    }

    /// Writes it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut parts: Vec<(&str, Vec<usize>, Dtype, Vec<u8>)> = Vec::new();
        for (name, tensor) in self.tensors() {
            let numbers: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
            let bytes = numbers.iter().flat_map(|x| x.to_le_bytes()).collect();
            parts.push((name, tensor.dims().to_vec(), Dtype::F32, bytes));
        }
        let views = self.log_odds.len() / self.words.len().max(1);
        let bytes = self.log_odds.iter().flat_map(|x| x.to_le_bytes()).collect();
        parts.push(("log_odds", vec![views, self.words.len()], Dtype::F16, bytes));
        let bytes = self.words.iter().flat_map(|word| word.to_le_bytes()).collect();
        parts.push((WORDS, vec![self.words.len()], Dtype::U32, bytes));
        let views = parts
            .iter()
            .map(|(name, shape, dtype, bytes)| Ok((*name, TensorView::new(*dtype, shape.clone(), bytes)?)))
            .collect::<anyhow::Result<HashMap<_, _>>>()?;
        Ok(metalens_models::replace(path, &safetensors::serialize(views, None)?)?)
    }

    /// Reads what [`Self::write`] wrote for so many views of pictures.
    ///
    /// # Errors
    /// When the file is unreadable or lacks a part.
    pub fn read(path: &Path, views: usize) -> anyhow::Result<Self> {
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        Self::parse(&bytes, views).with_context(|| path.display().to_string())
    }

    fn parse(bytes: &[u8], views: usize) -> anyhow::Result<Self> {
        let file = SafeTensors::deserialize(bytes)?;
        let tensor = |name: &str| {
            let view = file.tensor(name)?;
            let numbers = view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
            anyhow::Ok(Tensor::from_vec::<_, f32>(numbers, view.shape(), &Device::Cpu)?)
        };
        let words = file.tensor(WORDS)?;
        let words: Vec<u32> = words.data().as_chunks().0.iter().map(|&x| u32::from_le_bytes(x)).collect();
        let log_odds = file.tensor("log_odds")?;
        anyhow::ensure!(
            log_odds.shape() == [views, words.len()],
            "evidence of {:?} views and words, needed [{views}, {}]; the prepared folder has changed",
            log_odds.shape(),
            words.len()
        );
        Ok(Self {
            log_odds: log_odds.data().as_chunks().0.iter().map(|&x| f16::from_le_bytes(x)).collect(),
            words,
            phi: Phi { projection: tensor("phi.projection")?, offset: tensor("phi.offset")? },
            linear: Linear {
                weight: tensor(metalens::evidence::tensor::WEIGHT)?,
                bias: tensor(metalens::evidence::tensor::BIAS)?,
            },
        })
    }
}

/// Σ_w log(1 + exp(e_w)) - share_w e_w, in nats.
fn logistic_loss(log_odds: &[f32], shares: &[f32]) -> f64 {
    let one = |(&e, &share): (&f32, &f32)| f64::from(e.max(0.0) + (-e.abs()).exp().ln_1p() - share * e);
    log_odds.iter().zip(shares).map(one).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Ten pictures of two views; word 7 is said of those whose first channel is high, but for picture 4.
    fn learned(folds: usize) -> Evidence {
        let numbers: Vec<f32> =
            (0..20).flat_map(|view| [f32::from(u8::from(view % 4 < 2)), (view as f32).sin(), 0.0]).collect();
        let pooled = Tensor::from_vec(numbers, (20, 3), &Device::Cpu).unwrap();
        let shares: Vec<f32> =
            (0..10).map(|picture| f32::from(u8::from(picture % 2 == 0 && picture != 4))).collect();
        let examples = Examples {
            words: vec![7],
            pooled: &pooled,
            training: (0..10).map(|picture| vec![2 * picture, 2 * picture + 1]).collect(),
            shares: Tensor::from_vec(shares, (10, 1), &Device::Cpu).unwrap(),
        };
        let fitting =
            Fitting { epochs: 40, pictures: 4, peak_learning_rate: 0.05, weight_decay: 0.0, dropout: 0.0 };
        Evidence::learn(examples, 2, folds, &fitting, 3, &AtomicBool::new(false)).unwrap()
    }

    #[test]
    fn pictures_are_told_apart_by_rows_that_have_not_seen_them() {
        let (evidence, told_by_all) = (learned(5), learned(0));
        let mean = |yes: bool| {
            let views = (0..20).filter(|view| view / 2 != 4 && (view % 4 < 2) == yes);
            let odds: Vec<f32> = views.map(|view| evidence.log_odds_of(view)[0]).collect();
            odds.iter().sum::<f32>() / odds.len() as f32
        };
        assert!(mean(true) > mean(false) + 1.0, "{} {}", mean(true), mean(false));
        // Who has seen an exception knows of it.
        assert!(evidence.log_odds_of(8)[0] > told_by_all.log_odds_of(8)[0] + 0.1);
    }

    #[test]
    fn evidence_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("evidence.safetensors");
        let evidence = learned(2);
        evidence.write(&path).unwrap();
        let read = Evidence::read(&path, 20).unwrap();
        assert_eq!(read.words, [7]);
        assert_eq!(read.log_odds_of(3), evidence.log_odds_of(3));
        for ((_, a), (_, b)) in read.tensors().iter().zip(evidence.tensors()) {
            assert_eq!(
                a.flatten_all().unwrap().to_vec1::<f32>().unwrap(),
                b.flatten_all().unwrap().to_vec1::<f32>().unwrap()
            );
        }
        let error = format!("{:#}", Evidence::read(&path, 19).unwrap_err());
        assert!(error.contains("evidence.safetensors") && error.contains("has changed"), "{error}");
    }
}
