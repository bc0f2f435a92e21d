//! The captioner's parameters: names, shapes, initialization, and safetensors files.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use candle_core::{DType, Device, Result, Tensor, Var};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::encoder::checkpoint::Weights;
use crate::encoder::{BLOCKS, learned};

/// Widths of the captioner's layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sizes {
    /// Channels of the trunk's feature map.
    pub trunk: usize,
    /// The block of the trunk from which on its layers are learned too; where not given, none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<usize>,
    /// Visual token v.
    pub token: usize,
    /// Attention key k.
    pub key: usize,
    /// Recurrent state h.
    pub state: usize,
    /// Word embedding e.
    pub word: usize,
    /// Hidden layer of the head.
    pub hidden: usize,
    /// Words that can be emitted, special tokens included, slots excluded.
    pub vocabulary: usize,
    /// Whether it looks at concepts, and knows what a slot is: one row more of the embeddings and of the head, for any of them.
    #[serde(default)]
    pub concepts: bool,
}

impl Sizes {
    /// Width of z = [h; c; e], the head's input.
    #[must_use]
    pub fn feature(&self) -> usize {
        self.state + self.token + self.word
    }

    /// Rows of the embeddings and of the head: the words, and the slot's behind them.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.vocabulary + usize::from(self.concepts)
    }
}

/// The visual token of captions without a picture.
pub const NO_PICTURE: &str = "picture.none";

/// How a parameter starts.
#[derive(Clone, Copy)]
enum Start {
    Zero,
    One,
    /// Uniform in ±sqrt(3 / fan_in): variance 1 / fan_in (LeCun et al. 1998, section 4.6).
    FanIn(usize),
    /// Uniform in ±bound.
    Uniform(f32),
}

/// Name, shape and start of every parameter; matrices are `[in, out]`, but for the head's, which are `[out, in]`, so
/// that a word's row is contiguous.
fn layout(s: &Sizes) -> Vec<(String, Vec<usize>, Start)> {
    use Start::{FanIn, One, Uniform, Zero};
    let captioner = vec![
        ("projection.weight", vec![s.trunk, s.token], FanIn(s.trunk)),
        ("projection.bias", vec![s.token], Zero),
        ("norm.weight", vec![s.token], One),
        ("norm.bias", vec![s.token], Zero),
        ("key.weight", vec![s.token, s.key], FanIn(s.token)),
        ("start.weight", vec![s.token, s.state], FanIn(s.token)),
        ("start.bias", vec![s.state], Zero),
        ("word.weight", vec![s.rows(), s.word], Uniform(0.1)),
        ("query.weight", vec![s.state, s.key], FanIn(s.state)),
        ("query.bias", vec![s.key], Zero),
        ("energy.weight", vec![s.key], FanIn(s.key)),
        ("gru.input.weight", vec![s.word + s.token, 3 * s.state], FanIn(s.word + s.token)),
        ("gru.input.bias", vec![3 * s.state], Zero),
        ("gru.state.weight", vec![s.state, 3 * s.state], FanIn(s.state)),
        ("gru.state.bias", vec![3 * s.state], Zero),
        ("head.fc1.weight", vec![s.hidden, s.feature()], FanIn(s.feature())),
        ("head.fc1.bias", vec![s.hidden], Zero),
        ("head.fc2.weight", vec![s.rows(), s.hidden], FanIn(s.hidden)),
        ("head.fc2.bias", vec![s.rows()], Zero),
    ];
    let concepts = vec![
        ("concept.weight", vec![s.word + 1, s.token], FanIn(s.word + 1)),
        ("concept.bias", vec![s.token], Zero),
        ("concept.norm.weight", vec![s.token], One),
        ("concept.norm.bias", vec![s.token], Zero),
        ("pointer.weight", vec![s.feature(), 2], Zero),
        ("pointer.bias", vec![2], Zero),
        (NO_PICTURE, vec![s.token], Uniform(0.1)),
    ];
    let concepts = concepts.into_iter().filter(|_| s.concepts);
    let mut layout: Vec<_> = captioner
        .into_iter()
        .chain(concepts)
        .map(|(name, shape, start)| (name.to_owned(), shape, start))
        .collect();
    for layer in s.cut.map(learned::layers).unwrap_or_default() {
        let shape = learned::shape(&layer).to_vec();
        let fan_in = if layer.depthwise { shape[0] } else { layer.input };
        layout.push((learned::parameter(&layer, "weight"), shape, FanIn(fan_in)));
        layout.push((learned::parameter(&layer, "bias"), vec![layer.output], Zero));
    }
    layout
}

/// The captioner's parameters, in a fixed order.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// The widths that they were made for.
    pub sizes: Sizes,
    entries: Vec<(String, Var)>,
}

impl Parameters {
    /// Fresh parameters; the same seed gives the same values on every machine.
    ///
    /// # Errors
    /// When the device refuses the allocation.
    pub fn new(sizes: Sizes, seed: u64, dtype: DType, device: &Device) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let entries = layout(&sizes)
            .into_iter()
            .map(|(name, shape, start)| {
                let count = shape.iter().product::<usize>();
                let mut uniform =
                    |bound: f32| (0..count).map(|_| (rng.random::<f32>() * 2.0 - 1.0) * bound).collect();
                let data: Vec<f32> = match start {
                    Start::Zero => vec![0.0; count],
                    Start::One => vec![1.0; count],
                    Start::FanIn(fan_in) => uniform((3.0 / fan_in as f32).sqrt()),
                    Start::Uniform(bound) => uniform(bound),
                };
                let tensor = Tensor::from_vec(data, shape, device)?.to_dtype(dtype)?;
                Ok((name, Var::from_tensor(&tensor)?))
            })
            .collect::<Result<_>>()?;
        Ok(Self { sizes, entries })
    }

    /// The same with the trunk's learned layers, where there are any, as `published` has them.
    ///
    /// # Errors
    /// When a layer is missing, or the device refuses the allocation.
    pub fn with_trunk(self, published: impl FnOnce() -> anyhow::Result<Weights>) -> anyhow::Result<Self> {
        let Some(cut) = self.sizes.cut else { return Ok(self) };
        let weights = published()?;
        for layer in learned::layers(cut) {
            let parts = learned::published(&weights, &layer)?;
            for (part, values) in ["weight", "bias"].into_iter().zip(parts) {
                let name = learned::parameter(&layer, part);
                for (_, var) in self.iter().filter(|(found, _)| *found == name) {
                    var.set(&Tensor::from_vec(values.clone(), var.shape(), var.device())?)?;
                }
            }
        }
        Ok(self)
    }

    /// The captioner's own parameters, without the trunk's learned layers.
    #[must_use]
    pub fn without_trunk(mut self) -> Self {
        self.sizes.cut = None;
        self.entries.retain(|(name, _)| !name.starts_with(learned::PREFIX));
        self
    }

    /// Parameters from tensors by name, such as a checkpoint's.
    ///
    /// # Errors
    /// When one is missing or has another shape; the message names it.
    pub fn from_tensors(
        sizes: Sizes,
        tensors: &HashMap<String, Tensor>,
        dtype: DType,
        device: &Device,
    ) -> Result<Self> {
        let entries = layout(&sizes)
            .into_iter()
            .map(|(name, shape, _)| {
                let Some(tensor) = tensors.get(&name) else {
                    candle_core::bail!("parameter {name} is missing");
                };
                if tensor.dims() != shape {
                    candle_core::bail!("parameter {name} has shape {:?}, needed {shape:?}", tensor.dims());
                }
                Ok((name, Var::from_tensor(&tensor.to_device(device)?.to_dtype(dtype)?)?))
            })
            .collect::<Result<_>>()?;
        Ok(Self { sizes, entries })
    }

    /// The parameter called `name`.
    ///
    /// # Panics
    /// When there is none: names are written in this crate only.
    #[must_use]
    pub fn get(&self, name: &str) -> &Tensor {
        let (_, var) =
            self.entries.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("no parameter {name}"));
        var.as_tensor()
    }

    /// Names and variables, in their fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.entries.iter().map(|(name, var)| (name.as_str(), var))
    }

    /// How many numbers they hold.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.iter().map(|(_, var)| var.elem_count()).sum()
    }

    /// The tensors by name, sharing their storage.
    #[must_use]
    pub fn tensors(&self) -> HashMap<String, Tensor> {
        self.iter().map(|(name, var)| (name.to_owned(), var.as_tensor().clone())).collect()
    }

    /// The mean of several checkpoints (Izmailov et al. 2018).
    ///
    /// # Errors
    /// When there is none, a file cannot be read, or they differ in shape.
    pub fn mean(checkpoints: &[PathBuf], device: &Device) -> anyhow::Result<Self> {
        let (first, others) = checkpoints.split_first().context("no checkpoint was given")?;
        let load = |path: &Path| {
            anyhow::ensure!(path.is_file(), "{}: no such checkpoint", path.display());
            Self::load(path, device).with_context(|| path.display().to_string())
        };
        let sum = load(first)?;
        for path in others {
            let other = load(path)?;
            anyhow::ensure!(
                other.sizes == sum.sizes,
                "{}: other sizes than {}",
                path.display(),
                first.display()
            );
            for ((_, sum), (_, other)) in sum.iter().zip(other.iter()) {
                sum.set(&(sum.as_tensor() + other.as_tensor())?)?;
            }
        }
        for (_, var) in sum.iter() {
            var.set(&(var.as_tensor() / checkpoints.len() as f64)?)?;
        }
        Ok(sum)
    }

    /// Reads parameters from a safetensors file whose shapes tell the sizes.
    ///
    /// # Errors
    /// When the file is unreadable or lacks a parameter.
    pub fn load(path: &Path, device: &Device) -> Result<Self> {
        let tensors = candle_core::safetensors::load(path, device)?;
        let width = |name: &str, axis: usize| match tensors.get(name).map(Tensor::dims) {
            Some(dims) if axis < dims.len() => Ok(dims[axis]),
            _ => candle_core::bail!("{}: parameter {name} is missing", path.display()),
        };
        let sizes = Sizes {
            trunk: width("projection.weight", 0)?,
            cut: (0..BLOCKS).find(|&block| learned::begins_at(block, |name| tensors.contains_key(name))),
            token: width("projection.weight", 1)?,
            key: width("key.weight", 1)?,
            state: width("start.weight", 1)?,
            word: width("word.weight", 1)?,
            hidden: width("head.fc1.weight", 0)?,
            vocabulary: width("head.fc2.weight", 0)? - usize::from(tensors.contains_key(NO_PICTURE)),
            concepts: tensors.contains_key(NO_PICTURE),
        };
        Self::from_tensors(sizes, &tensors, DType::F32, device)
    }
}
