//! A support set: a handful of pictures with captions, from a folder or from memory.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use metalens_models::{TokenId, Vocabulary};

use super::CalibrationError;
use crate::language::{lines, spelled};
use crate::vision::read_file;

/// The file of captions in a support set's folder.
pub const CAPTIONS: &str = "captions.tsv";

/// A picture of a support set and what somebody says of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// For messages: the picture's name in the captions' file.
    pub name: String,
    /// The picture's file.
    pub path: PathBuf,
    /// One or more, as written.
    pub captions: Vec<String>,
}

/// Reads a support set: a folder with a [`CAPTIONS`] file, or that file itself, whatever its name. Lines are
/// `file<TAB>caption`; a picture may have several lines.
///
/// # Errors
/// When there is no such file, a line has another form or an empty caption, or there is no line. Messages name the line.
pub fn read_support(path: &Path) -> Result<Vec<Sample>, CalibrationError> {
    let file = if path.is_dir() { path.join(CAPTIONS) } else { path.to_owned() };
    let bytes =
        read_file(&file).map_err(|reason| CalibrationError::Support { path: file.clone(), reason })?;
    let text = String::from_utf8(bytes).map_err(|_| CalibrationError::NotText(file.clone()))?;
    let folder = file.parent().unwrap_or(Path::new(""));
    let mut samples: Vec<Sample> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    for (number, line) in lines(&text) {
        let at = || format!("{}:{number}", file.display());
        let (name, caption) = match line.split_once('\t').map(|(name, caption)| (name.trim(), caption.trim()))
        {
            // A third column would be read as the end of the caption.
            Some((name, caption)) if !name.is_empty() && !caption.contains('\t') => (name, caption),
            _ => return Err(CalibrationError::Line(at())),
        };
        if caption.is_empty() {
            return Err(CalibrationError::EmptyCaption { at: at(), name: name.to_owned() });
        }
        if spelled(caption).is_empty() {
            return Err(CalibrationError::NoWord { at: at(), caption: caption.to_owned() });
        }
        let place = *places.entry(name.to_owned()).or_insert_with(|| {
            samples.push(Sample { name: name.to_owned(), path: folder.join(name), captions: Vec::new() });
            samples.len() - 1
        });
        samples[place].captions.push(caption.to_owned());
    }
    if samples.is_empty() {
        return Err(CalibrationError::NoCaptions(file));
    }
    Ok(samples)
}

/// The words of a support set that the vocabulary lacks, and the slots that they take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewWords {
    slots: BTreeMap<String, Slot>,
}

/// A new word's slot.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Slot {
    id: TokenId,
    written: String,
}

impl NewWords {
    /// Gives every word of `captions` that `vocabulary` lacks a slot. Slots are taken in the words' alphabetical order, so
    /// that the order of the samples does not matter; a word is written as it was written most often, and of equally
    /// frequent spellings in the one with fewer capitals.
    ///
    /// # Errors
    /// When there are more new words than slots.
    pub fn find<'a>(
        captions: impl Iterator<Item = &'a str>,
        vocabulary: &Vocabulary,
    ) -> Result<Self, CalibrationError> {
        let mut found: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
        for word in captions.flat_map(spelled) {
            if known(vocabulary, &word.word).is_none() {
                *found.entry(word.word).or_default().entry(word.written).or_default() += 1;
            }
        }
        let slots = vocabulary.special().slots;
        if found.len() > slots.count {
            return Err(CalibrationError::TooManyNewWords {
                found: found.len(),
                slots: slots.count,
                some: found.into_keys().take(3).collect::<Vec<_>>().join(", "),
            });
        }
        let slots = found
            .into_iter()
            .zip(slots.first.0..)
            .map(|((word, spellings), id)| {
                let capitals = |text: &str| text.chars().filter(|c| c.is_uppercase()).count();
                let written = spellings
                    .into_iter()
                    .max_by_key(|(text, count)| (*count, std::cmp::Reverse(capitals(text))))
                    .map_or_else(|| word.clone(), |(text, _)| text);
                (word, Slot { id: TokenId(id), written })
            })
            .collect();
        Ok(Self { slots })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Each as it is compared and as it is written, in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.slots.iter().map(|(word, slot)| (word.as_str(), slot.written.as_str()))
    }

    /// The ids of a caption's words.
    #[must_use]
    pub fn encode(&self, caption: &str, vocabulary: &Vocabulary) -> Vec<TokenId> {
        let unknown = vocabulary.special().unknown;
        spelled(caption)
            .into_iter()
            .map(|word| {
                known(vocabulary, &word.word)
                    .or_else(|| self.slots.get(&word.word).map(|slot| slot.id))
                    .unwrap_or(unknown)
            })
            .collect()
    }
}

/// The id of a word that the captioner can say.
fn known(vocabulary: &Vocabulary, word: &str) -> Option<TokenId> {
    vocabulary.id(word).filter(|&id| vocabulary.can_be_said(id))
}
