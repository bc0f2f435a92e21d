//! Which meta-split a picture, a concept or a scene belongs to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::family;

/// What a task is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetaSplit {
    /// For meta-learning.
    Train,
    /// For choosing.
    Validation,
    /// For reporting.
    Test,
}

/// A name that belongs to no [`MetaSplit`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no meta-split; take one of train, validation, test")]
pub struct UnknownMetaSplit(
    /// The name.
    pub String,
);

impl MetaSplit {
    /// All meta-splits.
    pub const ALL: [Self; 3] = [Self::Train, Self::Validation, Self::Test];

    fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for MetaSplit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for MetaSplit {
    type Err = UnknownMetaSplit;

    fn from_str(name: &str) -> Result<Self, UnknownMetaSplit> {
        let found = Self::ALL.into_iter().find(|split| split.name() == name);
        found.ok_or_else(|| UnknownMetaSplit(name.to_owned()))
    }
}

/// How much each meta-split gets, in any unit: `70,15,15`. At least one is not 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "[u32; 3]", into = "[u32; 3]")]
pub struct Shares([u32; 3]);

/// Numbers that are no [`Shares`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no division; give the shares of train, validation and test, such as 70,15,15, not all of them 0"
)]
pub struct WrongShares(
    /// What was given.
    pub String,
);

impl Default for Shares {
    /// 70 for meta-train, 15 each for meta-validation and meta-test.
    fn default() -> Self {
        Self([70, 15, 15])
    }
}

impl TryFrom<[u32; 3]> for Shares {
    type Error = WrongShares;

    fn try_from(shares: [u32; 3]) -> Result<Self, WrongShares> {
        if shares == [0; 3] { Err(WrongShares(format!("{shares:?}"))) } else { Ok(Self(shares)) }
    }
}

impl From<Shares> for [u32; 3] {
    fn from(shares: Shares) -> Self {
        shares.0
    }
}

impl FromStr for Shares {
    type Err = WrongShares;

    fn from_str(text: &str) -> Result<Self, WrongShares> {
        let numbers: Option<Vec<u32>> = text.split(',').map(|part| part.trim().parse().ok()).collect();
        let shares = numbers.and_then(|numbers| <[u32; 3]>::try_from(numbers).ok());
        shares.and_then(|shares| Self::try_from(shares).ok()).ok_or_else(|| WrongShares(text.to_owned()))
    }
}

impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [train, validation, test] = self.0;
        write!(f, "{train},{validation},{test}")
    }
}

/// Where the shares of the three end, in order; the last is their sum.
fn ends(shares: [u32; 3]) -> [u64; 3] {
    let [train, validation, test] = shares.map(u64::from);
    [train, train + validation, train + validation + test]
}

/// The meta-split in whose share `number` falls; none where all shares are 0.
fn pick(shares: [u32; 3], number: u64) -> Option<MetaSplit> {
    let ends = ends(shares);
    let place = number.checked_rem(ends[2])?;
    MetaSplit::ALL.into_iter().zip(ends).find(|(_, end)| place < *end).map(|(split, _)| split)
}

/// How pictures and subjects are divided among the meta-splits; see the [module](super). Everybody who is to share
/// nothing uses the same one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Partition {
    /// Another seed is another division.
    pub seed: u64,
    /// Of concepts or scenes.
    pub subjects: Shares,
    /// Of pictures, for new words.
    pub pictures: Shares,
    /// The concepts or scenes of meta-test; where there is none, `subjects` decides.
    pub held_out: BTreeSet<String>,
}

impl Partition {
    /// The meta-split of the picture with this name.
    #[must_use]
    pub fn of_picture(&self, name: &str) -> Option<MetaSplit> {
        pick(self.pictures.0, self.hash("picture", name))
    }

    /// The meta-split of a concept; none where its share is empty.
    #[must_use]
    pub fn of_word(&self, word: &str) -> Option<MetaSplit> {
        let key = family(word);
        if self.held_out.iter().any(|held_out| family(held_out) == key) {
            return Some(MetaSplit::Test);
        }
        pick(self.not_held_out(), self.hash("concept", &key))
    }

    /// The meta-splits of the scenes of a corpus.
    #[must_use]
    pub fn of_scenes<'a>(&self, scenes: &BTreeSet<&'a str>) -> BTreeMap<&'a str, MetaSplit> {
        let (held_out, mut rest): (Vec<&str>, Vec<&str>) =
            scenes.iter().partition(|&&scene| self.held_out.contains(scene));
        rest.sort_by_cached_key(|scene| self.hash("scene", scene));
        let ends = ends(self.not_held_out());
        let (count, total) = (rest.len() as u64, ends[2].max(1));
        // The nearest whole numbers to count * end / total.
        let cuts = ends.map(|end| (2 * count * end + total) / (2 * total));
        let split_at = |place: usize| {
            MetaSplit::ALL
                .into_iter()
                .zip(cuts)
                .find(|(_, cut)| (place as u64) < *cut)
                .map(|(split, _)| split)
        };
        let mut split_of: BTreeMap<&str, MetaSplit> =
            held_out.into_iter().map(|scene| (scene, MetaSplit::Test)).collect();
        split_of.extend(
            rest.into_iter().enumerate().filter_map(|(place, scene)| Some((scene, split_at(place)?))),
        );
        split_of
    }

    /// The shares of what is not listed as held out.
    fn not_held_out(&self) -> [u32; 3] {
        let [train, validation, test] = self.subjects.0;
        if self.held_out.is_empty() { [train, validation, test] } else { [train, validation, 0] }
    }

    /// The first eight bytes of the SHA-256 of seed, purpose and key, as a big-endian number.
    fn hash(&self, purpose: &str, key: &str) -> u64 {
        let digest = Sha256::digest(format!("{}\n{purpose}\n{key}", self.seed).as_bytes());
        digest.iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn held_out(words: &[&str]) -> Partition {
        Partition { held_out: words.iter().map(|&word| word.to_owned()).collect(), ..Partition::default() }
    }

    #[test]
    fn shares_and_meta_splits_are_read_back_from_their_names() {
        let shares: Shares = "3, 0,1".parse().unwrap();
        assert_eq!(shares.to_string(), "3,0,1");
        assert_eq!(serde_json::from_str::<Shares>(&serde_json::to_string(&shares).unwrap()).unwrap(), shares);
        for wrong in ["0,0,0", "1,2", "1,2,3,4", "-1,1,1", "", "a,b,c"] {
            assert!(wrong.parse::<Shares>().unwrap_err().to_string().contains(wrong));
        }
        assert!(serde_json::from_str::<Shares>("[0,0,0]").is_err());
        for split in MetaSplit::ALL {
            assert_eq!(split.to_string().parse(), Ok(split));
        }
        assert_eq!("dev".parse::<MetaSplit>(), Err(UnknownMetaSplit("dev".into())));
    }

    #[test]
    fn many_names_are_divided_by_the_shares_and_differently_for_another_seed() {
        let count = |partition: &Partition, split| {
            (0..10_000).filter(|i| partition.of_picture(&format!("{i}.jpg")) == Some(split)).count()
        };
        let partition = Partition::default();
        let counts = MetaSplit::ALL.map(|split| count(&partition, split));
        // Four standard deviations of a binomial with p = 0.7 and n = 10,000 are 183.
        assert!(counts[0].abs_diff(7000) < 183 && counts[1].abs_diff(1500) < 143, "{counts:?}");
        assert_eq!(counts.iter().sum::<usize>(), 10_000);
        let other = Partition { seed: 1, ..Partition::default() };
        assert!((0..100).any(|i| partition.of_picture(&i.to_string()) != other.of_picture(&i.to_string())));
        let all = Partition { pictures: "0,0,1".parse().unwrap(), ..Partition::default() };
        assert_eq!(count(&all, MetaSplit::Test), 10_000);
    }

    #[test]
    fn singular_and_plural_are_in_one_meta_split() {
        let partition = Partition::default();
        for (one, many) in [("dog", "dogs"), ("man", "men"), ("wolf", "wolves"), ("baby", "babies")] {
            assert_eq!(partition.of_word(one), partition.of_word(many));
        }
    }

    #[test]
    fn what_is_listed_is_held_out_and_nothing_else_is() {
        let partition = held_out(&["dog"]);
        for word in ["dog", "dogs"] {
            assert_eq!(partition.of_word(word), Some(MetaSplit::Test));
        }
        let others: Vec<_> = (0..100).map(|i| partition.of_word(&format!("w{i}"))).collect();
        assert!(others.contains(&Some(MetaSplit::Train)) && others.contains(&Some(MetaSplit::Validation)));
        assert!(!others.contains(&Some(MetaSplit::Test)));
        let nothing_left = Partition { subjects: "0,0,1".parse().unwrap(), ..partition };
        assert_eq!(nothing_left.of_word("cat"), None);
    }

    #[test]
    fn few_scenes_are_cut_as_evenly_as_whole_numbers_allow() {
        let names: Vec<String> = (0..20).map(|i| format!("scene{i}")).collect();
        let scenes: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let count = |partition: &Partition, split| {
            partition.of_scenes(&scenes).values().filter(|&&found| found == split).count()
        };
        assert_eq!(MetaSplit::ALL.map(|split| count(&Partition::default(), split)), [14, 3, 3]);
        let listed = held_out(&["scene3", "scene5", "scene7"]);
        // 17 * 70 / 85 = 14.
        assert_eq!(MetaSplit::ALL.map(|split| count(&listed, split)), [14, 3, 3]);
        assert_eq!(listed.of_scenes(&scenes)["scene5"], MetaSplit::Test);
        let nothing_left = Partition { subjects: "0,0,1".parse().unwrap(), ..listed };
        assert_eq!(MetaSplit::ALL.map(|split| count(&nothing_left, split)), [0, 0, 3]);
    }
}
