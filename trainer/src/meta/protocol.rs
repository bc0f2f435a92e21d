//! The protocols of meta-test: how well methods adapt to tasks that they have never seen.

use std::collections::{BTreeMap, BTreeSet};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use super::Body;
use super::episode::{Episode, episode, known_words};
use super::evidence::Separation;
use super::gallery::Gallery;
use super::method::{Method, Trial};
use super::outer::Learned;
use crate::score::{self, Sample};
use crate::tasks::{Group, Pool, Subject, Task};

/// A mean over tasks with its 95 % bootstrap interval over tasks (Efron 1979).
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// Over all tasks.
    pub mean: f64,
    /// 2.5 and 97.5 percentiles of resampled means.
    pub interval: [f64; 2],
}

/// What a method reaches.
#[derive(Clone, Debug, Serialize)]
pub struct Reached {
    /// The method, for people.
    pub method: String,
    /// Its figures by name: `f1`, `recall`, `false` of naming, pooled over tasks, for new words; `cider` for new domains, and
    /// `distinct`, how many different captions a task's queries have, as a share; `generic`, the CIDEr of ordinary pictures as a
    /// share of that before, by the same references, in which the concept has its new name; `unrelated`, the same of those
    /// ordinary pictures of which nobody says the concept; and `refused`, the support sets that a device would not learn from
    /// unless forced, as a share. What is refused counts in the other figures like the rest.
    pub figures: BTreeMap<String, Estimate>,
    /// Naming of each new word's concept, pooled over its tasks.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub by_concept: BTreeMap<String, Separation>,
    /// Captions of the first tasks' queries.
    #[serde(skip)]
    pub examples: Vec<Vec<String>>,
}

/// How tasks are tried.
pub struct Protocol<'a> {
    /// The body.
    pub body: &'a Body,
    /// All pictures of the pool, in its order, then the ordinary ones.
    pub gallery: &'a Gallery,
    /// The pictures.
    pub pool: &'a Pool<'a>,
    /// The tasks.
    pub tasks: &'a [Task],
    /// Ordinary pictures: their places in the gallery and what people said of them.
    pub ordinary: &'a [(usize, Vec<String>)],
    /// Tasks after which ordinary pictures are captioned.
    pub ordinary_tasks: usize,
    /// An inner loop in the place of the schedule's.
    pub inner_loop: Option<&'a Learned>,
}

impl Reached {
    /// The number in `FAMILY, NUMBER along`, if the method is one of a family that differs in it.
    #[must_use]
    pub fn along(&self, family: &str, along: &str) -> Option<f64> {
        self.method.strip_prefix(family)?.strip_prefix(", ")?.strip_suffix(along)?.trim().parse().ok()
    }
}

const GENERIC: &str = "generic";
const UNRELATED: &str = "unrelated";
const RESAMPLES: usize = 1000;
/// Tasks whose captions are kept to be shown.
const SHOWN: usize = 6;

impl Protocol<'_> {
    /// Tries methods on all tasks. `progress` is called after each task and method.
    ///
    /// # Errors
    /// When shapes do not fit or a task has no scorable caption.
    pub fn run(
        &self,
        initialization: &metalens::adaptation::Initialization<f32>,
        methods: &[Method],
        mut progress: impl FnMut() -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<Reached>> {
        let vocabulary = self.body.vocabulary();
        let known = known_words(vocabulary);
        let words: Vec<String> = (0..initialization.head.words() as u32)
            .map(|id| vocabulary.word(metalens_models::TokenId(id)).unwrap_or_default().to_owned())
            .collect();
        let trial = Trial {
            body: self.body,
            gallery: self.gallery,
            initialization,
            words: &words,
            inner_loop: self.inner_loop,
        };
        let mut results: Vec<Vec<Outcome>> = methods.iter().map(|_| Vec::new()).collect();
        for (place, task) in self.tasks.iter().enumerate() {
            let episode = episode(self.body, self.gallery, initialization, task, self.pool, &known)?;
            let before = (place < self.ordinary_tasks)
                .then(|| self.score_ordinary(&trial, Method::Before, task, &episode))
                .transpose()?;
            for (method, results) in methods.iter().zip(&mut results) {
                let mut outcome = self.try_one(&trial, *method, task, &episode)?;
                if let Some(before) = &before {
                    outcome.kept = kept(before, &self.score_ordinary(&trial, *method, task, &episode)?);
                }
                results.push(outcome);
                progress()?;
            }
        }
        let all = methods.iter().zip(results);
        Ok(all.map(|(method, outcomes)| reached(*method, self.tasks, outcomes)).collect())
    }

    fn try_one(
        &self,
        trial: &Trial,
        method: Method,
        task: &Task,
        episode: &Episode,
    ) -> anyhow::Result<Outcome> {
        let pictures: Vec<usize> = episode.query.iter().map(|query| query.picture).collect();
        let said = trial.say(method, episode, &pictures)?;
        let decisions = match &task.subject {
            Subject::NewDomain { .. } => Vec::new(),
            Subject::NewWord { nonce, .. } => {
                let names = |caption: &String| caption.split(' ').any(|word| word == nonce);
                let there = episode.query.iter().map(|query| query.group == Group::Concept);
                there.zip(said.iter().map(names)).collect()
            }
        };
        let samples: Vec<Sample> = said
            .iter()
            .zip(&episode.query)
            .map(|(caption, query)| Sample {
                hypothesis: caption.clone(),
                references: query.references.clone(),
            })
            .collect();
        let cider = score::score(&samples)?.cider;
        let refused = (method == Method::Calibrated).then(|| trial.is_refused(episode));
        Ok(Outcome { decisions, cider, kept: BTreeMap::new(), refused, said })
    }

    /// The CIDEr of ordinary pictures by the names of the figures, by references in which the concept has its new name; none
    /// where no picture counts.
    fn score_ordinary(
        &self,
        trial: &Trial,
        method: Method,
        task: &Task,
        episode: &Episode,
    ) -> anyhow::Result<BTreeMap<&'static str, f64>> {
        let places: Vec<usize> = self.ordinary.iter().map(|(place, _)| *place).collect();
        let said = trial.say(method, episode, &places)?;
        let mut figures = BTreeMap::new();
        let mut figure = |name, counts: &dyn Fn(&[String]) -> bool| -> anyhow::Result<()> {
            let some = said.iter().zip(self.ordinary).filter(|(_, (_, captions))| counts(captions));
            let sample = |(hypothesis, (_, captions)): (&String, &(usize, Vec<String>))| Sample {
                hypothesis: hypothesis.clone(),
                references: captions.iter().map(|text| task.subject.rename(text)).collect(),
            };
            let samples: Vec<Sample> = some.map(sample).collect();
            if !samples.is_empty() {
                figures.insert(name, score::score(&samples)?.cider);
            }
            Ok(())
        };
        figure(GENERIC, &|_| true)?;
        if let Subject::NewWord { .. } = task.subject {
            figure(UNRELATED, &|captions| !captions.iter().any(|text| task.subject.is_said_in(text)))?;
        }
        Ok(figures)
    }
}

/// What is kept of each figure, as a share of it; none of what was nothing.
fn kept(
    before: &BTreeMap<&'static str, f64>,
    after: &BTreeMap<&'static str, f64>,
) -> BTreeMap<&'static str, f64> {
    let shares = before.iter().filter(|(_, before)| **before > 0.0);
    shares.filter_map(|(name, before)| Some((*name, after.get(name)? / before))).collect()
}

struct Outcome {
    decisions: Vec<(bool, bool)>,
    cider: f64,
    kept: BTreeMap<&'static str, f64>,
    refused: Option<bool>,
    said: Vec<String>,
}

fn reached(method: Method, tasks: &[Task], outcomes: Vec<Outcome>) -> Reached {
    let mut figures = BTreeMap::new();
    figures.insert("cider".to_owned(), estimate(&outcomes, |some| mean(some.iter().map(|o| o.cider))));
    if outcomes.iter().all(|outcome| outcome.decisions.is_empty()) {
        let distinct = |outcome: &Outcome| {
            let different: BTreeSet<&String> = outcome.said.iter().collect();
            different.len() as f64 / outcome.said.len().max(1) as f64
        };
        figures.insert(
            "distinct".to_owned(),
            estimate(&outcomes, |some| mean(some.iter().map(|o| distinct(o)))),
        );
    } else {
        let pooled = |some: &[&Outcome]| {
            let all: Vec<(bool, bool)> = some.iter().flat_map(|o| o.decisions.iter().copied()).collect();
            Separation::of(&all)
        };
        figures.insert("f1".to_owned(), estimate(&outcomes, |some| pooled(some).f1));
        figures.insert("recall".to_owned(), estimate(&outcomes, |some| pooled(some).recall));
        figures.insert("false".to_owned(), estimate(&outcomes, |some| pooled(some).false_share));
    }
    for name in [GENERIC, UNRELATED] {
        let kept: Vec<f64> = outcomes.iter().filter_map(|outcome| outcome.kept.get(name).copied()).collect();
        if !kept.is_empty() {
            figures.insert(name.to_owned(), estimate(&kept, |some| mean(some.iter().map(|x| **x))));
        }
    }
    let refused: Vec<bool> = outcomes.iter().filter_map(|outcome| outcome.refused).collect();
    if !refused.is_empty() {
        let share = |some: &[&bool]| mean(some.iter().map(|&&refused| f64::from(u8::from(refused))));
        figures.insert("refused".to_owned(), estimate(&refused, share));
    }
    let by_concept = by_concept(tasks, &outcomes);
    let examples = outcomes.into_iter().take(SHOWN).map(|outcome| outcome.said).collect();
    Reached { method: method.to_string(), figures, by_concept, examples }
}

fn by_concept(tasks: &[Task], outcomes: &[Outcome]) -> BTreeMap<String, Separation> {
    let mut decisions: BTreeMap<String, Vec<(bool, bool)>> = BTreeMap::new();
    for (task, outcome) in tasks.iter().zip(outcomes) {
        if let Subject::NewWord { concept, .. } = &task.subject {
            decisions.entry(concept.clone()).or_default().extend(&outcome.decisions);
        }
    }
    decisions.into_iter().map(|(concept, decisions)| (concept, Separation::of(&decisions))).collect()
}

/// The naming of each concept as a table, a concept a line; empty where no word was taught.
#[must_use]
pub fn table_by_concept(reached: &Reached) -> String {
    let width = reached.by_concept.keys().map(String::len).max().unwrap_or_default();
    let line = |(concept, Separation { recall, false_share, f1 }): (&String, &Separation)| {
        format!("{concept:width$}  F1 {f1:.3}  recall {recall:.3}  false {false_share:.3}\n")
    };
    reached.by_concept.iter().map(line).collect()
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1) as f64;
    values.sum::<f64>() / count
}

fn estimate<T>(all: &[T], figure: impl Fn(&[&T]) -> f64) -> Estimate {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut resampled: Vec<f64> = (0..RESAMPLES)
        .map(|_| figure(&(0..all.len()).map(|_| &all[rng.random_range(0..all.len())]).collect::<Vec<_>>()))
        .collect();
    resampled.sort_by(f64::total_cmp);
    let at = |share: f64| resampled[((RESAMPLES - 1) as f64 * share).round() as usize];
    Estimate { mean: figure(&all.iter().collect::<Vec<_>>()), interval: [at(0.025), at(0.975)] }
}

/// The figures as a table, a method a line.
#[must_use]
pub fn table(reached: &[Reached]) -> String {
    let names: BTreeSet<&String> = reached.iter().flat_map(|reached| reached.figures.keys()).collect();
    let width = reached.iter().map(|reached| reached.method.len()).max().unwrap_or_default();
    let mut text = format!("{:width$}", "");
    for name in &names {
        text += &format!("  {name:>19}");
    }
    for Reached { method, figures, .. } in reached {
        text += &format!("\n{method:width$}");
        for name in &names {
            match figures.get(*name) {
                Some(Estimate { mean, interval: [low, high] }) => {
                    text += &format!("  {mean:.3} [{low:.3} {high:.3}]");
                }
                None => text += &format!("  {:>19}", "-"),
            }
        }
    }
    text
}
