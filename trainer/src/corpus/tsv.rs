//! A plain folder with a `captions.tsv`.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use metalens::language::lines;

use super::draft::Draft;
use super::files::{Source, check_folder, read_text};
use super::{Corpus, CorpusError};

const FILE: &str = "captions.tsv";
const LINE: &str = "file<TAB>caption";

/// `root` is the folder, or the file in it, which may then have another name.
pub(super) fn read(root: &Path) -> Result<Corpus, CorpusError> {
    let file = if root.is_file() { root.to_owned() } else { root.join(FILE) };
    let folder = match file.parent() {
        // The parent of a bare file name is empty, and an empty path is not the current folder to the system.
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    check_folder(&folder)?;
    if !file.is_file() {
        return Err(CorpusError::NoCaptionFile { folder, expected: FILE });
    }
    let source = Rc::new(Source::new(file, &folder, &["", "images"]));
    let text = read_text(&source.file)?;
    let mut draft = Draft::default();
    for (line, content) in lines(&text) {
        match content.split_once('\t').map(|(name, caption)| (name.trim(), caption)) {
            // A third column would be read as the end of the caption.
            Some((name, caption)) if !name.is_empty() && !caption.trim().contains('\t') => {
                draft.caption(name, caption, &source)
            }
            _ => draft.malformed(&source.file, line, LINE),
        }
    }
    draft.finish(&source.file, "lines `file<TAB>caption`")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::testing::{TestFolder, names};
    use super::*;
    use crate::corpus::Format::Tsv;
    use crate::corpus::{Problem, Split, read};

    #[test]
    fn a_folder_of_pictures_with_a_line_or_more_each_is_read() {
        let test = TestFolder::new()
            .file("captions.tsv", "b.png\tThe gripper is jammed.\na.jpg\tA bolt.\n\nb.png\t Jammed. \n")
            .pictures(&["a.jpg", "images/b.png"]);
        let corpus = test.read(Tsv);
        assert_eq!(names(&corpus), ["a.jpg", "b.png"]);
        assert_eq!(corpus.pictures[1].captions, ["The gripper is jammed.", "Jammed."]);
        assert_eq!(corpus.pictures[1].path, test.path().join("images/b.png"));
        assert_eq!(corpus.problems, []);
    }

    #[test]
    fn the_file_may_be_given_and_have_another_name() {
        let test = TestFolder::new().file("mine.txt", "a.jpg\tA bolt.").pictures(&["a.jpg"]);
        let corpus = read(&test.path().join("mine.txt"), Tsv).unwrap();
        assert_eq!(names(&corpus), ["a.jpg"]);
    }

    #[test]
    fn the_split_goes_by_name() {
        let corpus = TestFolder::new()
            .file("captions.tsv", "r.jpg\tx\ni.jpg\tx\na.jpg\tx\n")
            .pictures(&["a.jpg", "i.jpg", "r.jpg"])
            .read(Tsv);
        let splits: Vec<Split> = corpus.pictures.iter().map(|picture| picture.split).collect();
        assert_eq!(splits, [Split::Train, Split::Dev, Split::Test]);
    }

    #[test]
    fn bad_lines_empty_captions_and_missing_pictures_are_reported() {
        let test = TestFolder::new()
            .file(
                "captions.tsv",
                "\u{feff}a.jpg\tA bolt.\r\na.jpg A nut.\r\n\tno file\r\na.jpg\t\r\nb.jpg\tA nut.\r\na.jpg\tA bolt.\tA nut.\r\n",
            )
            .pictures(&["a.jpg"]);
        let corpus = test.read(Tsv);
        assert_eq!(corpus.pictures[0].captions, ["A bolt."]);
        let file = test.path().join("captions.tsv");
        let malformed = |line| Problem::Malformed { file: file.clone(), line, expected: LINE };
        assert_eq!(
            corpus.problems,
            [
                malformed(2),
                malformed(3),
                Problem::EmptyCaption { picture: "a.jpg".to_owned(), file: file.clone() },
                malformed(6),
                Problem::Missing { picture: "b.jpg".to_owned() },
            ]
        );
    }
}
