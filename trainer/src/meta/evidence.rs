//! Learns how the evidence for a new word is weighed, and where a picture counts as in the support's place.
//!
//! The weights are a logistic regression over the query pictures of many tasks about other concepts: does a picture's captions
//! say the new word? In every second task the concept's own word is withheld, so that the weights are also learned for words
//! that name nothing known. The threshold is then chosen on the concepts of meta-validation.

use std::collections::HashSet;

use metalens::adaptation::{BARRED, Initialization, References};
use metalens_models::Familiarity;
use ndarray::{Array2, Axis};

use super::Body;
use super::episode::episode;
use super::gallery::Gallery;
use super::logistic::logistic;
use crate::tasks::{Group, Pool, Sampler, Subject, Task, family};

/// The most unrelated pictures, as a share, that may be said to show a new word.
const MOST_FALSE: f64 = 0.06;
const RIDGE: f64 = 1.0;

/// Where the tasks come from.
pub struct Ground<'a> {
    /// The body.
    pub body: &'a Body,
    /// All pictures of the pool, in its order.
    pub gallery: &'a Gallery,
    /// The pictures.
    pub pool: &'a Pool<'a>,
    /// Words that the bundle can say.
    pub known: &'a HashSet<String>,
}

/// One query picture of a task.
struct Asked {
    features: [f64; 8],
    shows: bool,
    /// Whether the concept's own word was withheld.
    withheld: bool,
}

/// How well a threshold separates.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Separation {
    /// Pictures of the concept that are found, as a share.
    pub recall: f64,
    /// Unrelated pictures that are taken for it, as a share.
    pub false_share: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
}

impl Separation {
    /// Counts decisions; pairs are of whether the concept is there and whether it is said.
    #[must_use]
    pub fn of(decisions: &[(bool, bool)]) -> Self {
        let count =
            |there: bool, said: bool| decisions.iter().filter(|d| **d == (there, said)).count() as f64;
        let (hit, missed, wrong, right) =
            (count(true, true), count(true, false), count(false, true), count(false, false));
        Self {
            recall: hit / (hit + missed).max(1.0),
            false_share: wrong / (wrong + right).max(1.0),
            f1: 2.0 * hit / (2.0 * hit + wrong + missed).max(1.0),
        }
    }
}

/// Learns the weights on `training` tasks, where there are any, and the thresholds on `validation` tasks; returns the numbers
/// with what they reach on `validation`, for names of known words and for words of which no known one is the name.
///
/// # Errors
/// When shapes do not fit.
pub fn learn_evidence(
    ground: &Ground,
    initialization: &Initialization<f32>,
    training: Option<(&Sampler, usize)>,
    validation: &[(Sampler, usize)],
) -> anyhow::Result<(Familiarity, [Separation; 2])> {
    let mut settings = initialization.schedule.familiarity;
    if let Some((sampler, count)) = training {
        let asked = ask(ground, initialization, sampler, count)?;
        let x = Array2::from_shape_fn((asked.len(), 8), |(i, j)| asked[i].features[j]);
        let labels: Vec<bool> = asked.iter().map(|asked| asked.shows).collect();
        let weights = logistic(&x, &labels, RIDGE);
        settings.known = std::array::from_fn(|i| weights[i]);
        settings.unknown = std::array::from_fn(|i| weights[4 + i]);
    }
    let weights: Vec<f64> = settings.known.into_iter().chain(settings.unknown).collect();

    let mut asked = Vec::new();
    for (sampler, count) in validation {
        asked.extend(ask(ground, initialization, sampler, *count)?);
    }
    // A name for a known word and a word for something new have a threshold each.
    let [known, unknown] = [false, true].map(|withheld| {
        let scores: Vec<(f64, bool)> = asked
            .iter()
            .filter(|asked| asked.withheld == withheld)
            .map(|asked| (asked.features.iter().zip(&weights).map(|(x, w)| x * w).sum(), asked.shows))
            .collect();
        best(&scores)
    });
    settings.known[3] -= known.0;
    settings.unknown[3] -= unknown.0;
    Ok((settings, [known.1, unknown.1]))
}

/// The threshold with the best F1 among those that say a word of few enough unrelated pictures.
fn best(scores: &[(f64, bool)]) -> (f64, Separation) {
    let at = |threshold: f64| {
        Separation::of(&scores.iter().map(|&(score, shows)| (shows, score > threshold)).collect::<Vec<_>>())
    };
    let allowed = scores.iter().map(|(score, _)| *score).filter(|&t| at(t).false_share <= MOST_FALSE);
    let threshold = allowed.max_by(|&a, &b| at(a).f1.total_cmp(&at(b).f1)).unwrap_or(0.0);
    (threshold, at(threshold))
}

fn ask(
    ground: &Ground,
    initialization: &Initialization<f32>,
    sampler: &Sampler,
    count: usize,
) -> anyhow::Result<Vec<Asked>> {
    let vocabulary = ground.body.vocabulary();
    let bar =
        indicatif::ProgressBar::new(count as u64).with_style(crate::parallel::bar_style("tasks weighed"));
    let mut all = Vec::new();
    for number in 0..count {
        let task: Task = sampler.task(number);
        let mut start = initialization.clone();
        if let (1, Subject::NewWord { concept, .. }) = (number % 2, &task.subject) {
            let key = family(concept);
            for id in 0..start.head.words() {
                let word = vocabulary.word(metalens_models::TokenId(id as u32)).unwrap_or_default();
                if family(word) == key {
                    start.head.bias_2[id] = BARRED as f32;
                }
            }
        }
        let episode = episode(ground.body, ground.gallery, &start, &task, ground.pool, ground.known)?;
        let familiarity = start.calibrate(&episode.support, episode.new_words.len()).familiarity;
        // A support caption may hold other words that the vocabulary lacks.
        let nonce = match &task.subject {
            Subject::NewWord { nonce, .. } => episode.new_words.iter().position(|word| word == nonce),
            Subject::NewDomain { .. } => None,
        };
        let Some(word) = nonce.map(|place| &familiarity.words[place]) else { continue };
        let c = f64::from(word.concentration());
        for query in &episode.query {
            let observation = ground.gallery.observe(&initialization.head, &start.references, query.picture);
            let features = word.features(&start.references, &observation).map(f64::from);
            all.push(Asked {
                features: std::array::from_fn(|i| {
                    if i < 4 { c * features[i] } else { (1.0 - c) * features[i - 4] }
                }),
                shows: query.group == Group::Concept,
                withheld: number % 2 == 1,
            });
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(all)
}

/// The most ordinary pictures, as a share, that may be more than half in a place. Two in a hundred cost ordinary captions more
/// than a fiftieth of their CIDEr after a place is learned.
const MOST_OUTSIDE: f64 = 0.01;
/// The slope is steeper than the odds: a caption that is half in a place serves nobody.
const STEEPER: f64 = 2.0;

/// Learns slope and threshold of a place from the nearness of pictures inside and outside.
///
/// # Panics
/// When there is no picture outside.
pub fn learn_place(inside: &[f64], outside: &[f64], settings: &mut Familiarity) {
    let count = inside.len() + outside.len();
    let all: Vec<f64> = inside.iter().chain(outside).copied().collect();
    let x = Array2::from_shape_fn((count, 2), |(i, j)| if j == 0 { all[i] } else { 1.0 });
    let labels: Vec<bool> = (0..count).map(|i| i < inside.len()).collect();
    let mut outside = outside.to_vec();
    outside.sort_by(f64::total_cmp);
    let allowed = (outside.len() as f64 * MOST_OUTSIDE) as usize;
    settings.slope = STEEPER * logistic(&x, &labels, RIDGE)[0];
    settings.threshold = outside[outside.len() - 1 - allowed];
}

/// Learns what makes a support set a place of its own, from alone and surprise of sets that are and of ordinary ones.
///
/// # Panics
/// When there is no set.
pub fn learn_apart(places: &[[f64; 2]], ordinary: &[[f64; 2]], settings: &mut Familiarity) {
    let all: Vec<[f64; 2]> = places.iter().chain(ordinary).copied().collect();
    // From the middle between both kinds, so that the ridge does not hold the constant back.
    let mean = |sets: &[[f64; 2]], feature: usize| {
        sets.iter().map(|set| set[feature]).sum::<f64>() / sets.len() as f64
    };
    let middle = [0, 1].map(|feature| f64::midpoint(mean(places, feature), mean(ordinary, feature)));
    let x = Array2::from_shape_fn((all.len(), 3), |(i, j)| if j == 2 { 1.0 } else { all[i][j] - middle[j] });
    let labels: Vec<bool> = (0..all.len()).map(|i| i < places.len()).collect();
    let weights = logistic(&x, &labels, RIDGE);
    settings.place = [weights[0], weights[1], weights[2] - weights[0] * middle[0] - weights[1] * middle[1]];
}

/// How near pictures are to a support set, in standard deviations of ordinary pictures.
#[must_use]
pub fn nearness(
    references: &References<f32>,
    familiarity: &metalens::adaptation::Familiarity<f32>,
    pooled: &[ndarray::Array1<f32>],
) -> Vec<f64> {
    let of = |pooled: &ndarray::Array1<f32>| f64::from(familiarity.near(references, &pooled.view()));
    debug_assert!(familiarity.support.len_of(Axis(0)) > 0);
    pooled.iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use metalens_models::InnerLoop;

    use super::*;

    #[test]
    fn a_separation_counts_hits_and_false_names() {
        // Three shown, two of them found; four not shown, one of them named.
        let decisions = [
            (true, true),
            (true, true),
            (true, false),
            (false, true),
            (false, false),
            (false, false),
            (false, false),
        ];
        let found = Separation::of(&decisions);
        assert_eq!((found.recall, found.false_share), (2.0 / 3.0, 0.25));
        assert!((found.f1 - 2.0 * 2.0 / (2.0 * 2.0 + 1.0 + 1.0)).abs() < 1e-12);
    }

    #[test]
    fn a_set_that_is_alone_or_surprising_enough_for_a_place_is_one() {
        let mut settings = InnerLoop::plain(Vec::new(), None).familiarity;
        let places = [[0.9, 4.5], [0.5, 4.4], [1.0, 5.2], [0.4, 4.3]];
        let ordinary = [[0.0, 2.0], [0.6, 2.6], [0.2, 3.0], [0.0, 2.2]];
        learn_apart(&places, &ordinary, &mut settings);
        let [alone, surprise, constant] = settings.place;
        let odds = |set: &[f64; 2]| alone * set[0] + surprise * set[1] + constant;
        assert!(places.iter().all(|set| odds(set) > 0.0) && ordinary.iter().all(|set| odds(set) < 0.0));
        assert!(alone > 0.0 && surprise > 0.0, "{:?}", settings.place);
    }

    #[test]
    fn the_threshold_names_few_unrelated_pictures_even_where_more_would_find_more() {
        // Of forty unrelated pictures two may be named; the third that is like the concept sets the threshold.
        let mut scores: Vec<(f64, bool)> = (0..37).map(|i| (-10.0 - f64::from(i), false)).collect();
        scores.extend([(0.25, false), (0.5, false), (0.7, false)]);
        scores.extend((0..10).map(|i| (f64::from(i) * 0.1, true)));
        let (threshold, reached) = best(&scores);
        assert_eq!((threshold, reached.false_share, reached.recall), (0.25, 0.05, 0.7));
    }
}
