//! The body of a bundle, batched: what the runtime does picture by picture, for hundreds of pictures at a time.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use candle_core::{DType, Device, Tensor};
use metalens::adaptation::Lifted;
use metalens::engine::{self, Constant};
use metalens::evidence::Concept;
use metalens::language::words;
use metalens::vision::{self, Encoder};
use metalens_models::{Bundle, TokenId, Vocabulary, file};
use ndarray::Array2;

use super::concepts::Finder;
use crate::captioner::{
    Batch, Captioner, ConceptRows, Encoded, EncodedConcepts, NO_PICTURE, PackedCaptions, Parameters, Sizes,
};
use crate::features::Features;
use crate::parallel;
use crate::vocabulary::{END, START, UNKNOWN};

/// The frozen part of a bundle's captioner.
pub struct Body {
    bundle: Bundle,
    vocabulary: Vocabulary,
    parameters: Parameters,
    /// What finds concepts, where it looks at them.
    finder: Option<Finder>,
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
    /// What the decoder reads beside them, as a device would choose it; nothing for a bundle without concepts.
    pub concepts: Vec<Vec<Concept>>,
}

impl Encodings {
    /// The concepts of each of these pictures.
    #[must_use]
    pub fn shown(&self, pictures: &[usize]) -> Vec<&[Concept]> {
        pictures.iter().map(|&picture| self.concepts[picture].as_slice()).collect()
    }
}

/// What the decoder makes of a caption that it is made to read.
#[derive(Clone, Debug)]
pub struct Taught {
    /// z `[words + 1, feature]`.
    pub z: Array2<f32>,
    /// The word after each, the end last.
    pub targets: Vec<usize>,
}

/// Pictures encoded at a time.
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
            concepts: shapes.concepts > 0,
        };
        // The graphs have a row for each slot; the trainer's parameters have one for all of them, alike as these are, or none.
        for name in ["word.weight", "head.fc2.weight", "head.fc2.bias"] {
            if let Some(tensor) = tensors.get_mut(name) {
                *tensor = match tensor.dim(0)? {
                    found if found < sizes.rows() => tensor.pad_with_zeros(0, 0, sizes.rows() - found)?,
                    _ => tensor.narrow(0, 0, sizes.rows())?,
                };
            }
        }
        // No graph looks at no picture.
        tensors.insert(NO_PICTURE.to_owned(), Tensor::zeros(sizes.token, DType::F32, &Device::Cpu)?);
        if let Some(energy) = tensors.get_mut("energy.weight") {
            *energy = energy.flatten_all()?;
        }
        let parameters = Parameters::from_tensors(sizes, &tensors, DType::F32, &Device::Cpu)
            .with_context(|| folder.display().to_string())?;
        let vocabulary = bundle.vocabulary()?;
        Ok(Self { finder: Finder::open(&bundle, &vocabulary)?, vocabulary, bundle, parameters })
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
        let finder = self.finder.as_ref();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let done = parallel::map(files, cores, "pictures encoded", stop, || {
            let mut encoder = Encoder::new(&graph, self.bundle.manifest())?;
            let mut detector = finder.map(Finder::detector).transpose()?.flatten();
            Ok(move |path: &PathBuf| {
                let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
                let picture = vision::decode(&bytes).with_context(|| path.display().to_string())?;
                encoder.preprocess(&picture)?;
                encoder.encode()?;
                let seen = encoder.tokens()?;
                let concepts = match finder {
                    None => Vec::new(),
                    Some(finder) => finder.of_picture(&picture, &encoder, detector.as_mut())?,
                };
                Ok(([seen.tokens.to_vec(), seen.keys.to_vec(), seen.state.to_vec()], concepts))
            })
        })?;
        let mut encodings = Encodings::default();
        for ([tokens, keys, state], concepts) in done {
            encodings.tokens.push(tokens);
            encodings.keys.push(keys);
            encodings.states.push(state);
            encodings.concepts.push(concepts);
        }
        Ok(encodings)
    }

    /// Encodes pictures of a prepared folder, whose trunk must be the bundle's, and where the bundle needs them its classes and its
    /// detector too.
    ///
    /// # Errors
    /// When shapes do not fit, or the folder lacks what concepts are found by.
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
            encodings.concepts.extend(self.concepts_of(features, pictures)?);
        }
        Ok(encodings)
    }

    /// The concepts of pictures of a prepared folder; nothing where the bundle has none.
    fn concepts_of(&self, features: &Features, pictures: &[usize]) -> anyhow::Result<Vec<Vec<Concept>>> {
        match &self.finder {
            None => Ok(vec![Vec::new(); pictures.len()]),
            Some(finder) => finder.of_prepared(features, pictures),
        }
    }

    /// Captions of pictures of a prepared folder, for a body that learns; pairs of a place there and its words' ids.
    ///
    /// # Errors
    /// As [`Self::encode_prepared`].
    pub fn batch(&self, features: &Features, captions: &[(usize, Vec<u32>)]) -> anyhow::Result<Batch> {
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
        let batch = Batch::new(Tensor::from_vec(flat, shape, &Device::Cpu)?, &of_row, packed);
        if !self.parameters.sizes.concepts {
            return Ok(batch);
        }
        let concepts = self.concepts_of(features, &pictures)?;
        let rows: Vec<Vec<Concept>> = of_row.iter().map(|&row| concepts[row as usize].clone()).collect();
        Ok(batch.with_concepts(&rows))
    }

    /// The concepts of a picture that the word `lifted` is to be said of.
    pub(super) fn with_new_word(&self, concepts: &[Concept], lifted: Lifted) -> Vec<Concept> {
        let Some(finder) = &self.finder else { return Vec::new() };
        let id = |place: usize| TokenId(place as u32);
        let word = id(self.parameters.sizes.vocabulary + lifted.word);
        finder.with_new_word(concepts, Concept { word, confidence: lifted.confidence }, id(lifted.like))
    }

    /// Concepts, a row each, as the decoder looks at them; new words are slots.
    pub(super) fn concepts<'a>(
        &self,
        rows: impl Iterator<Item = &'a [Concept]>,
    ) -> candle_core::Result<Option<EncodedConcepts>> {
        if !self.parameters.sizes.concepts {
            return Ok(None);
        }
        let mut rows = ConceptRows::new(rows);
        for concept in &mut rows.concepts {
            concept.word = TokenId(self.known(&[concept.word.0])[0]);
        }
        Captioner::new(&self.parameters).concepts(&rows).map(Some)
    }

    pub(super) fn tensors(&self, encodings: &Encodings, pictures: &[usize]) -> candle_core::Result<Encoded> {
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
    /// z looks at concepts. What the inner loop and the outer loop make of it does not point at them, and neither does calibration on
    /// a device: what is learned is the head alone.
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
            let of_rows = packed.order.iter().map(|&row| encodings.concepts[captions[row].0].as_slice());
            let concepts = self.concepts(of_rows)?;
            let z = captioner.read(&packed, &encoded, concepts.as_ref(), &of_row, &mut None)?;
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

    /// Slots are read as the slot's word, or where there is none as the unknown one, like the exported decoder reads them.
    pub(super) fn known(&self, words: &[u32]) -> Vec<u32> {
        let known = self.parameters.sizes.vocabulary as u32;
        let slot = if self.parameters.sizes.concepts { known } else { UNKNOWN };
        words.iter().map(|&word| if word < known { word } else { slot }).collect()
    }
}

/// Parameters with variables of their own.
pub(super) fn fresh(parameters: &Parameters) -> candle_core::Result<Parameters> {
    let copy = |(name, tensor): (String, Tensor)| Ok((name, tensor.copy()?));
    let tensors = parameters.tensors().into_iter().map(copy).collect::<candle_core::Result<_>>()?;
    Parameters::from_tensors(parameters.sizes, &tensors, DType::F32, &Device::Cpu)
}
