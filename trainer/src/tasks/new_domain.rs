//! Tasks about scenes.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;
use rand::seq::SliceRandom;

use super::{Group, MetaSplit, Partition, Pool, QUERIES_A_SCENE, Sample, Subject, TaskError};

/// A scene and its pictures.
#[derive(Debug)]
pub(super) struct Scene {
    pub name: String,
    pub pictures: Vec<usize>,
}

/// The scenes of a meta-split that a task can be about, in alphabetical order.
pub(super) fn scenes(
    pool: &Pool,
    partition: &Partition,
    split: MetaSplit,
    count: usize,
    shots: usize,
) -> Result<Vec<Scene>, TaskError> {
    // Of all pictures, usable or not, so that the meta-splits agree whatever each may use.
    let names: BTreeSet<&str> =
        pool.pictures().iter().filter_map(|picture| picture.scene.as_deref()).collect();
    if names.is_empty() {
        return Err(TaskError::NoScenes);
    }
    if let Some(scene) = partition.held_out.iter().find(|scene| !names.contains(scene.as_str())) {
        let known: Vec<&str> = names.into_iter().collect();
        return Err(TaskError::UnknownScene { scene: scene.clone(), known: known.join(", ") });
    }
    let split_of = partition.of_scenes(&names);
    let mut pictures: BTreeMap<&str, Vec<usize>> =
        split_of.iter().filter(|(_, of)| **of == split).map(|(&scene, _)| (scene, Vec::new())).collect();
    for place in pool.usable() {
        let scene = pool.pictures()[place].scene.as_deref();
        if let Some(scene) = scene.and_then(|scene| pictures.get_mut(scene)) {
            scene.push(place);
        }
    }
    let all: Vec<Scene> =
        pictures.into_iter().map(|(name, pictures)| Scene { name: name.to_owned(), pictures }).collect();

    let (queries, needed) = (QUERIES_A_SCENE, shots + QUERIES_A_SCENE);
    let too_few = |scene: &Scene| TaskError::TooFewPictures {
        split,
        subject: scene.name.clone(),
        found: scene.pictures.len(),
        needed,
        shots,
        queries,
    };
    let Some(most) = all.iter().max_by_key(|scene| scene.pictures.len()) else {
        return Err(TaskError::NoSubject { split, pictures: pool.usable().count(), subject: "scene" });
    };
    let listed = split == MetaSplit::Test && !partition.held_out.is_empty();
    let short = if listed { all.iter().find(|scene| scene.pictures.len() < needed) } else { None };
    if let Some(scene) = short.or(Some(most).filter(|scene| scene.pictures.len() < needed)) {
        return Err(too_few(scene));
    }
    let enough: Vec<Scene> = all.into_iter().filter(|scene| scene.pictures.len() >= needed).collect();
    if enough.len() < count {
        return Err(TaskError::TooFewScenes { split, found: enough.len(), needed: count, pictures: needed });
    }
    Ok(enough)
}

/// Subject, support and query of a task about scene `first` and `count` - 1 others.
pub(super) fn draw(
    scenes: &[Scene],
    first: usize,
    count: usize,
    shots: usize,
    pool: &Pool,
    rng: &mut impl Rng,
) -> (Subject, Vec<Sample>, Vec<Sample>) {
    let mut others: Vec<usize> = (0..scenes.len()).filter(|&scene| scene != first).collect();
    let (others, _) = others.partial_shuffle(rng, count - 1);
    let chosen: Vec<&Scene> = std::iter::once(&first).chain(&*others).map(|&scene| &scenes[scene]).collect();
    let sample = |scene: &Scene, picture: usize| Sample {
        picture,
        group: Group::Scene(scene.name.clone()),
        captions: (0..pool.pictures()[picture].captions.len()).collect(),
    };
    let mut query = Vec::new();
    let mut rest = Vec::new();
    for scene in &chosen {
        let mut pictures = scene.pictures.clone();
        pictures.shuffle(rng);
        rest.push(pictures.split_off(QUERIES_A_SCENE));
        query.extend(pictures.into_iter().map(|picture| sample(scene, picture)));
    }
    let turns =
        (0..shots).flat_map(|shot| chosen.iter().zip(&rest).map(move |(scene, rest)| (scene, rest[shot])));
    let support = turns.map(|(scene, picture)| sample(scene, picture)).collect();
    (Subject::NewDomain { scenes: chosen.iter().map(|scene| scene.name.clone()).collect() }, support, query)
}
