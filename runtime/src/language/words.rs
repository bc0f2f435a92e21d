//! What counts as a word, in training captions, references and calibration captions alike.

/// The words of a caption: lower-case runs of letters and digits, with apostrophes and hyphens inside them kept; all
/// other signs separate words and are dropped.
///
/// ```
/// use metalens::language::words;
/// assert_eq!(words("A child's T-shirt , 'red' .").join(" "), "a child's t-shirt red");
/// ```
#[must_use]
pub fn words(caption: &str) -> Vec<String> {
    let inner = |c: char| c == '\'' || c == '-';
    caption
        .to_lowercase()
        // The typographic apostrophe is the same word's spelling on a phone.
        .replace('\u{2019}', "'")
        .split(|c: char| !c.is_alphanumeric() && !inner(c))
        .map(|word| word.trim_matches(inner))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn case_and_punctuation_do_not_matter_and_inner_signs_do() {
        let cases = [
            ("A child in a pink dress .", "a child in a pink dress"),
            ("Two dogs--one brown", "two dogs--one brown"),
            ("the dog's ball; a t-shirt!", "the dog's ball a t-shirt"),
            ("\"hello\" - 'world'", "hello world"),
            ("Änderung  GRÖSSE\tNº 7", "änderung grösse nº 7"),
            ("the man’s hat", "the man's hat"),
            (" . , ", ""),
        ];
        for (caption, expected) in cases {
            assert_eq!(words(caption).join(" "), expected);
        }
    }
}
