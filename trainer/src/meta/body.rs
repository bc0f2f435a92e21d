//! The body of a bundle, batched: what the runtime does picture by picture, for hundreds of pictures at a time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use candle_core::{DType, Device, Tensor};
use metalens::engine::{self, Constant};
use metalens::language::words;
use metalens::vision::{self, Encoder};
use metalens_models::{Bundle, Vocabulary, file};
use ndarray::{Array1, Array2, ArrayView2};

use crate::captioner::{Batch, Captioner, Encoded, PackedCaptions, Parameters, Sizes};
use crate::features::Features;
use crate::parallel;
use crate::vocabulary::{END, START, UNKNOWN};

/// The frozen part of a bundle's captioner.
pub struct Body {
    bundle: Bundle,
    vocabulary: Vocabulary,
    parameters: Parameters,
}

/// Pictures, as the encoder sees them; row-major and of one size each.
#[derive(Clone, Debug, Default)]
pub struct Encodings {
    /// Visual tokens `[positions, token]` of each picture.
    pub tokens: Vec<Vec<f32>>,
    /// Their keys `[positions, key]`.
    pub keys: Vec<Vec<f32>>,
    /// The decoder's initial state `[state]`.
    pub states: Vec<Vec<f32>>,
}

/// What the decoder makes of a caption that it is made to read.
#[derive(Clone, Debug)]
pub struct Taught {
    /// z `[words + 1, feature]`.
    pub z: Array2<f32>,
    /// The word after each, the end last.
    pub targets: Vec<usize>,
}

/// Pictures captioned at a time.
const PICTURES: usize = 64;
/// Captions read at a time.
const CAPTIONS: usize = 128;

impl Body {
    /// Reads the parameters of the bundle in `folder`.
    ///
    /// # Errors
    /// When the bundle is refused, or its graphs were not written by this trainer.
    pub fn open(folder: &Path) -> anyhow::Result<Self> {
        let bundle = Bundle::open(folder)?;
        let mut tensors = HashMap::new();
        for name in [file::ENCODER, file::DECODER, file::HEAD] {
            for (parameter, Constant { shape, values }) in engine::constants(&bundle.read(name)?, name)? {
                tensors.insert(parameter, Tensor::from_vec(values, shape, &Device::Cpu)?);
            }
        }
        let shapes = bundle.manifest().shapes;
        let known = bundle.manifest().special.slots.first.index();
        let trunk = match tensors.get("projection.weight").map(Tensor::dims) {
            Some(&[trunk, _]) => trunk,
            _ => anyhow::bail!("{}: {} holds no projection.weight", folder.display(), file::ENCODER),
        };
        let sizes = Sizes {
            trunk,
            cut: None,
            token: shapes.token,
            key: shapes.key,
            state: shapes.state,
            word: shapes.word,
            hidden: shapes.hidden,
            vocabulary: known,
            concepts: false,
        };
        // The graphs have rows for slots, which the trainer's parameters have not.
        for name in ["word.weight", "head.fc2.weight", "head.fc2.bias"] {
            if let Some(tensor) = tensors.get_mut(name) {
                *tensor = tensor.narrow(0, 0, known)?;
            }
        }
        if let Some(energy) = tensors.get_mut("energy.weight") {
            *energy = energy.flatten_all()?;
        }
        let parameters = Parameters::from_tensors(sizes, &tensors, DType::F32, &Device::Cpu)
            .with_context(|| folder.display().to_string())?;
        Ok(Self { vocabulary: bundle.vocabulary()?, bundle, parameters })
    }

    /// The bundle.
    #[must_use]
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// The bundle's words.
    #[must_use]
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The ids of a caption's words, cut to the longest that the bundle says. `new_words`, sorted, take the slots in their order.
    #[must_use]
    pub fn ids(&self, caption: &str, new_words: &[String]) -> Vec<u32> {
        let first = self.parameters.sizes.vocabulary;
        let id = |word: String| {
            let known = self.vocabulary.id(&word).filter(|&id| self.vocabulary.can_be_said(id));
            let slot = || new_words.binary_search(&word).ok().map(|slot| (first + slot) as u32);
            known.map(|id| id.0).or_else(slot).unwrap_or(UNKNOWN)
        };
        words(caption).into_iter().take(self.bundle.manifest().decoding.max_words).map(id).collect()
    }

    /// The bundle's parameters.
    #[must_use]
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Encodes the pictures in `files` as a device would, on all cores.
    ///
    /// # Errors
    /// When a picture cannot be decoded, or `stop` is set.
    pub fn encode(&self, files: &[PathBuf], stop: &AtomicBool) -> anyhow::Result<Encodings> {
        let graph = vision::load_encoder(&self.bundle)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let done = parallel::map(files, cores, "pictures encoded", stop, || {
            let mut encoder = Encoder::new(&graph, self.bundle.manifest())?;
            Ok(move |path: &PathBuf| {
                let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
                let picture = vision::decode(&bytes).with_context(|| path.display().to_string())?;
                encoder.preprocess(&picture)?;
                encoder.encode()?;
                let seen = encoder.tokens()?;
                Ok([seen.tokens.to_vec(), seen.keys.to_vec(), seen.state.to_vec()])
            })
        })?;
        let mut encodings = Encodings::default();
        for [tokens, keys, state] in done {
            encodings.tokens.push(tokens);
            encodings.keys.push(keys);
            encodings.states.push(state);
        }
        Ok(encodings)
    }

    /// Encodes pictures of a prepared folder, whose trunk must be the bundle's.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn encode_prepared(&self, features: &Features, pictures: &[usize]) -> anyhow::Result<Encodings> {
        let captioner = Captioner::new(&self.parameters);
        let shapes = self.bundle.manifest().shapes;
        let mut encodings = Encodings::default();
        for pictures in pictures.chunks(PICTURES) {
            let mut flat = Vec::new();
            pictures.iter().for_each(|&picture| features.extend(picture, 0, &mut flat));
            let shape = (pictures.len(), shapes.positions(), self.parameters.sizes.trunk);
            let encoded = captioner.encode(&Tensor::from_vec(flat, shape, &Device::Cpu)?, &mut None)?;
            let rows = |tensor: &Tensor| {
                let flat: Vec<f32> = tensor.flatten_all()?.to_vec1()?;
                let width = flat.len() / pictures.len();
                anyhow::Ok(flat.chunks_exact(width).map(<[f32]>::to_vec).collect::<Vec<_>>())
            };
            encodings.tokens.extend(rows(&encoded.tokens)?);
            encodings.keys.extend(rows(&encoded.keys)?);
            encodings.states.extend(rows(&encoded.state)?);
        }
        Ok(encodings)
    }

    /// Captions of pictures of a prepared folder, for a body that learns; pairs of a place there and its words' ids.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn batch(&self, features: &Features, captions: &[(usize, Vec<u32>)]) -> candle_core::Result<Batch> {
        let mut pictures: Vec<usize> = captions.iter().map(|(picture, _)| *picture).collect();
        pictures.sort_unstable();
        pictures.dedup();
        let mut flat = Vec::new();
        pictures.iter().for_each(|&picture| features.extend(picture, 0, &mut flat));
        let shape = (pictures.len(), self.bundle.manifest().shapes.positions(), self.parameters.sizes.trunk);
        let of_row: Vec<u32> = captions
            .iter()
            .map(|(picture, _)| pictures.binary_search(picture).unwrap_or_default() as u32)
            .collect();
        let words: Vec<&[u32]> = captions.iter().map(|(_, words)| words.as_slice()).collect();
        let mut packed = PackedCaptions::new(&words, START, END);
        packed.inputs = self.known(&packed.inputs);
        Ok(Batch::new(Tensor::from_vec(flat, shape, &Device::Cpu)?, &of_row, packed))
    }

    fn tensors(&self, encodings: &Encodings, pictures: &[usize]) -> candle_core::Result<Encoded> {
        let gather = |rows: &[Vec<f32>], inner: &[usize]| {
            let mut flat = Vec::with_capacity(pictures.len() * rows[pictures[0]].len());
            pictures.iter().for_each(|&picture| flat.extend_from_slice(&rows[picture]));
            let shape: Vec<usize> = std::iter::once(pictures.len()).chain(inner.iter().copied()).collect();
            Tensor::from_vec(flat, shape, &Device::Cpu)
        };
        let shapes = self.bundle.manifest().shapes;
        Ok(Encoded {
            tokens: gather(&encodings.tokens, &[shapes.positions(), shapes.token])?,
            keys: gather(&encodings.keys, &[shapes.positions(), shapes.key])?,
            state: gather(&encodings.states, &[shapes.state])?,
        })
    }

    /// Makes the decoder read captions: `captions` are pairs of a picture's place in `encodings` and its words' ids. Ids
    /// beyond the known words are slots.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn teach(
        &self,
        encodings: &Encodings,
        captions: &[(usize, Vec<u32>)],
    ) -> anyhow::Result<Vec<Taught>> {
        let captioner = Captioner::new(&self.parameters);
        let mut taught: Vec<Option<Taught>> = vec![None; captions.len()];
        for (chunk, captions) in captions.chunks(CAPTIONS).enumerate() {
            let mut pictures: Vec<usize> = captions.iter().map(|(picture, _)| *picture).collect();
            pictures.sort_unstable();
            pictures.dedup();
            let encoded = self.tensors(encodings, &pictures)?;
            let words: Vec<&[u32]> = captions.iter().map(|(_, words)| words.as_slice()).collect();
            let packed = PackedCaptions::new(&words, START, END);
            let of_row: Vec<u32> = packed
                .order
                .iter()
                .map(|&row| pictures.binary_search(&captions[row].0).unwrap_or_default() as u32)
                .collect();
            let packed = PackedCaptions { inputs: self.known(&packed.inputs), ..packed };
            let z = captioner.read(&packed, &encoded, None, &of_row, &mut None)?;
            let width = z.dim(1)?;
            let z: Vec<f32> = z.flatten_all()?.to_vec1()?;
            for (row, places) in packed.places().into_iter().enumerate() {
                let flat = places.iter().flat_map(|place| &z[place * width..][..width]).copied().collect();
                let z = Array2::from_shape_vec((places.len(), width), flat)?;
                let targets = places.iter().map(|&place| packed.targets[place] as usize).collect();
                taught[chunk * CAPTIONS + row] = Some(Taught { z, targets });
            }
        }
        Ok(taught.into_iter().flatten().collect())
    }

    /// Captions pictures, all at once: `next` is given z `[rows, feature]` and the place in `pictures` of each row, and
    /// chooses each row's next word. A caption ends with the end, or after `max_words` words.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn say(
        &self,
        encodings: &Encodings,
        pictures: &[usize],
        max_words: usize,
        mut next: impl FnMut(&ArrayView2<f32>, &[usize], Length) -> Vec<u32>,
    ) -> anyhow::Result<Vec<Said>> {
        let captioner = Captioner::new(&self.parameters);
        let mut said = vec![Said::default(); pictures.len()];
        for (chunk, pictures) in pictures.chunks(PICTURES).enumerate() {
            let first = chunk * PICTURES;
            let encoded = self.tensors(encodings, pictures)?;
            let mut state = encoded.state.clone();
            let mut speaking: Vec<u32> = (0..pictures.len() as u32).collect();
            let mut words = vec![START; pictures.len()];
            for length in 0..max_words {
                let step = captioner.step(&self.known(&words), &state, &encoded, None, &speaking)?;
                let (rows, width) = step.z.dims2()?;
                let z = Array2::from_shape_vec((rows, width), step.z.flatten_all()?.to_vec1()?)?;
                let places: Vec<usize> = speaking.iter().map(|&row| first + row as usize).collect();
                let chosen = next(&z.view(), &places, Length(length));
                let (mut kept, mut kept_rows) = (Vec::new(), Vec::new());
                words.clear();
                for (row, (&word, &place)) in chosen.iter().zip(&places).enumerate() {
                    said[place].z.push(z.row(row).to_owned());
                    if word != END {
                        said[place].words.push(word);
                        words.push(word);
                        kept.push(speaking[row]);
                        kept_rows.push(row as u32);
                    }
                }
                if kept.is_empty() {
                    break;
                }
                let index = Tensor::from_slice(&kept_rows, kept_rows.len(), &Device::Cpu)?;
                state = step.state.index_select(&index, 0)?;
                speaking = kept;
            }
        }
        Ok(said)
    }

    /// Slots are read as the unknown word, like the exported decoder reads them.
    fn known(&self, words: &[u32]) -> Vec<u32> {
        let known = self.parameters.sizes.vocabulary as u32;
        words.iter().map(|&word| if word < known { word } else { UNKNOWN }).collect()
    }
}

/// Parameters with variables of their own.
pub(super) fn fresh(parameters: &Parameters) -> candle_core::Result<Parameters> {
    let copy = |(name, tensor): (String, Tensor)| Ok((name, tensor.copy()?));
    let tensors = parameters.tensors().into_iter().map(copy).collect::<candle_core::Result<_>>()?;
    Parameters::from_tensors(parameters.sizes, &tensors, DType::F32, &Device::Cpu)
}

/// Words that a caption has so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length(pub usize);

/// A caption that the body was driven to.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Its words.
    pub words: Vec<u32>,
    /// z `[feature]` at each of them, and at the end.
    pub z: Vec<Array1<f32>>,
}
