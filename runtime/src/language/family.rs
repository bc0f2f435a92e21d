//! Singular, plural and possessive of a noun.

/// Plurals that follow no rule, with the families of their singulars.
const IRREGULAR: [(&str, &str); 8] = [
    ("men", "man"),
    ("women", "woman"),
    ("children", "child"),
    ("people", "person"),
    ("feet", "foot"),
    ("teeth", "tooth"),
    ("geese", "goose"),
    ("mice", "mouse"),
];

/// What singular, plural and possessive of an English noun have in common: a stem, not always a word.
///
/// Unrelated words may share one (plan and plane). For whoever asks whether a caption says a thing, that is the smaller mistake; a plural
/// that was taken for another word would put one concept into two meta-splits.
///
/// ```
/// use metalens::language::family;
/// assert_eq!(family("bus"), family("buses"));
/// assert_ne!(family("glass"), family("grass"));
/// ```
#[must_use]
pub fn family(word: &str) -> String {
    let word = word.strip_suffix("'s").unwrap_or(word).trim_end_matches('\'');
    let word =
        IRREGULAR.into_iter().find(|(plural, _)| *plural == word).map_or(word, |(_, singular)| singular);
    let without_s = |word: &str| -> String {
        let trimmed = word.strip_suffix('s').filter(|rest| !rest.ends_with('s'));
        trimmed.unwrap_or(word).to_owned()
    };
    // horses, horse -> hor; buses, bus -> bu; dresses, dress -> dress.
    let mut stem = without_s(word);
    if stem.ends_with('e') {
        stem.pop();
    }
    stem = without_s(&stem);
    // babies, baby -> babi; wolves, wolf -> wolv.
    for (end, other) in [('y', 'i'), ('f', 'v')] {
        if stem.ends_with(end) {
            stem.pop();
            stem.push(other);
        }
    }
    stem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_a_noun_are_one_family() {
        for (one, many) in [
            ("dog", "dogs"),
            ("horse", "horses"),
            ("bus", "buses"),
            ("dress", "dresses"),
            ("glass", "glasses"),
            ("beach", "beaches"),
            ("box", "boxes"),
            ("baby", "babies"),
            ("boy", "boys"),
            ("leaf", "leaves"),
            ("knife", "knives"),
            ("child", "children"),
            ("person", "people"),
            ("woman", "women"),
            ("shoe", "shoes"),
            ("tree", "trees"),
            ("house", "houses"),
            ("potato", "potatoes"),
        ] {
            assert_eq!(family(one), family(many), "{one}");
            assert_eq!(family(one), family(&format!("{one}'s")), "{one}");
            assert_eq!(family(one), family(&format!("{many}'")), "{one}");
        }
    }

    #[test]
    fn different_nouns_are_different_families() {
        let words =
            ["dog", "boy", "baby", "bus", "glass", "grass", "man", "woman", "girl", "hose", "child", "dress"];
        for (place, one) in words.iter().enumerate() {
            for other in &words[..place] {
                assert_ne!(family(one), family(other), "{one} {other}");
            }
        }
    }
}
