//! The concepts of pictures and of captions without pictures, and what keeps the decoder's trust in them.

use std::collections::BTreeMap;

use anyhow::Context;
use candle_core::{Device, Tensor};
use metalens::evidence::{Concept, Sources, select};
use metalens_models::TokenId;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::config::ConceptsConfig;
use crate::evidence::{Evidence, sources};
use crate::features::Features;
use crate::vocabulary::TrainingVocabulary;

/// What the pictures of a run show.
pub(super) struct Concepts {
    config: ConceptsConfig,
    /// Where concepts come from.
    pub sources: Sources,
    /// What tells the words of captions.
    pub evidence: Evidence,
    /// The concepts of every view of every picture, strongest first.
    of_views: Vec<Vec<Concept>>,
    views: usize,
    /// Whether a word can be a concept, by its id.
    is_concept: Vec<bool>,
    /// Words that can, and their cumulative frequencies to the power 3/4 (Mikolov et al. 2013, section 2.2).
    common: Vec<(u32, f64)>,
    /// The id of a slot.
    slot: u32,
}

impl Concepts {
    /// The concepts of all pictures of `features`, given how often each word is said.
    pub fn new(
        features: &Features,
        vocabulary: &TrainingVocabulary,
        evidence: Evidence,
        config: &ConceptsConfig,
        counts: &[usize],
    ) -> anyhow::Result<Self> {
        let captions: &[u32] = if config.captions { &evidence.words } else { &[] };
        let (classes, things) =
            (config.classes && features.index().classes > 0, config.things && features.index().things > 0);
        let sources = sources(vocabulary, captions, classes, things);
        let mut is_concept = vec![false; vocabulary.len()];
        let of_classes = sources.classes.iter().map(|(word, _)| word);
        let of_things = sources.things.iter().map(|(word, _)| word);
        for word in sources.captions.iter().chain(of_classes).chain(of_things) {
            is_concept[word.index()] = true;
        }
        let mut sum = 0.0;
        let common = (0..vocabulary.len()).filter(|&id| is_concept[id]).map(|id| {
            sum += (counts[id].max(1) as f64).powf(0.75);
            (id as u32, sum)
        });
        let common: Vec<(u32, f64)> = common.collect();
        anyhow::ensure!(
            !common.is_empty(),
            "concepts: no word is one; lower concepts.min_pictures = {}",
            config.min_pictures
        );
        let index = features.index();
        let mut of_views = Vec::with_capacity(index.pictures.len() * index.views);
        for picture in 0..index.pictures.len() {
            let things = config.things.then(|| features.things(picture)).flatten();
            for view in 0..index.views {
                let classes = config.classes.then(|| features.classes(picture, view)).flatten();
                let odds = config.captions.then(|| evidence.log_odds_of(picture * index.views + view));
                let mut concepts = select(
                    &sources,
                    &config.settings,
                    odds.as_deref(),
                    classes.as_deref(),
                    things.as_deref(),
                );
                concepts.truncate(config.tokens);
                of_views.push(concepts);
            }
        }
        let slot = vocabulary.len() as u32;
        let views = index.views;
        Ok(Self { config: config.clone(), sources, evidence, of_views, views, is_concept, common, slot })
    }

    /// What a view of a picture shows, as a device would tell it.
    pub fn of_picture(&self, picture: usize, view: usize) -> &[Concept] {
        &self.of_views[picture * self.views + view]
    }

    /// The concepts of a picture as training shows them beside one of its captions: some that the caption says are sure, some are left out,
    /// and a word may be renamed to a slot, in the caption as well.
    pub fn of_caption(
        &self,
        picture: usize,
        view: usize,
        caption: &mut [u32],
        rng: &mut ChaCha8Rng,
    ) -> Vec<Concept> {
        let mut concepts = self.raised(picture, view, caption, rng);
        self.disturb(&mut concepts, caption, rng);
        concepts
    }

    /// The concepts of a picture, of which some that the caption says are sure.
    pub fn raised(&self, picture: usize, view: usize, caption: &[u32], rng: &mut ChaCha8Rng) -> Vec<Concept> {
        let mut concepts: BTreeMap<TokenId, f32> =
            self.of_picture(picture, view).iter().map(|concept| (concept.word, concept.confidence)).collect();
        for word in self.said(caption) {
            if rng.random_bool(self.config.raised) {
                // Beta(5, 2)
                let sure = order_statistic(5, 6, rng);
                let confidence = concepts.entry(word).or_default();
                *confidence = confidence.max(sure);
            }
        }
        self.strongest(concepts)
    }

    /// Concepts for a caption without a picture: some of its words, and some others.
    pub fn of_text(&self, caption: &mut [u32], rng: &mut ChaCha8Rng) -> Vec<Concept> {
        let mut concepts = BTreeMap::new();
        for word in self.said(caption) {
            if rng.random_bool(self.config.drawn.right) {
                // Beta(2, 2)
                concepts.insert(word, order_statistic(2, 3, rng));
            }
        }
        for _ in 0..poisson(self.config.drawn.wrong, rng) {
            let all = self.common.last().map_or(0.0, |(_, sum)| *sum);
            let drawn = rng.random::<f64>() * all;
            let place = self.common.partition_point(|(_, sum)| *sum <= drawn).min(self.common.len() - 1);
            // Beta(1, 4); a word that is there already stays as it was drawn.
            let confidence = order_statistic(1, 4, rng);
            concepts.entry(TokenId(self.common[place].0)).or_insert(confidence);
        }
        let mut concepts = self.strongest(concepts);
        self.disturb(&mut concepts, caption, rng);
        concepts
    }

    /// The caption's words that can be concepts, each once, by their ids.
    fn said(&self, caption: &[u32]) -> Vec<TokenId> {
        let can = |word: &&u32| self.is_concept.get(**word as usize).copied().unwrap_or(false);
        let mut said: Vec<TokenId> = caption.iter().filter(can).map(|&word| TokenId(word)).collect();
        said.sort_unstable();
        said.dedup();
        said
    }

    fn strongest(&self, concepts: BTreeMap<TokenId, f32>) -> Vec<Concept> {
        let concepts = concepts.into_iter().map(|(word, confidence)| Concept { word, confidence });
        let mut concepts: Vec<Concept> = concepts.collect();
        concepts.sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
        concepts.truncate(self.config.tokens);
        concepts
    }

    /// Leaves some concepts out, and renames one that the caption says to a slot.
    fn disturb(&self, concepts: &mut Vec<Concept>, caption: &mut [u32], rng: &mut ChaCha8Rng) {
        concepts.retain(|_| !rng.random_bool(self.config.dropped));
        if rng.random_bool(self.config.renamed) {
            let said: Vec<usize> =
                (0..concepts.len()).filter(|&place| caption.contains(&concepts[place].word.0)).collect();
            if !said.is_empty() {
                let renamed = &mut concepts[said[rng.random_range(0..said.len())]];
                let word = std::mem::replace(&mut renamed.word, TokenId(self.slot)).0;
                caption.iter_mut().filter(|said| **said == word).for_each(|said| *said = self.slot);
            }
        }
    }
}

/// The k-th smallest of n numbers drawn evenly from 0 to 1, which is Beta(k, n + 1 - k).
fn order_statistic(k: usize, n: usize, rng: &mut ChaCha8Rng) -> f32 {
    let mut drawn: Vec<f32> = (0..n).map(|_| rng.random()).collect();
    drawn.sort_by(f32::total_cmp);
    drawn[k - 1]
}

/// A number drawn from Poisson's distribution (Knuth 1997, section 3.4.1).
fn poisson(mean: f64, rng: &mut ChaCha8Rng) -> usize {
    let floor = (-mean).exp();
    let mut product = rng.random::<f64>();
    let mut count = 0;
    while product > floor {
        product *= rng.random::<f64>();
        count += 1;
    }
    count
}

/// Pooled maps `[views, 2 channels]` of all views of `pictures`, one picture's after the other's.
pub(super) fn pooled(features: &Features, pictures: &[usize]) -> anyhow::Result<Tensor> {
    const AT_A_TIME: usize = 64;
    let index = features.index();
    let (positions, channels) = (index.trunk.positions(), index.trunk.channels);
    let mut parts = Vec::new();
    let mut numbers = Vec::new();
    for chunk in pictures.chunks(AT_A_TIME) {
        numbers.clear();
        for &picture in chunk {
            (0..index.views).for_each(|view| features.extend(picture, view, &mut numbers));
        }
        let shape = (chunk.len() * index.views, positions, channels);
        parts.push(crate::evidence::pool(&Tensor::from_slice(&numbers, shape, &Device::Cpu)?)?);
    }
    Tensor::cat(&parts, 0).context("there is no picture")
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn confidences_are_drawn_from_beta_and_counts_from_poisson() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut mean = |k, n| (0..4000).map(|_| order_statistic(k, n, &mut rng)).sum::<f32>() / 4000.0;
        // The mean of Beta(a, b) is a / (a + b).
        assert!((mean(5, 6) - 5.0 / 7.0).abs() < 0.01);
        assert!((mean(1, 4) - 0.2).abs() < 0.01);
        let counts: Vec<usize> = (0..4000).map(|_| poisson(1.5, &mut rng)).collect();
        let mean = counts.iter().sum::<usize>() as f64 / 4000.0;
        let none = counts.iter().filter(|&&count| count == 0).count() as f64 / 4000.0;
        assert!((mean - 1.5).abs() < 0.06 && (none - (-1.5_f64).exp()).abs() < 0.02, "{mean} {none}");
    }
}
