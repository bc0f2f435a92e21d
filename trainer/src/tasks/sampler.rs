//! Draws tasks.

use std::collections::HashSet;

use metalens::language::words;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::new_domain::{self, Scene};
use super::new_word::{self, Concept};
use super::{Kind, MetaSplit, Partition, Pool, Task, TaskError};

/// Which tasks.
#[derive(Clone, Debug)]
pub struct TaskOptions {
    /// What they teach, and with how many shots.
    pub kind: Kind,
    /// What they are for.
    pub split: MetaSplit,
    /// Which pictures and subjects that leaves.
    pub partition: Partition,
    /// Another seed draws other tasks from the same pictures and subjects.
    pub seed: u64,
    /// The captioner's vocabulary; no nonce is in it.
    pub known: HashSet<String>,
}

/// What tasks can be about.
#[derive(Debug)]
enum Subjects {
    Concepts(Vec<Concept>),
    Scenes(Vec<Scene>),
}

/// All tasks of a kind and a meta-split, numbered.
#[derive(Debug)]
pub struct Sampler<'a> {
    pool: &'a Pool<'a>,
    options: TaskOptions,
    subjects: Subjects,
    /// Words that are no nonces.
    taken: HashSet<String>,
}

/// What a generator is for.
const TURN: u64 = 1;
const DRAW: u64 = 2;

impl<'a> Sampler<'a> {
    /// Finds what tasks can be about.
    ///
    /// # Errors
    /// When the meta-split has too few pictures, concepts or scenes, or one that is listed as held out has too few or
    /// does not exist; the message tells how many there are and how many are needed.
    pub fn new(pool: &'a Pool<'a>, options: TaskOptions) -> Result<Self, TaskError> {
        let mut taken = HashSet::new();
        let subjects = match options.kind {
            Kind::NewWord { shots } => {
                let captions = pool.pictures().iter().flat_map(|picture| picture.captions);
                taken.clone_from(&options.known);
                taken.extend(captions.flat_map(|caption| words(caption)));
                Subjects::Concepts(new_word::concepts(pool, &options.partition, options.split, shots.get())?)
            }
            Kind::NewDomain { scenes, shots } => Subjects::Scenes(new_domain::scenes(
                pool,
                &options.partition,
                options.split,
                scenes.get(),
                shots.get(),
            )?),
        };
        Ok(Self { pool, options, subjects, taken })
    }

    /// The concepts or scenes that tasks can be about, with the number of pictures that show each.
    #[must_use]
    pub fn subjects(&self) -> Vec<(&str, usize)> {
        match &self.subjects {
            Subjects::Concepts(all) => all.iter().map(|c| (c.word.as_str(), c.positives.len())).collect(),
            Subjects::Scenes(all) => all.iter().map(|s| (s.name.as_str(), s.pictures.len())).collect(),
        }
    }

    /// The task with this number; any number will do.
    #[must_use]
    pub fn task(&self, number: usize) -> Task {
        let mut rng = self.generator(DRAW, number);
        let (subject, support, query) = match (&self.subjects, self.options.kind) {
            (Subjects::Concepts(concepts), Kind::NewWord { shots }) => {
                let concept = &concepts[self.turn(number, concepts.len())];
                concept.draw(shots.get(), self.pool, |word| self.taken.contains(word), &mut rng)
            }
            (Subjects::Scenes(scenes), Kind::NewDomain { scenes: count, shots }) => {
                let first = self.turn(number, scenes.len());
                new_domain::draw(scenes, first, count.get(), shots.get(), self.pool, &mut rng)
            }
            _ => unreachable!("`new` finds the subjects of the kind"),
        };
        Task { number, subject, support, query, written: None }
    }

    /// The tasks 0 to `count` - 1.
    #[must_use]
    pub fn tasks(&self, count: usize) -> Vec<Task> {
        (0..count).map(|number| self.task(number)).collect()
    }

    /// Which of `count` subjects task `number` is about: each is taken once a round, in another order every round.
    fn turn(&self, number: usize, count: usize) -> usize {
        let mut order: Vec<usize> = (0..count).collect();
        order.shuffle(&mut self.generator(TURN, number / count));
        order[number % count]
    }

    fn generator(&self, purpose: u64, number: usize) -> ChaCha8Rng {
        let TaskOptions { seed, kind, split, .. } = self.options;
        let kind = match kind {
            Kind::NewWord { .. } => 0,
            Kind::NewDomain { .. } => 1,
        };
        let mut key = [0; 32];
        for (slot, value) in
            key.chunks_exact_mut(8).zip([seed, purpose, kind << 8 | split as u64, number as u64])
        {
            slot.copy_from_slice(&value.to_le_bytes());
        }
        ChaCha8Rng::from_seed(key)
    }
}
