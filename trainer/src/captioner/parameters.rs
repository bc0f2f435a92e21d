//! The captioner's parameters: names, shapes, initialization, and safetensors files.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Result, Tensor, Var};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Widths of the captioner's layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sizes {
    /// Channels of the trunk's feature map.
    pub trunk: usize,
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
}

impl Sizes {
    /// Width of z = [h; c; e], the head's input.
    #[must_use]
    pub fn feature(&self) -> usize {
        self.state + self.token + self.word
    }
}

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
fn layout(s: &Sizes) -> Vec<(&'static str, Vec<usize>, Start)> {
    use Start::{FanIn, One, Uniform, Zero};
    vec![
        ("projection.weight", vec![s.trunk, s.token], FanIn(s.trunk)),
        ("projection.bias", vec![s.token], Zero),
        ("norm.weight", vec![s.token], One),
        ("norm.bias", vec![s.token], Zero),
        ("key.weight", vec![s.token, s.key], FanIn(s.token)),
        ("start.weight", vec![s.token, s.state], FanIn(s.token)),
        ("start.bias", vec![s.state], Zero),
        ("word.weight", vec![s.vocabulary, s.word], Uniform(0.1)),
        ("query.weight", vec![s.state, s.key], FanIn(s.state)),
        ("query.bias", vec![s.key], Zero),
        ("energy.weight", vec![s.key], FanIn(s.key)),
        ("gru.input.weight", vec![s.word + s.token, 3 * s.state], FanIn(s.word + s.token)),
        ("gru.input.bias", vec![3 * s.state], Zero),
        ("gru.state.weight", vec![s.state, 3 * s.state], FanIn(s.state)),
        ("gru.state.bias", vec![3 * s.state], Zero),
        ("head.fc1.weight", vec![s.hidden, s.feature()], FanIn(s.feature())),
        ("head.fc1.bias", vec![s.hidden], Zero),
        ("head.fc2.weight", vec![s.vocabulary, s.hidden], FanIn(s.hidden)),
        ("head.fc2.bias", vec![s.vocabulary], Zero),
    ]
}

/// The captioner's parameters, in a fixed order.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// The widths that they were made for.
    pub sizes: Sizes,
    entries: Vec<(&'static str, Var)>,
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
                let Some(tensor) = tensors.get(name) else {
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
            self.entries.iter().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("no parameter {name}"));
        var.as_tensor()
    }

    /// Names and variables, in their fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Var)> {
        self.entries.iter().map(|(name, var)| (*name, var))
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
            token: width("projection.weight", 1)?,
            key: width("key.weight", 1)?,
            state: width("start.weight", 1)?,
            word: width("word.weight", 1)?,
            hidden: width("head.fc1.weight", 0)?,
            vocabulary: width("head.fc2.weight", 0)?,
        };
        Self::from_tensors(sizes, &tensors, DType::F32, device)
    }
}
