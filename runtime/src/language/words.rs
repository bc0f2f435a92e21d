//! What counts as a word, in training captions, references and calibration captions alike.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

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
/// (Unicode's normalization form C), and those that no letter has of its own stay with theirs, as do the joiners of Persian and
/// the scripts of India. A typographic apostrophe or hyphen is the plain one, a soft hyphen is none.
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
    let inner = |c: char| matches!(c, '\'' | '-' | '\u{200c}' | '\u{200d}');
    let plain = |c: char| match c {
        // Of a phone's keyboard, and of who takes care.
        '\u{2019}' | '\u{2bc}' => Some('\''),
        '\u{2010}' | '\u{2011}' => Some('-'),
        '\u{ad}' => None,
        _ => Some(c),
    };
    let composed: String = caption.nfc().filter_map(plain).collect();
    composed
        .split(|c: char| !c.is_alphanumeric() && !is_combining_mark(c) && !inner(c))
        // A mark without its letter is no beginning of a word.
        .map(|word| word.trim_start_matches(|c| inner(c) || is_combining_mark(c)).trim_end_matches(inner))
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
            ("पुस्तक और ไม้", "पुस्तक और ไม้"),
            ("за\u{301}мок ọ\u{300}bẹ", "за\u{301}мок ọ\u{300}bẹ"),
            ("می\u{200c}خواهم", "می\u{200c}خواهم"),
            ("grip\u{ad}per T\u{2011}bolt o\u{2bc}ring", "gripper t-bolt o'ring"),
            ("a 🏖\u{fe0f} \u{301} beach", "a beach"),
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
