//! What may be wrong with a support set, though calibration can use it.

use std::collections::HashSet;
use std::fmt;

use super::Seen;
use crate::adaptation::{References, Sample, Shown};
use crate::language::words;

/// Something that the user may want to mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// A caption was cut.
    Long {
        /// The picture.
        name: String,
        /// How many words the caption has.
        words: usize,
        /// How many were used.
        kept: usize,
    },
    /// Two pictures show the same.
    Duplicate {
        /// The first picture.
        first: String,
        /// The second.
        second: String,
    },
    /// Two pictures show the same, and their captions have nothing in common.
    Contradiction {
        /// The first picture.
        first: String,
        /// The second.
        second: String,
    },
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Long { name, words, kept } => {
                write!(f, "{name}: a caption of {words} words; the first {kept} were used")
            }
            Self::Duplicate { first, second } => {
                write!(f, "{first} and {second} look the same; different pictures teach more")
            }
            Self::Contradiction { first, second } => {
                write!(f, "{first} and {second} look the same, and their captions share no word; mend one")
            }
        }
    }
}

/// Likeness above which two pictures look the same.
const SAME: f32 = 0.999;
/// Words of so few letters say nothing of what a picture shows.
const SHORT: usize = 3;

/// The pairs of samples that look the same.
pub(super) fn alike(seen: &[Seen], shown: &[Shown<f32>], references: &References<f32>) -> Vec<Doubt> {
    let mut doubts = Vec::new();
    for second in 0..seen.len() {
        for first in 0..second {
            let (a, b) = (&seen[first], &seen[second]);
            let likeness = || references.likeness(&shown[first].observation, &shown[second].observation);
            if a.bytes == b.bytes || likeness() > SAME {
                doubts.push(pair(&a.sample, &b.sample));
            }
        }
    }
    doubts
}

fn pair(first: &Sample, second: &Sample) -> Doubt {
    let (a, b) = (telling(first), telling(second));
    let (first, second) = (first.name.clone(), second.name.clone());
    if a.is_disjoint(&b) {
        Doubt::Contradiction { first, second }
    } else {
        Doubt::Duplicate { first, second }
    }
}

/// The words of a sample's captions that say something.
fn telling(sample: &Sample) -> HashSet<String> {
    let words = sample.captions.iter().flat_map(|caption| words(caption));
    words.filter(|word| word.chars().count() > SHORT).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str, caption: &str) -> Sample {
        Sample { name: name.to_owned(), path: name.into(), captions: vec![caption.to_owned()] }
    }

    #[test]
    fn pictures_that_look_the_same_contradict_each_other_when_no_word_is_shared() {
        let (a, b) = (sample("a.jpg", "A red zorb"), sample("b.jpg", "the RED bolt"));
        let same = Doubt::Contradiction { first: "a.jpg".to_owned(), second: "b.jpg".to_owned() };
        assert_eq!(pair(&a, &b), same);
        let c = sample("c.jpg", "the Zorb");
        assert_eq!(pair(&a, &c), Doubt::Duplicate { first: "a.jpg".to_owned(), second: "c.jpg".to_owned() });
    }
}
