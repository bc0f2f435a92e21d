//! The formats in which captioned pictures come.

use std::fmt;
use std::str::FromStr;

/// How a corpus is laid out on disk; see the table of the [module](super).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Flickr8k and Flickr30k: a token file of lines `file#n<TAB>caption`, and split lists.
    Flickr,
    /// The JSON of Karpathy and Fei-Fei (2015), with captions and splits in one file.
    Karpathy,
    /// The captions JSON of COCO (Chen et al. 2015), one file a split.
    Coco,
    /// A folder with a `captions.tsv` of lines `file<TAB>caption`.
    Tsv,
}

/// A name that belongs to no [`Format`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no corpus format; take one of flickr, karpathy, coco, tsv")]
pub struct UnknownFormat(
    /// The name.
    pub String,
);

impl Format {
    /// All formats.
    pub const ALL: [Self; 4] = [Self::Flickr, Self::Karpathy, Self::Coco, Self::Tsv];

    fn name(self) -> &'static str {
        match self {
            Self::Flickr => "flickr",
            Self::Karpathy => "karpathy",
            Self::Coco => "coco",
            Self::Tsv => "tsv",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Format {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<Self, UnknownFormat> {
        let found = Self::ALL.into_iter().find(|format| format.name() == name);
        found.ok_or_else(|| UnknownFormat(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_read_back_from_its_name() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert_eq!("Flickr".parse::<Format>(), Err(UnknownFormat("Flickr".to_owned())));
    }
}
