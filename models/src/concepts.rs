//! `concepts.txt`: where evidence for words comes from.

use crate::{TokenId, Vocabulary};

/// What is wrong with the sources of evidence; lines are counted from 1.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourcesError {
    /// The file is not UTF-8.
    #[error("not UTF-8 after {0} bytes")]
    Encoding(usize),
    /// There is no line.
    #[error("is empty; it needs a line for each row of the evidence")]
    Empty,
    /// A line has too few or too many fields.
    #[error("line {line}: {fields} fields, {source_name} has {expected}; separate them by tabs")]
    Fields {
        /// The line.
        line: usize,
        /// Which source it is of.
        source_name: &'static str,
        /// How many there are.
        fields: usize,
        /// How many it should have.
        expected: usize,
    },
    /// A source that there is not.
    #[error("line {line}: source {found:?}; there are captions, class and thing")]
    Source {
        /// The line.
        line: usize,
        /// What stands there.
        found: String,
    },
    /// A row of the evidence behind another source: rows are counted by their lines.
    #[error("line {0}: captions after another source; the lines of captions come first")]
    Order(usize),
    /// A concept that is no word.
    #[error("line {line}: {word:?} is no word of the vocabulary")]
    Word {
        /// The line.
        line: usize,
        /// What stands there.
        word: String,
    },
    /// A word has two rows of evidence.
    #[error("line {line}: {word:?} has a row of captions already")]
    Twice {
        /// The line.
        line: usize,
        /// The word.
        word: String,
    },
    /// The number of a class or thing is none, or too large.
    #[error("line {line}: {found:?} is no {what}; they are counted from 0 and there are {count}")]
    Number {
        /// The line.
        line: usize,
        /// `class` or `thing`.
        what: &'static str,
        /// What stands there.
        found: String,
        /// How many the bundle has.
        count: usize,
    },
}

/// Where evidence for words comes from. A line of `concepts.txt` is one source, its fields separated by tabs:
///
/// ```text
/// captions  man                  row i of `evidence.weight`, in the order of these lines, which come first
/// class     dog     151 152 153  a word that is shown where the encoder tells one of these classes
/// thing     person  0            a word that is shown where the detector finds this
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// The word of each row of the evidence.
    pub captions: Vec<TokenId>,
    /// Words and the classes that show them; their probabilities are added up.
    pub classes: Vec<(TokenId, Vec<usize>)>,
    /// Words and the thing that shows them.
    pub things: Vec<(TokenId, usize)>,
}

impl Sources {
    /// Parses `concepts.txt` of a bundle with so many classes and things.
    ///
    /// # Errors
    /// When a line is no source, or its word none that the vocabulary can say; the message names the line.
    pub fn parse(
        text: &[u8],
        vocabulary: &Vocabulary,
        classes: usize,
        things: usize,
    ) -> Result<Self, SourcesError> {
        let text = std::str::from_utf8(text).map_err(|error| SourcesError::Encoding(error.valid_up_to()))?;
        let mut sources = Self::default();
        let mut has_row = vec![false; vocabulary.len()];
        for (line, text) in (1..).zip(text.lines()) {
            let fields: Vec<&str> = text.split('\t').collect();
            let (source_name, expected) = match fields[0] {
                "captions" => ("captions", 2),
                "class" => ("class", 3),
                "thing" => ("thing", 3),
                found => return Err(SourcesError::Source { line, found: found.to_owned() }),
            };
            if fields.len() != expected {
                return Err(SourcesError::Fields { line, source_name, fields: fields.len(), expected });
            }
            let word = fields[1].to_owned();
            let can_be_said = |id: &TokenId| vocabulary.can_be_said(*id) && *id != vocabulary.special().end;
            let Some(id) = vocabulary.id(&word).filter(can_be_said) else {
                return Err(SourcesError::Word { line, word });
            };
            let number = |what, text: &str, count| match text.parse::<usize>() {
                Ok(number) if number < count => Ok(number),
                _ => Err(SourcesError::Number { line, what, found: text.to_owned(), count }),
            };
            match source_name {
                "captions" => {
                    if !(sources.classes.is_empty() && sources.things.is_empty()) {
                        return Err(SourcesError::Order(line));
                    }
                    if std::mem::replace(&mut has_row[id.index()], true) {
                        return Err(SourcesError::Twice { line, word });
                    }
                    sources.captions.push(id);
                }
                "class" => {
                    let numbers = fields[2].split(' ').map(|text| number("class", text, classes));
                    sources.classes.push((id, numbers.collect::<Result<_, _>>()?));
                }
                _ => sources.things.push((id, number("thing", fields[2], things)?)),
            }
        }
        if sources == Self::default() {
            return Err(SourcesError::Empty);
        }
        Ok(sources)
    }

    /// The same as the text of `concepts.txt`; words that the vocabulary lacks are left out.
    #[must_use]
    pub fn text(&self, word: impl Fn(TokenId) -> Option<String>) -> String {
        let line = |source: &str, id: TokenId, rest: String| {
            word(id).map(|word| format!("{source}\t{word}{rest}\n")).unwrap_or_default()
        };
        let joined = |classes: &[usize]| {
            let classes: Vec<String> = classes.iter().map(ToString::to_string).collect();
            format!("\t{}", classes.join(" "))
        };
        let captions = self.captions.iter().map(|&id| line("captions", id, String::new()));
        let classes = self.classes.iter().map(|(id, classes)| line("class", *id, joined(classes)));
        let things = self.things.iter().map(|&(id, thing)| line("thing", id, format!("\t{thing}")));
        captions.chain(classes).chain(things).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{SlotRange, SpecialTokens};

    fn vocabulary() -> Vocabulary {
        let special = SpecialTokens {
            padding: TokenId(0),
            start: TokenId(1),
            end: TokenId(2),
            unknown: TokenId(3),
            slots: SlotRange { first: TokenId(7), count: 1 },
        };
        let text = b"<padding>\n<start>\n<end>\n<unknown>\nman\ndog\nred\n<slot0>\n";
        Vocabulary::parse(text, 8, special).unwrap()
    }

    const TEXT: &str = "captions\tman\ncaptions\tred\nclass\tdog\t1 2\nclass\tman\t0\nthing\tman\t3\n";

    #[test]
    fn each_line_is_a_source_and_is_written_as_it_was_read() {
        let sources = Sources::parse(TEXT.as_bytes(), &vocabulary(), 3, 4).unwrap();
        assert_eq!(sources.captions, [TokenId(4), TokenId(6)]);
        assert_eq!(sources.classes, [(TokenId(5), vec![1, 2]), (TokenId(4), vec![0])]);
        assert_eq!(sources.things, [(TokenId(4), 3)]);
        assert_eq!(sources.text(|id| vocabulary().word(id).map(str::to_owned)), TEXT);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let error =
            |text: &str| Sources::parse(text.as_bytes(), &vocabulary(), 3, 4).unwrap_err().to_string();
        assert!(error("").contains("is empty"));
        assert_eq!(
            error("captions\tman\nsmell\tdog\n"),
            "line 2: source \"smell\"; there are captions, class and thing"
        );
        assert_eq!(error("captions\tman\ncaptions\tcat\n"), "line 2: \"cat\" is no word of the vocabulary");
        for special in ["<start>", "<end>", "<slot0>", ""] {
            assert!(error(&format!("captions\t{special}\n")).contains("is no word"), "{special}");
        }
        assert_eq!(
            error("captions man\n"),
            "line 1: source \"captions man\"; there are captions, class and thing"
        );
        assert_eq!(error("class\tdog\n"), "line 1: 2 fields, class has 3; separate them by tabs");
        assert_eq!(
            error("captions\tman\nclass\tdog\t1 3\n"),
            "line 2: \"3\" is no class; they are counted from 0 and there are 3"
        );
        assert!(error("thing\tdog\t4\n").contains("\"4\" is no thing"));
        assert!(error("class\tdog\t1  2\n").contains("\"\" is no class"));
        assert_eq!(error("captions\tman\ncaptions\tman\n"), "line 2: \"man\" has a row of captions already");
        assert!(error("thing\tdog\t0\ncaptions\tman\n").starts_with("line 2: captions after another source"));
        assert_eq!(Sources::parse(b"captions\t\xff\n", &vocabulary(), 3, 4), Err(SourcesError::Encoding(9)));
    }
}
