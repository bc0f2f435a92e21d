//! Training and validation pictures of a run, and the batches made of them.

use anyhow::Context;
use candle_core::{Device, Tensor};
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use super::config::Config;
use crate::captioner::{Batch, PackedCaptions};
use crate::corpus::Split;
use crate::features::Features;
use crate::vocabulary::{END, SPECIAL, START, TrainingVocabulary, UNKNOWN};

/// A picture of the training split, with its captions as token ids.
struct Sample {
    /// Its place in the prepared folder.
    picture: usize,
    captions: Vec<Vec<u32>>,
}

/// The pictures that a run learns from and chooses by.
pub(super) struct Dataset {
    features: Features,
    /// Where batches go.
    pub device: Device,
    pub vocabulary: TrainingVocabulary,
    training: Vec<Sample>,
    /// Places of the held-out pictures in the prepared folder.
    pub validation: Vec<usize>,
}

/// The generator of one purpose at one place of the run; resuming needs no generator's state.
pub(super) fn generator(seed: u64, purpose: u64, epoch: usize, step: usize, shard: usize) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (slot, value) in
        key.chunks_exact_mut(8).zip([seed, purpose, epoch as u64, (step as u64) << 16 | shard as u64])
    {
        slot.copy_from_slice(&value.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// Purposes of [`generator`].
pub(super) mod purpose {
    pub const ORDER: u64 = 1;
    pub const BATCH: u64 = 2;
    pub const DROPOUT: u64 = 3;
    pub const DRAW: u64 = 4;
}

impl Dataset {
    pub fn new(features: Features, config: &Config) -> anyhow::Result<Self> {
        let pictures = &features.index().pictures;
        let mut train: Vec<usize> = (0..pictures.len())
            .filter(|&i| pictures[i].split == Split::Train && features.usable(i))
            .collect();
        let held_out = config.validation.pictures;
        anyhow::ensure!(
            train.len() >= held_out + config.schedule.pictures,
            "{}: {} usable training pictures, but validation.pictures = {held_out} and schedule.pictures = {}",
            config.data.display(),
            train.len(),
            config.schedule.pictures
        );
        anyhow::ensure!(
            config.trunk.is_none() || features.index().trunk.cut.is_some(),
            "{}: prepared with the whole trunk, of which nothing can be learned; prepare it with --blocks, or leave [trunk] out",
            config.data.display()
        );
        anyhow::ensure!(
            !config.regularisation.flip || features.index().views > 1,
            "{}: regularisation.flip = true needs features that were prepared with --mirrored",
            config.data.display()
        );
        train.sort_by_cached_key(|&i| Sha256::digest(pictures[i].name.as_bytes()));
        let mut validation = train.split_off(train.len() - held_out);
        validation.sort_unstable();
        train.sort_unstable();

        let words = train.iter().flat_map(|&i| pictures[i].captions.iter().map(String::as_str));
        let vocabulary = TrainingVocabulary::count(words, config.vocabulary.min_count);
        anyhow::ensure!(
            vocabulary.len() > SPECIAL.len(),
            "{}: no word stands vocabulary.min_count = {} times in the training captions; lower it",
            config.data.display(),
            config.vocabulary.min_count
        );
        let training: Vec<Sample> = train
            .into_iter()
            .map(|picture| Sample {
                picture,
                captions: pictures[picture]
                    .captions
                    .iter()
                    .map(|caption| vocabulary.encode(caption, config.vocabulary.max_words))
                    .filter(|caption| !caption.is_empty())
                    .collect(),
            })
            .filter(|sample| !sample.captions.is_empty())
            .collect();
        anyhow::ensure!(
            training.len() >= config.schedule.pictures,
            "{}: {} training pictures have words in their captions, and schedule.pictures = {}",
            config.data.display(),
            training.len(),
            config.schedule.pictures
        );
        let device = config.device.open().context("device")?;
        Ok(Self { features, device, vocabulary, training, validation })
    }

    pub fn features(&self) -> &Features {
        &self.features
    }

    pub fn training_pictures(&self) -> usize {
        self.training.len()
    }

    /// The training pictures in the order of an epoch.
    pub fn order(&self, config: &Config, epoch: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.training.len()).collect();
        order.shuffle(&mut generator(config.seed, purpose::ORDER, epoch, 0, 0));
        order
    }

    /// What people said of each training picture, as words that the vocabulary may lack.
    pub fn training_references(&self) -> Vec<Vec<String>> {
        let pictures = &self.features.index().pictures;
        let words = |text: &String| metalens::language::words(text).join(" ");
        self.training
            .iter()
            .map(|sample| pictures[sample.picture].captions.iter().map(words).collect())
            .collect()
    }

    /// The features `[pictures, 49, trunk]` of training pictures, each in the view that chance has it.
    pub fn training_features(
        &self,
        samples: &[usize],
        config: &Config,
        rng: &mut ChaCha8Rng,
    ) -> candle_core::Result<Tensor> {
        let index = self.features.index();
        let mut pixels = Vec::with_capacity(samples.len() * index.row_length());
        for &sample in samples {
            let view = if config.regularisation.flip { rng.random_range(0..index.views) } else { 0 };
            self.features.extend(self.training[sample].picture, view, &mut pixels);
        }
        Tensor::from_vec(pixels, (samples.len(), index.trunk.positions(), index.trunk.channels), &self.device)
    }

    /// One shard of a training batch.
    pub fn shard(
        &self,
        samples: &[usize],
        config: &Config,
        rng: &mut ChaCha8Rng,
    ) -> candle_core::Result<Batch> {
        let features = self.training_features(samples, config, rng)?;
        let mut captions: Vec<&[u32]> = Vec::new();
        let mut picture_of_row = Vec::new();
        for (place, &sample) in samples.iter().enumerate() {
            let mut chosen: Vec<&Vec<u32>> = self.training[sample].captions.iter().collect();
            let (chosen, _) = chosen.partial_shuffle(rng, config.schedule.captions);
            captions.extend(chosen.iter().map(|caption| caption.as_slice()));
            picture_of_row.resize(captions.len(), place as u32);
        }
        let mut packed = PackedCaptions::new(&captions, START, END);
        for word in packed.inputs.iter_mut().filter(|word| **word != START) {
            if rng.random_bool(config.regularisation.word_dropout) {
                *word = UNKNOWN;
            }
        }
        Ok(Batch::new(features, &picture_of_row, packed))
    }

    /// The pictures `places` of the prepared folder with all their captions, as they are.
    pub fn plain_batch(&self, places: &[usize], max_words: usize) -> candle_core::Result<Batch> {
        let mut pixels = Vec::new();
        let mut captions = Vec::new();
        let mut picture_of_row = Vec::new();
        for (place, &picture) in places.iter().enumerate() {
            self.features.extend(picture, 0, &mut pixels);
            let texts = &self.features.index().pictures[picture].captions;
            captions.extend(texts.iter().map(|text| self.vocabulary.encode(text, max_words)));
            picture_of_row.resize(captions.len(), place as u32);
        }
        let captions: Vec<&[u32]> = captions.iter().map(Vec::as_slice).collect();
        let index = self.features.index();
        let shape = (places.len(), index.trunk.positions(), index.trunk.channels);
        let features = Tensor::from_vec(pixels, shape, &self.device)?;
        Ok(Batch::new(features, &picture_of_row, PackedCaptions::new(&captions, START, END)))
    }
}
