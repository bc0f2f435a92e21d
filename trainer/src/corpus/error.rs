//! Why a corpus as a whole cannot be used.

use std::path::PathBuf;

use super::Format;

/// Why a corpus cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// There is nothing at the path.
    #[error("{path}: no such file or folder; give the folder of the corpus", path = path.display())]
    NotFound {
        /// The path.
        path: PathBuf,
    },
    /// There is a file at the path.
    #[error("{path}: is a file; give the folder in which it lies", path = path.display())]
    NotAFolder {
        /// The path.
        path: PathBuf,
    },
    /// A file or folder could not be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The folder has no file with captions.
    #[error("{folder}: no {expected} in it; is it a corpus of another format?", folder = folder.display())]
    NoCaptionFile {
        /// The folder.
        folder: PathBuf,
        /// The file that should be there.
        expected: &'static str,
    },
    /// A table does not say what its columns are.
    #[error("{file}: its first line is none of {expected}", file = file.display())]
    NoHeading {
        /// The file.
        file: PathBuf,
        /// What it could be.
        expected: &'static str,
    },
    /// The folder has more than one file of a kind.
    #[error("{folder}: several files match {expected}: {found}; keep one of them there", folder = folder.display())]
    SeveralFiles {
        /// The folder.
        folder: PathBuf,
        /// What they match.
        expected: &'static str,
        /// Their names.
        found: String,
    },
    /// COCO's editions of 2014 and 2017 are the same photographs under other names, divided in another way.
    #[error("{folder}: holds captions of COCO 2014 and of 2017, the same photographs in other splits; keep those of one year", folder = folder.display())]
    TwoEditions {
        /// The folder.
        folder: PathBuf,
    },
    /// A text file is in another encoding.
    #[error("{file}:{line}: not UTF-8; convert the file, for example with iconv", file = file.display())]
    NotUtf8 {
        /// The file.
        file: PathBuf,
        /// The first line that is not UTF-8, from 1.
        line: usize,
    },
    /// A JSON file is broken or of another form; `source` tells line and column.
    #[error("{file}: not a captions file of format {format}: {source}", file = file.display())]
    Json {
        /// The file.
        file: PathBuf,
        /// The format that it should have.
        format: Format,
        /// What is wrong, with line and column.
        source: serde_json::Error,
    },
    /// One number stands for two pictures.
    #[error("{file}: image id {id} stands for both {first} and {second}; give each its own", file = file.display())]
    SameId {
        /// The file.
        file: PathBuf,
        /// The number.
        id: u64,
        /// The picture that has it first.
        first: String,
        /// The picture that has it again.
        second: String,
    },
    /// A picture's split is none that we know.
    #[error("{file}: {picture} is in split `{split}`; it must be train, restval, val, dev or test", file = file.display())]
    UnknownSplit {
        /// The file.
        file: PathBuf,
        /// The picture.
        picture: String,
        /// The split.
        split: String,
    },
    /// A picture is in two splits, so that what is learned from it would be reported on it.
    #[error("{picture} is in two splits: {first} and {second}; take it out of one")]
    InTwoSplits {
        /// The picture.
        picture: String,
        /// A split, and the file that says so.
        first: String,
        /// Another split, and the file that says so.
        second: String,
    },
    /// The corpus is empty.
    #[error("{file}: no captions in it; expected {expected}", file = file.display())]
    NoCaptions {
        /// The file.
        file: PathBuf,
        /// What should be there.
        expected: &'static str,
    },
    /// Captions and split lists have no picture in common.
    #[error("{file}: none of its {named} pictures is in the split lists beside it; do the lists belong to it?", file = file.display())]
    NothingListed {
        /// The file with captions.
        file: PathBuf,
        /// Pictures with captions.
        named: usize,
    },
    /// Captions, but no picture.
    #[error("{file}: none of its {named} pictures is on disk; looked for {first} in {folders}", file = file.display())]
    NoPictures {
        /// The file that names them.
        file: PathBuf,
        /// Pictures with captions.
        named: usize,
        /// The first of them.
        first: String,
        /// Where pictures were looked for.
        folders: String,
    },
    /// There are problems, and the caller wants none.
    #[error("{count} problems in the corpus: {first}; mend them, or go on without --strict")]
    Unclean {
        /// How many.
        count: usize,
        /// The first few.
        first: String,
    },
}
