//! The words that a captioner learns, chosen from its training captions.

use std::collections::HashMap;

/// Fills rows that end early; never read or said.
pub const PADDING: u32 = 0;
/// Read before the first word.
pub const START: u32 = 1;
/// Said after the last word.
pub const END: u32 = 2;
/// Read in place of a word that the vocabulary lacks; never said.
pub const UNKNOWN: u32 = 3;

/// The special tokens as they stand in `vocabulary.txt`, in the order of their ids.
pub const SPECIAL: [&str; 4] = ["<padding>", "<start>", "<end>", "<unknown>"];

/// Words and their ids, special tokens first, then by falling frequency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainingVocabulary {
    words: Vec<String>,
    ids: HashMap<String, u32>,
}

impl TrainingVocabulary {
    /// The words that stand `min_count` times or more in the captions; ties in alphabetical order.
    pub fn count<'a>(captions: impl Iterator<Item = &'a str>, min_count: usize) -> Self {
        Self::count_all([(captions, min_count)])
    }

    /// The words that stand often enough in one of several collections of captions, each with the number of times that is enough,
    /// by how often they stand in all of them; ties in alphabetical order.
    pub fn count_all<'a, C: Iterator<Item = &'a str>>(
        collections: impl IntoIterator<Item = (C, usize)>,
    ) -> Self {
        let mut counts: HashMap<String, (usize, bool)> = HashMap::new();
        for (captions, min_count) in collections {
            let mut here: HashMap<String, usize> = HashMap::new();
            for caption in captions {
                for word in metalens::language::words(caption) {
                    *here.entry(word).or_default() += 1;
                }
            }
            for (word, count) in here {
                let (sum, enough) = counts.entry(word).or_default();
                *sum += count;
                *enough |= count >= min_count;
            }
        }
        let frequent = counts.into_iter().filter(|(_, (_, enough))| *enough);
        let mut frequent: Vec<(String, usize)> = frequent.map(|(word, (sum, _))| (word, sum)).collect();
        frequent.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let special = SPECIAL.iter().map(|&word| word.to_owned());
        Self::from_words(special.chain(frequent.into_iter().map(|(word, _)| word)).collect())
    }

    /// A vocabulary whose ids are the positions of `words`; the first four are the special tokens.
    #[must_use]
    pub fn from_words(words: Vec<String>) -> Self {
        let ids = words.iter().enumerate().map(|(id, word)| (word.clone(), id as u32)).collect();
        Self { words, ids }
    }

    /// All words, in the order of their ids.
    #[must_use]
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// How many words there are, special tokens included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there is no word at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The ids of a caption's first `max_words` words; unknown ones become [`UNKNOWN`].
    #[must_use]
    pub fn encode(&self, caption: &str, max_words: usize) -> Vec<u32> {
        metalens::language::words(caption)
            .into_iter()
            .take(max_words)
            .map(|word| self.ids.get(&word).copied().unwrap_or(UNKNOWN))
            .collect()
    }

    /// The words of ids, separated by spaces.
    #[must_use]
    pub fn decode(&self, ids: &[u32]) -> String {
        let words: Vec<&str> = ids.iter().map(|&id| self.words[id as usize].as_str()).collect();
        words.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_ranked_by_count_and_rare_ones_are_unknown() {
        let captions = ["A dog runs .", "a Dog sleeps", "the dog"];
        let vocabulary = TrainingVocabulary::count(captions.into_iter(), 2);
        assert_eq!(vocabulary.words()[4..], ["dog", "a"]);
        assert_eq!(vocabulary.encode("A zebra dog!", 20), [5, UNKNOWN, 4]);
        assert_eq!(vocabulary.encode("a a a a", 2), [5, 5]);
        assert_eq!(vocabulary.decode(&[5, 4]), "a dog");
    }
}
