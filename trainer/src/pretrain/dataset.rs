//! Training and validation pictures of a run, its captions without pictures, and the batches made of them.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use candle_core::{Device, Tensor};
use metalens::evidence::Concept;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

use super::concepts::{Concepts, pooled};
use super::config::Config;
use crate::captioner::{Batch, ConceptRows, PackedCaptions};
use crate::corpus::Split;
use crate::evidence::{Evidence, Examples, content_words, shares};
use crate::features::Features;
use crate::texts::{Texts, normalised};
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
    /// The captions of each text file, as token ids.
    texts: Vec<Vec<Vec<u32>>>,
    /// What the pictures show, where the captioner is to know concepts.
    concepts: Option<Concepts>,
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
    pub const TEXTS: u64 = 5;
    pub const CONCEPTS: u64 = 6;
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

        let others = (0..pictures.len()).filter(|&i| pictures[i].split != Split::Train);
        let held_out = validation.iter().copied().chain(others);
        let held_out: HashSet<String> = held_out
            .flat_map(|i| &pictures[i].captions)
            .map(|caption| normalised(caption))
            .filter(|caption| !caption.is_empty())
            .collect();
        let mut texts = config.texts.iter().map(|path| Texts::read(path)).collect::<Result<Vec<_>, _>>()?;
        for file in &mut texts {
            let left_out = file.leave_out(&held_out);
            anyhow::ensure!(
                file.captions().len() > 0,
                "{}: holds nothing but captions of held-out pictures; leave it out",
                file.path.display()
            );
            let (path, kept) = (file.path.display(), file.captions().len());
            let _ = metalens::cli::say(format_args!(
                "{path}: {kept} captions without pictures, {left_out} of held-out pictures left out"
            ));
        }
        let of_pictures = train.iter().flat_map(|&i| pictures[i].captions.iter().map(String::as_str));
        let of_pictures: (Box<dyn Iterator<Item = &str>>, _) =
            (Box::new(of_pictures), config.vocabulary.min_count);
        // A word is known that one kind of captions says often enough.
        let of_texts = texts.iter().map(|file| {
            let all = file.captions();
            (Box::new(all) as Box<dyn Iterator<Item = &str>>, config.vocabulary.min_count_of_texts)
        });
        let vocabulary = TrainingVocabulary::count_all(std::iter::once(of_pictures).chain(of_texts));
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
        let texts = texts
            .iter()
            .map(|file| encoded(file, &vocabulary, config.vocabulary.max_words))
            .collect::<anyhow::Result<_>>()?;
        let device = config.device.open().context("device")?;
        Ok(Self { features, device, vocabulary, training, texts, concepts: None, validation })
    }

    /// Learns what the pictures show, where the configuration asks for it; or takes it from the first of the files `known` that there is.
    ///
    /// # Errors
    /// When a file is not of these pictures, or `stop` was set.
    pub fn with_concepts(
        self,
        config: &Config,
        known: &[PathBuf],
        stop: &AtomicBool,
    ) -> anyhow::Result<Self> {
        let Some(asked) = &config.concepts else { return Ok(self) };
        let index = self.features.index();
        anyhow::ensure!(
            index.trunk.cut.is_none(),
            "{}: prepared with --blocks, and evidence is told from the whole trunk; prepare it without, or leave [concepts] out",
            config.data.display()
        );
        let views = index.pictures.len() * index.views;
        let evidence = match known.iter().find(|path| path.is_file()) {
            Some(path) => {
                let evidence = Evidence::read(path, views)?;
                anyhow::ensure!(
                    evidence.words.iter().all(|&word| (word as usize) < self.vocabulary.len()),
                    "{}: evidence for other words; start from a run with the same data and texts",
                    path.display()
                );
                evidence
            }
            None => {
                let captions = || self.training.iter().map(|sample| sample.captions.as_slice());
                let words = content_words(captions(), &self.vocabulary, asked.min_pictures);
                anyhow::ensure!(
                    !words.is_empty(),
                    "no word is said of concepts.min_pictures = {} training pictures; lower it",
                    asked.min_pictures
                );
                let all: Vec<usize> = (0..index.pictures.len()).collect();
                let examples = Examples {
                    shares: shares(captions(), &words)?,
                    words,
                    pooled: &pooled(&self.features, &all)?,
                    training: self
                        .training
                        .iter()
                        .map(|sample| {
                            (0..index.views).map(|view| sample.picture * index.views + view).collect()
                        })
                        .collect(),
                };
                Evidence::learn(examples, asked.phi, asked.folds, &asked.fitting, config.seed, stop)?
            }
        };
        let mut counts = vec![0; self.vocabulary.len()];
        let captions = self.training.iter().flat_map(|sample| &sample.captions);
        captions.chain(self.texts.iter().flatten()).flatten().for_each(|&word| counts[word as usize] += 1);
        let concepts = Concepts::new(&self.features, &self.vocabulary, evidence, asked, &counts)?;
        let (rows, classes, things) =
            (concepts.sources.captions.len(), concepts.sources.classes.len(), concepts.sources.things.len());
        let _ = metalens::cli::say(format_args!(
            "{} words; evidence for {rows} from captions, {classes} from classes, {things} from things",
            self.vocabulary.len()
        ));
        Ok(Self { concepts: Some(concepts), ..self })
    }

    pub fn concepts(&self) -> Option<&Concepts> {
        self.concepts.as_ref()
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

    /// The features `[pictures, 49, trunk]` of training pictures, each in the view that chance has it, and these views.
    fn training_features(
        &self,
        samples: &[usize],
        config: &Config,
        rng: &mut ChaCha8Rng,
    ) -> candle_core::Result<(Tensor, Vec<usize>)> {
        let index = self.features.index();
        let mut pixels = Vec::with_capacity(samples.len() * index.row_length());
        let mut views = Vec::with_capacity(samples.len());
        for &sample in samples {
            let view = if config.regularisation.flip { rng.random_range(0..index.views) } else { 0 };
            self.features.extend(self.training[sample].picture, view, &mut pixels);
            views.push(view);
        }
        let shape = (samples.len(), index.trunk.positions(), index.trunk.channels);
        Ok((Tensor::from_vec(pixels, shape, &self.device)?, views))
    }

    /// One shard of a training batch, and the view of each of its pictures. `of_concepts` draws what is done to concepts.
    pub fn shard(
        &self,
        samples: &[usize],
        config: &Config,
        rng: &mut ChaCha8Rng,
        of_concepts: &mut ChaCha8Rng,
    ) -> candle_core::Result<(Batch, Vec<usize>)> {
        let (features, views) = self.training_features(samples, config, rng)?;
        let mut captions: Vec<Vec<u32>> = Vec::new();
        let mut picture_of_row = Vec::new();
        let mut concepts = Vec::new();
        for (place, (&sample, &view)) in samples.iter().zip(&views).enumerate() {
            let sample = &self.training[sample];
            let mut chosen: Vec<&Vec<u32>> = sample.captions.iter().collect();
            let (chosen, _) = chosen.partial_shuffle(rng, config.schedule.captions);
            for caption in chosen {
                let mut caption = caption.clone();
                if let Some(all) = &self.concepts {
                    concepts.push(all.of_caption(sample.picture, view, &mut caption, of_concepts));
                }
                captions.push(caption);
            }
            picture_of_row.resize(captions.len(), place as u32);
        }
        let captions: Vec<&[u32]> = captions.iter().map(Vec::as_slice).collect();
        let mut packed = PackedCaptions::new(&captions, START, END);
        for word in packed.inputs.iter_mut().filter(|word| **word != START) {
            if rng.random_bool(config.regularisation.word_dropout) {
                *word = UNKNOWN;
            }
        }
        let mut batch = Batch::new(features, &picture_of_row, packed);
        if let Some(asked) = &config.concepts {
            batch = batch.with_concepts(&concepts);
            let pictures = 0..samples.len() as u32;
            batch.hidden = pictures.filter(|_| of_concepts.random_bool(asked.hidden)).collect();
        }
        Ok((batch, views))
    }

    /// `count` captions without pictures, as many from each text file; none where there is no file.
    pub fn texts(&self, count: usize, rng: &mut ChaCha8Rng) -> Option<Batch> {
        if self.texts.is_empty() || count == 0 {
            return None;
        }
        let mut captions = Vec::with_capacity(count);
        let mut concepts = Vec::with_capacity(count);
        for place in 0..count {
            let file = &self.texts[place % self.texts.len()];
            let mut caption = file[rng.random_range(0..file.len())].clone();
            if let Some(all) = &self.concepts {
                concepts.push(all.of_text(&mut caption, rng));
            }
            captions.push(caption);
        }
        let captions: Vec<&[u32]> = captions.iter().map(Vec::as_slice).collect();
        let batch = Batch::without_pictures(PackedCaptions::new(&captions, START, END));
        Some(if self.concepts.is_some() { batch.with_concepts(&concepts) } else { batch })
    }

    /// The concepts of training pictures in these views, of which some are sure that one of their captions says.
    pub fn raised_concepts(
        &self,
        samples: &[usize],
        views: &[usize],
        rng: &mut ChaCha8Rng,
    ) -> Option<ConceptRows> {
        let all = self.concepts.as_ref()?;
        let rows: Vec<Vec<Concept>> = samples
            .iter()
            .zip(views)
            .map(|(&sample, &view)| {
                let Sample { picture, captions } = &self.training[sample];
                all.raised(*picture, view, &captions[rng.random_range(0..captions.len())], rng)
            })
            .collect();
        Some(ConceptRows::new(rows.iter().map(Vec::as_slice)))
    }

    /// The concepts of the pictures `places` of the prepared folder, as a device would tell them.
    pub fn plain_concepts(&self, places: &[usize]) -> Option<ConceptRows> {
        let all = self.concepts.as_ref()?;
        Some(ConceptRows::new(places.iter().map(|&picture| all.of_picture(picture, 0))))
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
        let mut batch = Batch::new(features, &picture_of_row, PackedCaptions::new(&captions, START, END));
        if let Some(rows) = self.plain_concepts(places) {
            let of_row = rows.of(&batch.picture_of_row);
            batch.concepts = Some(ConceptRows { of_row, ..rows });
        }
        Ok(batch)
    }
}

/// A file's captions as token ids.
fn encoded(file: &Texts, vocabulary: &TrainingVocabulary, max_words: usize) -> anyhow::Result<Vec<Vec<u32>>> {
    let captions = file.captions().map(|caption| vocabulary.encode(caption, max_words));
    let captions: Vec<Vec<u32>> =
        captions.filter(|caption| caption.iter().any(|&word| word != UNKNOWN)).collect();
    anyhow::ensure!(
        !captions.is_empty(),
        "{}: none of its captions has a word of the vocabulary; is it in another language?",
        file.path.display()
    );
    Ok(captions)
}
