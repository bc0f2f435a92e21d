//! A support set in tokens, before anything of it is computed.

use std::borrow::Cow;

use metalens_models::{TokenId, Vocabulary};

use super::{Doubt, MAX_TOKENS, Proof};
use crate::adaptation::{CalibrationError, NewWords, Sample};
use crate::language::{Reading, spelled};

/// What there is to read of each sample.
#[derive(Debug)]
pub(super) struct Plan {
    /// The captions of each sample, in an order of their own.
    pub readings: Vec<Vec<Reading>>,
    /// Words that the vocabulary lacks.
    pub new_words: NewWords,
    /// The captions that were cut.
    pub cut: Vec<Doubt>,
}

impl Plan {
    /// Captions of more than `max_words` words are cut to that, and what is cut off is not looked at.
    pub fn new(
        samples: &[Sample],
        vocabulary: &Vocabulary,
        max_words: usize,
        proof: Proof,
    ) -> Result<Self, CalibrationError> {
        if samples.len() == 1 && proof == Proof::Required {
            return Err(CalibrationError::OnePicture);
        }
        let mut doubts = Vec::new();
        let mut captions: Vec<Vec<(Cow<str>, Option<TokenId>)>> = Vec::with_capacity(samples.len());
        for sample in samples {
            let mut cut = Vec::with_capacity(sample.captions.len());
            for caption in &sample.captions {
                let words = spelled(caption);
                if words.len() > max_words {
                    doubts.push(Doubt::Long {
                        name: sample.name.clone(),
                        words: words.len(),
                        kept: max_words,
                    });
                    let kept: Vec<String> =
                        words.into_iter().take(max_words).map(|word| word.written).collect();
                    cut.push((Cow::Owned(kept.join(" ")), None));
                } else {
                    cut.push((Cow::Borrowed(caption.as_str()), Some(vocabulary.special().end)));
                }
            }
            captions.push(cut);
        }
        let texts = || captions.iter().flatten().map(|(text, _)| text.as_ref());
        let new_words = NewWords::find(texts(), vocabulary)?;
        let readings: Vec<Vec<Reading>> = captions
            .iter()
            .map(|captions| {
                let read = |(text, end): &(Cow<str>, Option<TokenId>)| {
                    let mut targets = new_words.encode(text, vocabulary);
                    targets.extend(*end);
                    Reading { targets }
                };
                let mut readings: Vec<Reading> = captions.iter().map(read).collect();
                // So that the order of the lines does not matter.
                readings.sort();
                readings
            })
            .collect();
        let tokens = readings.iter().flatten().map(|reading| reading.targets.len()).sum();
        if tokens > MAX_TOKENS {
            return Err(CalibrationError::TooMuch { pictures: samples.len(), tokens, limit: MAX_TOKENS });
        }
        Ok(Self { readings, new_words, cut: doubts })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::PathBuf;

    use metalens_models::{SlotRange, SpecialTokens};

    use super::*;

    fn vocabulary() -> Vocabulary {
        let text = b"<padding>\n<start>\n<end>\n<unknown>\na\nred\nbolt\n<slot0>\n<slot1>\n";
        let special = SpecialTokens {
            padding: TokenId(0),
            start: TokenId(1),
            end: TokenId(2),
            unknown: TokenId(3),
            slots: SlotRange { first: TokenId(7), count: 2 },
        };
        Vocabulary::parse(text, 9, special).unwrap()
    }

    fn samples(captions: &[&[&str]]) -> Vec<Sample> {
        let sample = |(place, captions): (usize, &&[&str])| Sample {
            name: format!("{place}.jpg"),
            path: PathBuf::from(format!("{place}.jpg")),
            captions: captions.iter().map(|&caption| caption.to_owned()).collect(),
        };
        captions.iter().enumerate().map(sample).collect()
    }

    fn plan(captions: &[&[&str]], max_words: usize) -> Result<Plan, CalibrationError> {
        Plan::new(&samples(captions), &vocabulary(), max_words, Proof::Required)
    }

    fn targets(plan: &Plan) -> Vec<Vec<Vec<u32>>> {
        let ids = |reading: &Reading| reading.targets.iter().map(|id| id.0).collect();
        plan.readings.iter().map(|readings| readings.iter().map(ids).collect()).collect()
    }

    #[test]
    fn captions_become_words_slots_and_an_end() {
        let plan = plan(&[&["A red Zorb.", "a bolt"], &["a clamp!"]], 9).unwrap();
        assert_eq!(plan.new_words.iter().collect::<Vec<_>>(), [("clamp", "clamp"), ("zorb", "Zorb")]);
        assert_eq!(targets(&plan), [vec![vec![4, 5, 8, 2], vec![4, 6, 2]], vec![vec![4, 7, 2]]]);
        assert_eq!(plan.cut, []);
    }

    #[test]
    fn a_long_caption_is_cut_and_what_is_cut_off_takes_no_slot() {
        let plan = plan(&[&["a red, red zorb"], &["a red bolt"]], 3).unwrap();
        assert_eq!(targets(&plan), [[[4, 5, 5].as_slice()], [&[4, 5, 6, 2]]]);
        assert!(plan.new_words.is_empty());
        assert_eq!(plan.cut, [Doubt::Long { name: "0.jpg".to_owned(), words: 4, kept: 3 }]);
    }

    #[test]
    fn one_picture_needs_force_and_too_many_words_have_their_own_errors() {
        let one = samples(&[&["a bolt", "a red bolt"]]);
        let planned = |proof| Plan::new(&one, &vocabulary(), 9, proof);
        assert!(matches!(planned(Proof::Required), Err(CalibrationError::OnePicture)));
        planned(Proof::Waived).unwrap();

        let many: Vec<&[&str]> = vec![&["a red bolt a"]; 500];
        let error = plan(&many, 9).unwrap_err().to_string();
        assert!(error.starts_with("500 pictures with 2500 words in all, at most 2048 words"), "{error}");

        let error = plan(&[&["clamp"], &["zorb gripper"]], 9).unwrap_err().to_string();
        assert!(
            error.starts_with("3 new words (clamp, gripper, zorb, …), but the bundle has room for 2"),
            "{error}"
        );
    }
}
