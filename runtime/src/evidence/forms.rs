//! Which words name the same thing, as far as a search that requires a word has to know.

use std::collections::HashMap;

use metalens_models::{TokenId, Vocabulary};

use crate::language::family;

/// What a person is called: whoever says one of these has said the others.
const PEOPLE: &str = "person man woman child boy girl kid baby toddler lady guy player rider surfer skier skateboarder \
                      snowboarder crowd";

/// The family of every word.
pub(crate) struct Forms {
    /// The id of the word that stands for the family of each word; people are one.
    family: Vec<TokenId>,
    /// The same, singular and plural alone being one.
    number: Vec<TokenId>,
}

impl Forms {
    /// The families of a vocabulary's words: singular and plural are one, and so are all that a person is called.
    pub fn new(vocabulary: &Vocabulary) -> Self {
        let people: Vec<String> = PEOPLE.split(' ').map(family).collect();
        let by = |key: &dyn Fn(&str) -> String| {
            let mut first: HashMap<String, TokenId> = HashMap::new();
            let representative = |token| match vocabulary.word(token) {
                None => token,
                Some(word) => *first.entry(key(word)).or_insert(token),
            };
            (0..vocabulary.len() as u32).map(TokenId).map(representative).collect()
        };
        let or_people = |word: &str| {
            let key = family(word);
            if people.contains(&key) { people[0].clone() } else { key }
        };
        Self { family: by(&or_people), number: by(&family) }
    }

    /// Whether one of these words said is the other one said as well.
    pub fn are_of_one(&self, a: TokenId, b: TokenId) -> bool {
        same(&self.family, a, b)
    }

    /// Whether these words are one but for their number.
    pub fn are_one_word(&self, a: TokenId, b: TokenId) -> bool {
        same(&self.number, a, b)
    }
}

fn same(representatives: &[TokenId], a: TokenId, b: TokenId) -> bool {
    match (representatives.get(a.index()), representatives.get(b.index())) {
        (Some(a), Some(b)) => a == b,
        _ => a == b,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use metalens_models::{SlotRange, SpecialTokens};

    #[test]
    fn singular_and_plural_are_one_and_so_are_people() {
        let special = SpecialTokens {
            padding: TokenId(0),
            start: TokenId(1),
            end: TokenId(2),
            unknown: TokenId(3),
            slots: SlotRange { first: TokenId(14), count: 0 },
        };
        let text = "<p>\n<s>\n<e>\n<u>\nzebra\nzebras\nbus\nbuses\ngrass\nman\nwomen\npeople\npuppy\npuppies";
        let vocabulary = Vocabulary::parse(text.as_bytes(), 14, special).unwrap();
        let forms = Forms::new(&vocabulary);
        let one = |a: &str, b: &str| forms.are_of_one(vocabulary.id(a).unwrap(), vocabulary.id(b).unwrap());
        assert!(one("zebra", "zebras") && one("bus", "buses") && one("puppy", "puppies"));
        assert!(one("man", "women") && one("man", "people"));
        assert!(!one("zebra", "bus") && !one("zebra", "man"));
    }
}
