//! Corpora that tests make.

use std::collections::HashSet;
use std::num::NonZeroUsize;

use super::{Kind, MetaSplit, Partition, Pool, TaskOptions, TaskPicture};

/// Names, captions and scenes.
pub(super) struct Corpus(Vec<(String, Vec<String>, Option<String>)>);

impl Corpus {
    pub(super) fn new(pictures: &[(&str, &[&str])]) -> Self {
        let owned = |captions: &[&str]| captions.iter().map(|&caption| caption.to_owned()).collect();
        Self(pictures.iter().map(|&(name, captions)| (name.to_owned(), owned(captions), None)).collect())
    }

    /// 120 pictures of each of twelve animals, half of them of several, with three captions each; the scene is where it
    /// is.
    pub(super) fn animals() -> Self {
        const ANIMALS: [(&str, &str); 12] = [
            ("dog", "dogs"),
            ("horse", "horses"),
            ("wolf", "wolves"),
            ("sheep", "sheep"),
            ("cat", "cats"),
            ("fox", "foxes"),
            ("pony", "ponies"),
            ("mouse", "mice"),
            ("bird", "birds"),
            ("goat", "goats"),
            ("cow", "cows"),
            ("pig", "pigs"),
        ];
        const SCENES: [&str; 6] = ["barn", "beach", "forest", "garden", "meadow", "street"];
        let pictures = (0..120 * ANIMALS.len()).map(|i| {
            let (one, many) = ANIMALS[i % ANIMALS.len()];
            let scene = SCENES[i / ANIMALS.len() % SCENES.len()];
            let animals = if (i / ANIMALS.len()).is_multiple_of(2) {
                format!("a {one}")
            } else {
                format!("two {many}")
            };
            let captions = vec![
                format!("{animals} on the {scene}"),
                format!("{animals} at a {scene} ."),
                "something is there".to_owned(),
            ];
            (format!("{i:04}.jpg"), captions, Some(scene.to_owned()))
        });
        Self(pictures.collect())
    }

    pub(super) fn pool(&self) -> Pool<'_> {
        Pool::new(self.0.iter().map(|(name, captions, scene)| TaskPicture {
            name,
            captions,
            scene: scene.clone(),
        }))
    }
}

fn options(kind: Kind) -> TaskOptions {
    let partition = Partition {
        subjects: "1,1,1".parse().expect("three shares"),
        pictures: "1,1,1".parse().expect("three shares"),
        ..Partition::default()
    };
    TaskOptions { kind, split: MetaSplit::Train, partition, seed: 0, known: HashSet::new() }
}

fn number(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).expect("tests ask for one or more")
}

/// Tasks of meta-train, by thirds.
pub(super) fn new_word(shots: usize) -> TaskOptions {
    options(Kind::NewWord { shots: number(shots) })
}

/// Tasks of meta-train, by thirds.
pub(super) fn new_domain(scenes: usize, shots: usize) -> TaskOptions {
    options(Kind::NewDomain { scenes: number(scenes), shots: number(shots) })
}
