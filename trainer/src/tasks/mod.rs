//! Few-shot tasks, made from captioned pictures.
//!
//! A task has a support set, from which the head adapts, and a query set, on which the adapted head is judged. There
//! are two [`Kind`]s.
//!
//! **Meta-splits.** Tasks of meta-train, meta-validation and meta-test share neither pictures nor subjects, where a
//! subject is a new word's concept or a new domain's scene. With a hash h of the [`Partition`]'s seed and a key, and
//! [`Shares`] in percent,
//!
//! ```text
//! P_s   the pictures p whose h(name of p) falls into the share of meta-split s
//! W_s   the nouns  w whose h(family(w))   falls into the share of s; family joins singular, plural and possessive
//! D_s   the scenes d: sorted by h(d) and cut by the shares, since a hash alone splits a dozen scenes unevenly
//! ```
//!
//! What is listed as held out belongs to meta-test, and the rest to the other two in proportion of their shares. Each
//! picture has one scene, so tasks of new domains share no picture already, and take pictures of P_train, P_validation
//! and P_test alike.
//!
//! **New word.** With n(p, w) the captions of picture p that say the word w, for a concept w in W_s
//!
//! ```text
//! positives(w) = { p in P_s : n(p, w) >= 2 }
//! negatives(w) = { p in P_s : n(p, v) = 0 for every word v with family(v) = family(w) }
//! support      = K positives with one caption each, which says w
//! query        = 8 other positives and 8 negatives with all their captions
//! ```
//!
//! and in every caption, references included, w is renamed to a nonce: a made-up word that no caption says and that the
//! vocabulary lacks. Concepts are the words that [`nouns`] finds; each has at least K + 8 positives.
//!
//! **New domain.** For N scenes of D_s: support = K pictures of each with all their captions, query = 15 other pictures
//! of each. A scene is a picture's label or, where there is none, a cluster of what the encoder makes of it
//! ([`clusters`]).
//!
//! **Order.** Task i is a function of seed, kind, meta-split and i, whatever else is drawn. Subjects take turns: each
//! is taken once before any is taken again. The support stands in the order in which it was drawn, turn about over the
//! scenes: its first k (k a scene) are the support of a task with k shots and the same queries. Measure fewer shots
//! like that, not with tasks of their own: with fewer shots more concepts have enough pictures, and the sequence is
//! another one.

mod clusters;
mod error;
mod file;
mod function_words;
mod new_domain;
mod new_word;
mod nonce;
mod nouns;
mod partition;
mod pool;
mod sampler;
mod table;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::num::NonZeroUsize;

use metalens::language::words;
use serde::{Deserialize, Serialize};

pub use clusters::clusters;
pub use error::TaskError;
pub use file::TaskFile;
pub(crate) use function_words::is_function_word;
pub use metalens::language::family;
pub use nouns::{Noun, nouns};
pub use partition::{MetaSplit, Partition, Shares, UnknownMetaSplit, WrongShares};
pub use pool::{Pool, TaskPicture};
pub use sampler::{Sampler, TaskOptions};
pub use table::table;

/// Query pictures of a new word that show its concept; as many do not.
pub const QUERIES_A_CONCEPT: usize = 8;
/// Query pictures of a new domain, per scene.
pub const QUERIES_A_SCENE: usize = 15;

/// What a task teaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Kind {
    /// A word that the captioner has never seen.
    NewWord {
        /// Support pictures, with one caption each.
        shots: NonZeroUsize,
    },
    /// Pictures unlike those that the captioner has learned from.
    NewDomain {
        /// Scenes in a task.
        scenes: NonZeroUsize,
        /// Support pictures of each scene, with all their captions.
        shots: NonZeroUsize,
    },
}

impl Kind {
    /// Support pictures, of each scene where there are scenes.
    #[must_use]
    pub fn shots(self) -> usize {
        match self {
            Self::NewWord { shots } | Self::NewDomain { shots, .. } => shots.get(),
        }
    }
}

/// What one task is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Subject {
    /// A concept under another name.
    NewWord {
        /// The word in the corpus' captions.
        concept: String,
        /// The word that stands in its place.
        nonce: String,
    },
    /// Scenes.
    NewDomain {
        /// Their labels.
        scenes: Vec<String>,
    },
}

/// Why a picture is in a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// Its captions say the new word.
    Concept,
    /// None of its captions says the new word.
    Unrelated,
    /// It shows this scene.
    Scene(String),
}

/// A picture of a task with the captions that the task uses. `P` is its place in a [`Pool`], or its name in a
/// [`TaskFile`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample<P = usize> {
    /// Which picture.
    pub picture: P,
    /// Why it is there.
    pub group: Group,
    /// Places among the picture's captions.
    pub captions: Vec<usize>,
}

/// A support set and a query set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task<P = usize> {
    /// Its place in the sequence that its seed determines.
    pub number: usize,
    /// What it is about.
    pub subject: Subject,
    /// What the head adapts to.
    pub support: Vec<Sample<P>>,
    /// What the adapted head is judged on.
    pub query: Vec<Sample<P>>,
    /// What the support of a new word says in the place of its captions, `{}` being the word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub written: Option<String>,
}

impl Subject {
    /// The words of a caption, the concept renamed, with single spaces between them.
    #[must_use]
    pub fn rename(&self, caption: &str) -> String {
        let mut said = words(caption);
        if let Self::NewWord { concept, nonce } = self {
            for word in said.iter_mut().filter(|word| *word == concept) {
                word.clone_from(nonce);
            }
        }
        said.join(" ")
    }

    /// Whether a caption says the concept, in singular, plural or possessive.
    #[must_use]
    pub fn is_said_in(&self, caption: &str) -> bool {
        let Self::NewWord { concept, .. } = self else { return false };
        let key = family(concept);
        words(caption).iter().any(|word| family(word) == key)
    }
}

impl Task {
    /// The captions of one of the samples as the task has them: words with single spaces between them, the concept
    /// renamed.
    #[must_use]
    pub fn texts(&self, sample: &Sample, pool: &Pool) -> Vec<String> {
        let captions = pool.pictures()[sample.picture].captions;
        sample.captions.iter().map(|&caption| self.subject.rename(&captions[caption])).collect()
    }

    /// What the head is told of one of the support's samples.
    #[must_use]
    pub fn support_texts(&self, sample: &Sample, pool: &Pool) -> Vec<String> {
        match (&self.written, &self.subject) {
            (Some(written), Subject::NewWord { nonce, .. }) => vec![written.replace("{}", nonce)],
            _ => self.texts(sample, pool),
        }
    }

    /// The words of the support that are not `known`, each once, in the order in which they are said: each needs a
    /// slot.
    #[must_use]
    pub fn new_words(&self, pool: &Pool, known: &HashSet<String>) -> Vec<String> {
        let mut seen = HashSet::new();
        let texts = self.support.iter().flat_map(|sample| self.support_texts(sample, pool));
        let said = texts.flat_map(|text| words(&text)).filter(|word| !known.contains(word));
        said.filter(|word| seen.insert(word.clone())).collect()
    }
}

impl<P> Task<P> {
    /// The same task with its pictures told in another way.
    fn map<Q, E>(&self, mut tell: impl FnMut(&Sample<P>) -> Result<Q, E>) -> Result<Task<Q>, E> {
        let mut all = |samples: &[Sample<P>]| {
            let one = |sample: &Sample<P>| {
                let Sample { group, captions, .. } = sample;
                Ok(Sample { picture: tell(sample)?, group: group.clone(), captions: captions.clone() })
            };
            samples.iter().map(one).collect::<Result<Vec<_>, E>>()
        };
        let (support, query) = (all(&self.support)?, all(&self.query)?);
        let (subject, written) = (self.subject.clone(), self.written.clone());
        Ok(Task { number: self.number, subject, support, query, written })
    }
}
