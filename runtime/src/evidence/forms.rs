//! Which words name the same thing, as far as a search that requires a word has to know.

use metalens_models::{TokenId, Vocabulary};

/// Plurals that no rule makes.
const IRREGULAR: [(&str, &str); 9] = [
    ("men", "man"),
    ("women", "woman"),
    ("children", "child"),
    ("people", "person"),
    ("feet", "foot"),
    ("teeth", "tooth"),
    ("mice", "mouse"),
    ("knives", "knife"),
    ("leaves", "leaf"),
];

/// What a person is called: whoever says one of these has said the others.
const PEOPLE: &str = "person man woman child boy girl kid baby toddler lady guy player rider surfer skier skateboarder \
                      snowboarder crowd";

/// The family of every word.
pub(crate) struct Forms {
    /// The id of the word that stands for the family of each word.
    family: Vec<TokenId>,
}

impl Forms {
    /// The families of a vocabulary's words: singular and plural are one, and so are all that a person is called.
    pub fn new(vocabulary: &Vocabulary) -> Self {
        let id = |word: &str| vocabulary.id(word);
        let person = PEOPLE.split(' ').find_map(id);
        let family = (0..vocabulary.len() as u32).map(TokenId).map(|token| {
            let Some(word) = vocabulary.word(token) else { return token };
            let singular = singular(word, |candidate| id(candidate).is_some());
            let is_person = PEOPLE.split(' ').any(|name| name == singular);
            person.filter(|_| is_person).or_else(|| id(&singular)).unwrap_or(token)
        });
        Self { family: family.collect() }
    }

    /// Whether one of these words said is the other one said as well.
    pub fn are_of_one(&self, a: TokenId, b: TokenId) -> bool {
        match (self.family.get(a.index()), self.family.get(b.index())) {
            (Some(a), Some(b)) => a == b,
            _ => a == b,
        }
    }
}

/// The singular of a word, where `is_word` knows it; else the word.
fn singular(word: &str, is_word: impl Fn(&str) -> bool) -> String {
    if let Some((_, singular)) = IRREGULAR.iter().find(|(plural, _)| *plural == word) {
        return (*singular).to_owned();
    }
    let endings = [("s", ""), ("es", ""), ("ies", "y")];
    let parts = endings.into_iter().filter_map(|(plural, singular)| {
        let part = word.strip_suffix(plural)?;
        (part.len() > 1).then(|| format!("{part}{singular}"))
    });
    parts.into_iter().find(|part| is_word(part)).unwrap_or_else(|| word.to_owned())
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
