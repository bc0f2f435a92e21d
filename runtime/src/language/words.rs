//! What counts as a word, in training captions, references and calibration captions alike.

use unicode_normalization::UnicodeNormalization;

/// A word, as it is compared and as somebody wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spelled {
    /// Lower-case.
    pub word: String,
    /// With the capitals that it was written with.
    pub written: String,
}

/// The words of a caption: lower-case runs of letters and digits, with apostrophes and hyphens inside them kept; all
/// other signs separate words and are dropped. Accents that are written apart from their letters are joined to them
/// (Unicode's normalization form C).
///
/// ```
/// use metalens::language::words;
/// assert_eq!(words("A child's T-shirt , 'red' .").join(" "), "a child's t-shirt red");
/// ```
#[must_use]
pub fn words(caption: &str) -> Vec<String> {
    spelled(caption).into_iter().map(|word| word.word).collect()
}

/// The same words, with the spelling that the caption has.
#[must_use]
pub fn spelled(caption: &str) -> Vec<Spelled> {
    let inner = |c: char| c == '\'' || c == '-';
    let composed: String = caption.nfc().collect();
    composed
        // The typographic apostrophe is the same word's spelling on a phone.
        .replace('\u{2019}', "'")
        .split(|c: char| !c.is_alphanumeric() && !inner(c))
        .map(|word| word.trim_matches(inner))
        .filter(|word| !word.is_empty())
        .map(|written| Spelled { word: written.to_lowercase(), written: written.to_owned() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{spelled, words};

    #[test]
    fn case_and_punctuation_do_not_matter_and_inner_signs_do() {
        let cases = [
            ("A child in a pink dress .", "a child in a pink dress"),
            ("Two dogs--one brown", "two dogs--one brown"),
            ("the dog's ball; a t-shirt!", "the dog's ball a t-shirt"),
            ("\"hello\" - 'world'", "hello world"),
            ("Änderung  GRÖSSE\tNº 7", "änderung grösse nº 7"),
            ("the man’s hat", "the man's hat"),
            ("cafe\u{301}", "café"),
            (" . , ", ""),
        ];
        for (caption, expected) in cases {
            assert_eq!(words(caption).join(" "), expected);
        }
    }

    #[test]
    fn a_word_keeps_the_spelling_that_it_was_written_with() {
        let written: Vec<String> = spelled("The iPhone, 'ÄRGER'!").into_iter().map(|w| w.written).collect();
        assert_eq!(written, ["The", "iPhone", "ÄRGER"]);
    }
}
