//! Finds the nouns of a corpus from the corpus itself, without a tagger.

use std::collections::HashMap;

use metalens::language::words;

use super::function_words::{CLOSERS, DETERMINERS, NOT_A_THING, PREPOSITIONS_AND_CONJUNCTIONS};

/// A word that is mostly used as a noun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noun {
    /// The word; singular and plural are two.
    pub word: String,
    /// Pictures of which at least two captions say it.
    pub pictures: usize,
}

/// Captions that must say a word before a picture counts as showing what it names.
pub(super) const CAPTIONS: usize = 2;
/// Rarer words are not judged.
const MIN_COUNT: u32 = 20;
/// Rarer words are not taken for adjectives.
const MIN_MODIFIER_COUNT: u32 = 5;
/// Adjectives are known by determiners and by other adjectives before them ("a big brown dog"), so they are looked for
/// again.
const MODIFIER_ROUNDS: usize = 3;

/// The id of the caption's start and of its end.
const BOUNDARY: usize = 0;

/// Counts of words and of neighbours.
struct Counts {
    words: Vec<String>,
    count: Vec<u32>,
    /// How often the second word follows the first.
    pairs: HashMap<(usize, usize), u32>,
}

/// For each word, how often it stands in a place that tells something of it.
struct Places {
    /// After the caption's start, a determiner, a preposition, a conjunction or an adjective.
    opened: Vec<u32>,
    /// After a determiner or an adjective.
    determined: Vec<u32>,
    /// Before the caption's end, a function word or a word in -ing.
    closed: Vec<u32>,
    /// Before `of`: what is of something is a part, an amount or a place, such as the front or a group.
    of: Vec<u32>,
}

/// The nouns of captions, of which each picture has several: by falling number of pictures, then in alphabetical order.
///
/// With the shares of a word's occurrences
///
/// ```text
/// opened      after the caption's start, a determiner or number, a preposition, a conjunction or an adjective
/// determined  after a determiner, number or adjective
/// closed      before the caption's end, a function word or a word in -ing
/// of          before "of"
/// ```
///
/// a word is an adjective when opened > 1/2 and closed < 1/2. It is a noun when opened >= 3/5, closed >= 1/2,
/// determined >= 1/4 and of < 1/4. Verbs fail opened ("a dog runs on"), adjectives closed ("a brown dog"), "midair"
/// determined ("in midair"), and "front" of. Words of a short list name nothing that can be pointed at ("background")
/// and are left out.
#[must_use]
pub fn nouns<'a>(pictures: impl Iterator<Item = &'a [String]>) -> Vec<Noun> {
    let mut counts = Counts { words: vec![String::new()], count: vec![0], pairs: HashMap::new() };
    let mut ids: HashMap<String, usize> = HashMap::from([(String::new(), BOUNDARY)]);
    let mut shown: Vec<usize> = vec![0];
    for captions in pictures {
        let mut said: HashMap<usize, usize> = HashMap::new();
        for caption in captions {
            let mut caption: Vec<usize> = words(caption)
                .into_iter()
                .map(|word| {
                    *ids.entry(word).or_insert_with_key(|word| {
                        counts.words.push(word.clone());
                        counts.count.push(0);
                        shown.push(0);
                        shown.len() - 1
                    })
                })
                .collect();
            counts.add(&caption);
            caption.sort_unstable();
            caption.dedup();
            caption.into_iter().for_each(|word| *said.entry(word).or_default() += 1);
        }
        said.into_iter().filter(|(_, captions)| *captions >= CAPTIONS).for_each(|(word, _)| shown[word] += 1);
    }
    let mut nouns: Vec<Noun> = counts
        .nouns()
        .into_iter()
        .map(|word| Noun { word: counts.words[word].clone(), pictures: shown[word] })
        .collect();
    nouns.sort_by(|a, b| b.pictures.cmp(&a.pictures).then_with(|| a.word.cmp(&b.word)));
    nouns
}

impl Counts {
    fn add(&mut self, caption: &[usize]) {
        let mut before = BOUNDARY;
        for &word in caption {
            self.count[word] += 1;
            *self.pairs.entry((before, word)).or_default() += 1;
            before = word;
        }
        *self.pairs.entry((before, BOUNDARY)).or_default() += 1;
    }

    fn nouns(&self) -> Vec<usize> {
        let is = |list: &[&str]| -> Vec<bool> {
            self.words.iter().map(|word| list.contains(&word.as_str())).collect()
        };
        let determiner = is(DETERMINERS);
        let preposition = is(PREPOSITIONS_AND_CONJUNCTIONS);
        let closer = is(CLOSERS);
        let function: Vec<bool> =
            (0..self.words.len()).map(|word| determiner[word] || preposition[word] || closer[word]).collect();
        let not_a_thing = is(NOT_A_THING);

        let mut modifier = determiner.clone();
        for _ in 0..MODIFIER_ROUNDS {
            let places = self.places(&modifier, &preposition, &function);
            modifier = (0..self.words.len())
                .map(|word| {
                    let Places { opened, closed, .. } = &places;
                    let count = self.count[word];
                    let adjective = count >= MIN_MODIFIER_COUNT
                        && !function[word]
                        && 2 * opened[word] > count
                        && 2 * closed[word] < count;
                    determiner[word] || adjective
                })
                .collect();
        }
        let Places { opened, determined, closed, of } = self.places(&modifier, &preposition, &function);
        let noun = |&word: &usize| {
            let count = self.count[word];
            count >= MIN_COUNT
                && !function[word]
                && !not_a_thing[word]
                && 5 * opened[word] >= 3 * count
                && 2 * closed[word] >= count
                && 4 * determined[word] >= count
                && 4 * of[word] < count
        };
        (1..self.words.len()).filter(noun).collect()
    }

    /// `modifier` are determiners and what is so far taken for an adjective.
    fn places(&self, modifier: &[bool], preposition: &[bool], function: &[bool]) -> Places {
        let none = || vec![0; self.words.len()];
        let mut places = Places { opened: none(), determined: none(), closed: none(), of: none() };
        for (&(before, after), &count) in &self.pairs {
            if modifier[before] {
                places.determined[after] += count;
            }
            if before == BOUNDARY || modifier[before] || preposition[before] {
                places.opened[after] += count;
            }
            let next = &self.words[after];
            if after == BOUNDARY || function[after] || next.ends_with("ing") {
                places.closed[before] += count;
            }
            if next == "of" {
                places.of[before] += count;
            }
        }
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nouns_are_told_from_verbs_adjectives_and_places() {
        let captions = [
            "a brown dog runs in the snow",
            "the brown dog is running near a tree",
            "two dogs play with a red ball in front of a tree",
            "brown dogs and a cat are in the snow",
            "the two dogs are jumping",
            "a red ball lies in the background",
            "dogs wait to catch the ball",
        ]
        .map(str::to_owned);
        let pictures = vec![&captions[..]; 20];
        let nouns = nouns(pictures.into_iter());
        let found: Vec<&str> = nouns.iter().map(|noun| noun.word.as_str()).collect();
        assert_eq!(found, ["ball", "dog", "dogs", "snow", "tree", "cat"]);
        // One caption a picture says cat.
        assert_eq!(nouns.iter().map(|noun| noun.pictures).collect::<Vec<_>>(), [20, 20, 20, 20, 20, 0]);
    }
}
