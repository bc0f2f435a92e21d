//! English words of closed classes, by which nouns are recognised.

/// Stand before a noun or its adjectives.
#[rustfmt::skip]
pub(super) const DETERMINERS: &[&str] = &[
    "a", "an", "the", "his", "her", "their", "its", "my", "your", "our", "this", "that", "these", "those",
    "some", "several", "many", "each", "every", "both", "no", "any", "another", "one", "two", "three",
    "four", "five", "six", "seven", "eight", "nine", "ten",
];

/// Stand before a noun phrase, or after one. `to` is not among them: more often than not a verb follows it.
#[rustfmt::skip]
pub(super) const PREPOSITIONS_AND_CONJUNCTIONS: &[&str] = &[
    "in", "on", "with", "at", "of", "from", "by", "near", "over", "into", "through", "under", "behind",
    "beside", "along", "across", "around", "against", "between", "onto", "down", "up", "off", "out",
    "during", "for", "above", "below", "beneath", "underneath", "next", "atop", "inside", "outside",
    "past", "toward", "towards", "among", "amongst", "about", "like", "while", "as", "within", "without",
    "after", "before", "and", "or", "but",
];

/// Other words that stand after a noun phrase.
#[rustfmt::skip]
pub(super) const CLOSERS: &[&str] = &[
    "to", "is", "are", "was", "were", "be", "being", "been", "has", "have", "had", "do", "does", "can",
    "will", "who", "that", "which", "where", "when", "whose", "it", "them", "him", "he", "she", "they",
];

/// Nouns that name nothing which can be pointed at in a picture.
#[rustfmt::skip]
pub(super) const NOT_A_THING: &[&str] = &[
    "air", "area", "back", "background", "body", "bottom", "camera", "center", "couple", "day",
    "distance", "edge", "end", "front", "group", "left", "line", "lot", "middle", "night", "number",
    "object", "other", "others", "pair", "part", "picture", "place", "rest", "right", "row", "scene",
    "side", "somebody", "someone", "something", "thing", "things", "time", "top", "trick", "turn", "view",
    "way", "ways",
];

/// Other words that tell nothing which a picture shows.
#[rustfmt::skip]
const OTHERS: &[&str] = &[
    "there", "what", "having", "very", "just", "so", "only", "not", "both", "each", "other", "front", "him", "them",
];

/// Whether a word means nothing by itself.
pub(crate) fn is_function_word(word: &str) -> bool {
    [DETERMINERS, PREPOSITIONS_AND_CONJUNCTIONS, CLOSERS, OTHERS].iter().any(|list| list.contains(&word))
}
