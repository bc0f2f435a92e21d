//! What a picture is used for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What a picture is used for. A picture is in one split only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// For learning.
    Train,
    /// For choosing: when to stop, which setting is better.
    Dev,
    /// For reporting.
    Test,
}

/// A name that belongs to no [`Split`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no split; take one of train, dev (val, validation), test")]
pub struct UnknownSplit(
    /// The name.
    pub String,
);

impl Split {
    /// All splits.
    pub const ALL: [Self; 3] = [Self::Train, Self::Dev, Self::Test];

    /// The split of a picture for which the corpus tells none: 80 % train, 10 % dev, 10 % test.
    ///
    /// The first eight bytes of the SHA-256 of the name's UTF-8, as a big-endian number modulo 10, are 0..=7 for
    /// train, 8 for dev, 9 for test. So the split is the same on every machine, and pictures that are added or removed
    /// move no other picture.
    #[must_use]
    pub fn of_name(name: &str) -> Self {
        let digest = Sha256::digest(name.as_bytes());
        let number = digest.iter().take(8).fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
        match number % 10 {
            0..=7 => Self::Train,
            8 => Self::Dev,
            _ => Self::Test,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Dev => "dev",
            Self::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Split {
    type Err = UnknownSplit;

    fn from_str(name: &str) -> Result<Self, UnknownSplit> {
        match name {
            "train" => Ok(Self::Train),
            "dev" | "val" | "validation" => Ok(Self::Dev),
            "test" => Ok(Self::Test),
            _ => Err(UnknownSplit(name.to_owned())),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_split_is_read_back_from_its_name_and_from_the_other_names_of_dev() {
        for split in Split::ALL {
            assert_eq!(split.to_string().parse(), Ok(split));
            assert_eq!(serde_json::to_string(&split).unwrap(), format!("\"{split}\""));
        }
        assert_eq!("val".parse(), Ok(Split::Dev));
        assert_eq!("validation".parse(), Ok(Split::Dev));
        assert_eq!("restval".parse::<Split>(), Err(UnknownSplit("restval".to_owned())));
    }

    /// Expected values: Python's `int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % 10`.
    #[test]
    fn the_split_of_a_name_is_the_same_on_every_machine() {
        for (name, split) in GOLDEN {
            assert_eq!(Split::of_name(name), split, "{name}");
        }
    }

    const GOLDEN: [(&str, Split); 5] = [
        ("1000268201_693b08cb0e.jpg", Split::Dev),
        ("café.jpg", Split::Train),
        ("a.jpg", Split::Train),
        ("i.jpg", Split::Dev),
        ("r.jpg", Split::Test),
    ];

    #[test]
    fn the_splits_of_many_names_are_eighty_ten_ten() {
        let count = |split| (0..10_000).filter(|i| Split::of_name(&format!("{i}.jpg")) == split).count();
        // Python, with the formula above.
        assert_eq!([count(Split::Train), count(Split::Dev), count(Split::Test)], [8058, 943, 999]);
    }
}
