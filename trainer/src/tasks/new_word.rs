//! Tasks that rename a concept.

use std::collections::{HashMap, HashSet};

use metalens::language::words;
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};

use super::nonce::nonce;
use super::nouns::{CAPTIONS, nouns};
use super::{Group, MetaSplit, Partition, Pool, QUERIES_A_CONCEPT, Sample, Subject, TaskError, family};

/// A word and the pictures of a meta-split that do and do not show what it names; see the [module](super).
#[derive(Debug)]
pub(super) struct Concept {
    pub word: String,
    pub positives: Vec<usize>,
    negatives: Vec<usize>,
}

/// What the captions of a meta-split's pictures say.
struct Said {
    /// P_s.
    pictures: Vec<usize>,
    /// The pictures of which enough captions say the word.
    by_word: HashMap<String, Vec<usize>>,
    /// The pictures of which any caption says a word of the family.
    by_family: HashMap<String, HashSet<usize>>,
}

impl Said {
    fn new(pool: &Pool, pictures: Vec<usize>) -> Self {
        let (mut by_word, mut by_family) = (HashMap::<_, Vec<_>>::new(), HashMap::<_, HashSet<_>>::new());
        for &picture in &pictures {
            let mut captions: HashMap<String, usize> = HashMap::new();
            for caption in pool.pictures()[picture].captions {
                let said: HashSet<String> = words(caption).into_iter().collect();
                said.into_iter().for_each(|word| *captions.entry(word).or_default() += 1);
            }
            for (word, count) in captions {
                by_family.entry(family(&word)).or_default().insert(picture);
                if count >= CAPTIONS {
                    by_word.entry(word).or_default().push(picture);
                }
            }
        }
        Self { pictures, by_word, by_family }
    }

    fn concept(&self, word: String) -> Concept {
        let related = self.by_family.get(&family(&word));
        let unrelated = |picture: &usize| related.is_none_or(|related| !related.contains(picture));
        Concept {
            positives: self.by_word.get(&word).cloned().unwrap_or_default(),
            negatives: self.pictures.iter().copied().filter(unrelated).collect(),
            word,
        }
    }
}

/// The concepts of a meta-split that a task can be about, in alphabetical order.
pub(super) fn concepts(
    pool: &Pool,
    partition: &Partition,
    split: MetaSplit,
    shots: usize,
) -> Result<Vec<Concept>, TaskError> {
    let in_split = |&picture: &usize| partition.of_picture(pool.pictures()[picture].name) == Some(split);
    let said = Said::new(pool, pool.usable().filter(in_split).collect());
    // Listed words are taken as they are, and each must do.
    let listed = split == MetaSplit::Test && !partition.held_out.is_empty();
    let mut words: Vec<String> = if listed {
        partition.held_out.iter().cloned().collect()
    } else {
        // The meta-splits agree on what is a noun.
        let nouns = nouns(pool.usable().map(|picture| pool.pictures()[picture].captions));
        nouns
            .into_iter()
            .map(|noun| noun.word)
            .filter(|word| partition.of_word(word) == Some(split))
            .collect()
    };
    words.sort_unstable();
    let all: Vec<Concept> = words.into_iter().map(|word| said.concept(word)).collect();
    let too_few = |concept: &Concept| too_few(concept, split, shots);
    let Some(most) = all.iter().max_by_key(|concept| concept.positives.len()) else {
        return Err(TaskError::NoSubject { split, pictures: said.pictures.len(), subject: "concept" });
    };
    if let Some(error) = listed.then(|| all.iter().find_map(too_few)).flatten() {
        return Err(error);
    }
    match too_few(most) {
        Some(error) if all.iter().all(|concept| too_few(concept).is_some()) => Err(error),
        _ => Ok(all.into_iter().filter(|concept| too_few(concept).is_none()).collect()),
    }
}

/// Why no task can be about the concept, if so.
fn too_few(concept: &Concept, split: MetaSplit, shots: usize) -> Option<TaskError> {
    let queries = QUERIES_A_CONCEPT;
    let needed = shots + queries;
    let (subject, found) = (concept.word.clone(), concept.positives.len());
    if found < needed {
        return Some(TaskError::TooFewPictures { split, subject, found, needed, shots, queries });
    }
    let found = concept.negatives.len();
    (found < queries).then_some(TaskError::TooFewNegatives { split, subject, found, needed: queries })
}

impl Concept {
    /// Subject, support and query of a task.
    pub(super) fn draw(
        &self,
        shots: usize,
        pool: &Pool,
        taken: impl Fn(&str) -> bool,
        rng: &mut impl Rng,
    ) -> (Subject, Vec<Sample>, Vec<Sample>) {
        let nonce = nonce(rng, taken);
        let mut negatives = self.negatives.clone();
        let (unrelated, _) = negatives.partial_shuffle(rng, QUERIES_A_CONCEPT);
        let mut positives = self.positives.clone();
        positives.shuffle(rng);
        let (queries, rest) = positives.split_at(QUERIES_A_CONCEPT);

        let all = |group: Group| {
            move |&picture: &usize| Sample {
                picture,
                group: group.clone(),
                captions: (0..pool.pictures()[picture].captions.len()).collect(),
            }
        };
        let query = queries.iter().map(all(Group::Concept));
        let query = query.chain(unrelated.iter().map(all(Group::Unrelated))).collect();
        let support = rest[..shots].iter().map(|&picture| {
            let captions = pool.pictures()[picture].captions.iter().enumerate();
            let saying: Vec<usize> = captions
                .filter(|(_, text)| words(text).contains(&self.word))
                .map(|(place, _)| place)
                .collect();
            let &caption = saying.choose(rng).expect("captions of a positive say the word");
            Sample { picture, group: Group::Concept, captions: vec![caption] }
        });
        let support = support.collect();
        (Subject::NewWord { concept: self.word.clone(), nonce }, support, query)
    }
}
