//! Text for readers that take no more than so many characters.

/// The text, or what of it has at most `most` characters: whole words, and `…` in the place of the rest.
#[must_use]
pub fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    // Byte places where a character begins: of the first that makes room for …, and of the one behind it.
    let end = text.char_indices().nth(most.saturating_sub(1)).map_or(text.len(), |(place, _)| place);
    let (kept, rest) = text.split_at(end);
    let whole = if rest.starts_with(char::is_whitespace) {
        kept
    } else {
        // A word that is longer than everything is cut wherever it must be.
        kept.rfind(char::is_whitespace).map_or(kept, |place| &kept[..place])
    };
    format!("{}…", whole.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_stays_as_it_is() {
        for text in ["", "a dog", &"x".repeat(255), &"é".repeat(255)] {
            assert_eq!(short(text, 255), text);
        }
    }

    #[test]
    fn what_is_too_long_ends_after_a_whole_word() {
        assert_eq!(short("a dog runs", 9), "a dog…");
        assert_eq!(short("a dog runs", 7), "a dog…");
        assert_eq!(short("a dog runs", 6), "a dog…");
        assert_eq!(short("a dog runs", 5), "a…");
        assert_eq!(short("a  dog", 4), "a…");
    }

    #[test]
    fn a_word_without_an_end_is_cut_between_characters() {
        assert_eq!(short(&"é".repeat(256), 255), "é".repeat(254) + "…");
        assert_eq!(short("dogs", 1), "…");
    }

    #[test]
    fn no_more_than_255_characters_are_left() {
        let text = "wörter ".repeat(60);
        for most in 1..text.chars().count() {
            assert!(short(&text, most).chars().count() <= most, "{most}");
        }
        // 36 words of 7 characters, the last without its space: 251 and … .
        assert_eq!(short(&text, 255), "wörter ".repeat(36).trim_end().to_owned() + "…");
    }
}
