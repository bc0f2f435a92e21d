//! What can be wrong with a part of a corpus.

use std::path::PathBuf;

/// Something that was left out of a corpus, or looked odd; the rest was read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A line has not the form of its file; it was left out.
    #[error("{file}:{line}: the line is not `{expected}`; left out", file = file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The form that it should have.
        expected: &'static str,
    },
    /// A caption without words; it was left out.
    #[error("{picture}: an empty caption in {file}; left out", file = file.display())]
    EmptyCaption {
        /// The picture.
        picture: String,
        /// Where the caption stands.
        file: PathBuf,
    },
    /// A picture has captions, but no file; it was left out.
    #[error("{picture}: has captions, but is not on disk; left out")]
    Missing {
        /// The picture.
        picture: String,
    },
    /// A picture is named, but has no caption; it was left out.
    #[error("{picture}: is named in {file}, but has no caption; left out", file = file.display())]
    NoCaptions {
        /// The picture.
        picture: String,
        /// Where it is named.
        file: PathBuf,
    },
    /// A picture is named more than once where once is enough; its captions were merged.
    #[error("{picture}: is named more than once, again in {file}; merged", file = file.display())]
    Duplicate {
        /// The picture.
        picture: String,
        /// Where it is named again.
        file: PathBuf,
    },
    /// Two names lead to one file; the captions were merged under the first.
    #[error("{picture}: is the same file as {first}; merged")]
    SameFile {
        /// The name that was given up.
        picture: String,
        /// The name that was kept.
        first: String,
    },
    /// A caption belongs to a picture that is not there; it was left out.
    #[error("{file}: a caption for image id {id}, which is not in `images`; left out", file = file.display())]
    UnknownId {
        /// The file.
        file: PathBuf,
        /// The picture's number.
        id: u64,
    },
    /// Pictures have captions, but no split list names them; they were left out.
    #[error("{count} pictures of {file} are in no split list, the first is {first}; left out", file = file.display())]
    Unlisted {
        /// How many.
        count: usize,
        /// The first, by name.
        first: String,
        /// The file with their captions.
        file: PathBuf,
    },
}

impl Problem {
    /// Whether the corpus should be mended. Only [`Problem::Unlisted`] is none: Flickr8k as distributed has captions of
    /// 92 pictures that its lists leave out on purpose.
    #[must_use]
    pub fn is_defect(&self) -> bool {
        !matches!(self, Self::Unlisted { .. })
    }

    /// The kind, in the words of a heading.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "malformed lines",
            Self::EmptyCaption { .. } => "empty captions",
            Self::Missing { .. } => "pictures missing on disk",
            Self::NoCaptions { .. } => "pictures without captions",
            Self::Duplicate { .. } => "pictures named twice",
            Self::SameFile { .. } => "files with two names",
            Self::UnknownId { .. } => "captions of unknown pictures",
            Self::Unlisted { .. } => "pictures in no split list",
        }
    }

    /// How many of its kind it stands for.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Unlisted { count, .. } => *count,
            _ => 1,
        }
    }
}
