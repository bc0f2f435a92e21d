//! Tasks, as the adaptation sees them.

use std::collections::HashSet;

use metalens::adaptation::{Initialization, Shown};
use metalens_models::Vocabulary;

use super::Body;
use super::gallery::{Gallery, shown};
use crate::tasks::{Group, Pool, Subject, Task};

/// A task over the pictures of a gallery.
#[derive(Clone, Debug)]
pub struct Episode {
    /// What the head adapts to.
    pub support: Vec<Shown<f32>>,
    /// Places of the support's pictures in the gallery, in the same order.
    pub support_pictures: Vec<usize>,
    /// New words, in the order of their slots.
    pub new_words: Vec<String>,
    /// The new word that another name was put for, counted from the first one, and that name; none in a new domain.
    pub renamed: Option<(usize, String)>,
    /// What is asked.
    pub query: Vec<Query>,
    /// Scenes of the support, whose pictures take turns in it; 1 where there are none.
    pub scenes: usize,
}

/// A picture that an adapted head is asked about.
#[derive(Clone, Debug)]
pub struct Query {
    /// Its place in the gallery.
    pub picture: usize,
    /// What people said, the concept renamed.
    pub references: Vec<String>,
    /// Why it is in the task.
    pub group: Group,
}

/// The words of a bundle that can be said.
#[must_use]
pub fn known_words(vocabulary: &Vocabulary) -> HashSet<String> {
    let ids = (0..vocabulary.len() as u32).map(metalens_models::TokenId);
    ids.filter(|&id| vocabulary.can_be_said(id))
        .filter_map(|id| vocabulary.word(id))
        .map(str::to_owned)
        .collect()
}

/// Lays a task out. New words take slots in alphabetical order, as on the device.
///
/// # Errors
/// When shapes do not fit.
pub fn episode(
    body: &Body,
    gallery: &Gallery,
    initialization: &Initialization<f32>,
    task: &Task,
    pool: &Pool,
    known: &HashSet<String>,
) -> anyhow::Result<Episode> {
    let mut new_words = task.new_words(pool, known);
    new_words.sort_unstable();
    let ids =
        |sample| task.support_texts(sample, pool).iter().map(|text| body.ids(text, &new_words)).collect();
    let samples: Vec<(usize, Vec<Vec<u32>>)> =
        task.support.iter().map(|sample| (sample.picture, ids(sample))).collect();
    let query = task
        .query
        .iter()
        .map(|sample| Query {
            picture: sample.picture,
            references: task.texts(sample, pool),
            group: sample.group.clone(),
        })
        .collect();
    let renamed = match &task.subject {
        Subject::NewWord { concept, nonce } => {
            new_words.binary_search(nonce).ok().map(|word| (word, concept.clone()))
        }
        Subject::NewDomain { .. } => None,
    };
    Ok(Episode {
        support: shown(body, gallery, initialization, &samples)?,
        support_pictures: samples.iter().map(|(picture, _)| *picture).collect(),
        new_words,
        renamed,
        query,
        scenes: match &task.subject {
            Subject::NewDomain { scenes } => scenes.len(),
            Subject::NewWord { .. } => 1,
        },
    })
}
