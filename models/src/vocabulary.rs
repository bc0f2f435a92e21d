//! `vocabulary.txt`.

use std::collections::HashMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::SpecialTokens;

/// A word's place in the vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(pub u32);

impl TokenId {
    /// As an index into a row of logits.
    #[must_use]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is wrong with a vocabulary.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum VocabularyError {
    /// The file is not UTF-8.
    #[error("not UTF-8 after {0} bytes")]
    Encoding(usize),
    /// There are more or fewer words than the manifest's shapes say.
    #[error("{found} words, {expected} expected")]
    Count {
        /// Lines of the file.
        found: usize,
        /// `shapes.vocabulary` of the manifest.
        expected: usize,
    },
    /// A line is empty or has white space in it.
    #[error("line {0} is no single word")]
    NoWord(usize),
    /// A word stands twice.
    #[error("lines {0} and {1} hold the same word")]
    Twice(usize, usize),
    /// A special token's id is beyond the last word.
    #[error("special token {name} has id {id}, beyond the last word")]
    Special {
        /// Which one.
        name: &'static str,
        /// Its id.
        id: TokenId,
    },
    /// No word can be said.
    #[error("holds no word but special tokens and slots")]
    Nothing,
    /// The slots are not the last words.
    #[error("{count} slots from {first} on do not end at the last word")]
    Slots {
        /// The first slot.
        first: TokenId,
        /// How many there are.
        count: usize,
    },
}

/// Words and their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    words: Vec<String>,
    ids: HashMap<String, TokenId>,
    special: SpecialTokens,
}

impl Vocabulary {
    /// Parses `vocabulary.txt`: one word a line, `count` of them, the slots at the end.
    ///
    /// # Errors
    /// When the words are not what the manifest says; lines are counted from 1.
    pub fn parse(text: &[u8], count: usize, special: SpecialTokens) -> Result<Self, VocabularyError> {
        let text = std::str::from_utf8(text).map_err(|e| VocabularyError::Encoding(e.valid_up_to()))?;
        let words: Vec<String> = text.lines().map(str::to_owned).collect();
        if words.len() != count {
            return Err(VocabularyError::Count { found: words.len(), expected: count });
        }
        let mut ids = HashMap::with_capacity(count);
        for (line, word) in words.iter().enumerate() {
            if word.is_empty() || word.contains(char::is_whitespace) {
                return Err(VocabularyError::NoWord(line + 1));
            }
            if let Some(TokenId(first)) = ids.insert(word.clone(), TokenId(line as u32)) {
                return Err(VocabularyError::Twice(first as usize + 1, line + 1));
            }
        }
        let SpecialTokens { padding, start, end, unknown, slots } = special;
        for (name, id) in [("padding", padding), ("start", start), ("end", end), ("unknown", unknown)] {
            if id.index() >= count {
                return Err(VocabularyError::Special { name, id });
            }
        }
        if slots.first.index().checked_add(slots.count) != Some(count) {
            return Err(VocabularyError::Slots { first: slots.first, count: slots.count });
        }
        let vocabulary = Self { words, ids, special };
        let mut known = (0..slots.first.0).map(TokenId);
        if !known.any(|id| id != end && vocabulary.can_be_said(id)) {
            return Err(VocabularyError::Nothing);
        }
        Ok(vocabulary)
    }

    /// How many words there are, special tokens and slots included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there is no word.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The words with a meaning of their own.
    #[must_use]
    pub fn special(&self) -> &SpecialTokens {
        &self.special
    }

    /// The word with this id, if there is one.
    #[must_use]
    pub fn word(&self, id: TokenId) -> Option<&str> {
        self.words.get(id.index()).map(String::as_str)
    }

    /// The id of a word.
    #[must_use]
    pub fn id(&self, word: &str) -> Option<TokenId> {
        self.ids.get(word).copied()
    }

    /// Whether new words may take this id.
    #[must_use]
    pub fn is_slot(&self, id: TokenId) -> bool {
        id >= self.special.slots.first && id.index() < self.len()
    }

    /// Whether a caption may contain this word, the end included: no other special token, and no slot, which nobody
    /// has given a meaning.
    #[must_use]
    pub fn can_be_said(&self, id: TokenId) -> bool {
        let SpecialTokens { padding, start, unknown, .. } = self.special;
        ![padding, start, unknown].contains(&id) && !self.is_slot(id)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::SlotRange;

    fn special() -> SpecialTokens {
        SpecialTokens {
            padding: TokenId(0),
            start: TokenId(1),
            end: TokenId(2),
            unknown: TokenId(3),
            slots: SlotRange { first: TokenId(5), count: 2 },
        }
    }

    const TEXT: &[u8] = b"<padding>\n<start>\n<end>\n<unknown>\ndog\n<slot0>\n<slot1>\n";

    #[test]
    fn words_are_found_by_id_and_ids_by_word() {
        let vocabulary = Vocabulary::parse(TEXT, 7, special()).unwrap();
        assert_eq!(vocabulary.word(TokenId(4)), Some("dog"));
        assert_eq!(vocabulary.id("dog"), Some(TokenId(4)));
        assert_eq!(vocabulary.word(TokenId(7)), None);
        let said: Vec<u32> = (0..8).filter(|&id| vocabulary.can_be_said(TokenId(id))).collect();
        assert_eq!(said, [2, 4, 7]);
    }

    #[test]
    fn each_way_to_be_wrong_has_its_own_error() {
        let parse = |text: &[u8], count| Vocabulary::parse(text, count, special()).unwrap_err();
        assert_eq!(parse(b"a\n\xff\n", 2), VocabularyError::Encoding(2));
        assert_eq!(parse(TEXT, 8), VocabularyError::Count { found: 7, expected: 8 });
        assert_eq!(parse(b"a\n\nb\n", 3), VocabularyError::NoWord(2));
        assert_eq!(parse(b"a\nb c\n", 2), VocabularyError::NoWord(2));
        assert_eq!(parse(b"a\nb\na\n", 3), VocabularyError::Twice(1, 3));
        assert_eq!(parse(b"a\nb\n", 2), VocabularyError::Special { name: "end", id: TokenId(2) });
        let two_slots = b"<padding>\n<start>\n<end>\n<unknown>\ns\nt\n";
        let slots = SlotRange { first: TokenId(4), count: 2 };
        assert_eq!(
            Vocabulary::parse(two_slots, 6, SpecialTokens { slots, ..special() }),
            Err(VocabularyError::Nothing)
        );
        assert_eq!(parse(b"a\nb\nc\nd\ne\nf\n", 6), VocabularyError::Slots { first: TokenId(5), count: 2 });
    }
}
