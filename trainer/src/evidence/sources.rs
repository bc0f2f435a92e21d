//! Where the words of a vocabulary come from.

use std::collections::{BTreeMap, HashMap};

use metalens_models::{Sources, TokenId};

use super::words;
use crate::vocabulary::TrainingVocabulary;

/// What tells the vocabulary's words: `captions` are those with a row of evidence; classes and things are named by [`words`].
#[must_use]
pub fn sources(vocabulary: &TrainingVocabulary, captions: &[u32], classes: bool, things: bool) -> Sources {
    let ids: HashMap<&str, u32> = vocabulary.words().iter().map(String::as_str).zip(0..).collect();
    let id = |word: &str| ids.get(word).map(|&id| TokenId(id));
    let mut of_classes: BTreeMap<TokenId, Vec<usize>> = BTreeMap::new();
    for (class, words) in words::classes().into_iter().filter(|_| classes) {
        for word in words.into_iter().filter_map(id) {
            of_classes.entry(word).or_default().push(class);
        }
    }
    let of_things = words::things().into_iter().filter(|_| things);
    let of_things = of_things.flat_map(|(thing, words)| words.into_iter().map(move |word| (thing, word)));
    Sources {
        captions: captions.iter().map(|&word| TokenId(word)).collect(),
        classes: of_classes.into_iter().collect(),
        things: of_things.filter_map(|(thing, word)| Some((id(word)?, thing))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_the_vocabulary_lacks_have_no_source() {
        let words = ["<padding>", "<start>", "<end>", "<unknown>", "dog", "zebra", "truck"];
        let vocabulary = TrainingVocabulary::from_words(words.map(str::to_owned).to_vec());
        let all = sources(&vocabulary, &[4], true, true);
        assert_eq!(all.captions, [TokenId(4)]);
        let classes: Vec<u32> = all.classes.iter().map(|(word, _)| word.0).collect();
        assert_eq!(classes, [4, 5, 6]);
        let dogs = &all.classes[0].1;
        assert!(dogs.len() >= 118 && dogs.contains(&151) && dogs.contains(&268), "{dogs:?}");
        let things: Vec<(u32, usize)> = all.things.iter().map(|(word, thing)| (word.0, *thing)).collect();
        assert_eq!(things, [(6, 7), (4, 16), (5, 22)]);
        assert_eq!(sources(&vocabulary, &[], false, false), Sources::default());
    }
}
