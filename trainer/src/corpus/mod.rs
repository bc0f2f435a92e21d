//! Captioned pictures, read from the formats in which they are handed on.
//!
//! [`read`] turns a folder into a [`Corpus`]: pictures, sorted by name, each with its captions and in one [`Split`].
//! What is wrong with single pictures or lines is collected as [`Problem`]s and the rest is read; what makes the
//! whole corpus unusable is a [`CorpusError`].
//!
//! | format | captions | pictures | split |
//! |---|---|---|---|
//! | [`Format::Flickr`] | `Flickr8k.token.txt`, `results_20130124.token` or the only `*.token*`; else `captions.txt` or `results.csv`, as Kaggle has them | `images/`, `Flicker8k_Dataset/`, `flickr30k-images/` or beside | `*trainImages.txt`, `*devImages.txt`, `*testImages.txt`, else by name |
//! | [`Format::Karpathy`] | `dataset*.json` | as for Flickr | field `split`, else by name |
//! | [`Format::Coco`] | `annotations/captions_SUFFIX.json`, all of them | `SUFFIX/`, `images/SUFFIX/`, `images/` or beside | SUFFIX: `train…`, `val…`, `test…`, else by name |
//! | [`Format::Tsv`] | `captions.tsv`, or the file itself | beside, or `images/` | by name |
//!
//! "By name" is [`Split::of_name`]. All text is UTF-8, with or without byte order mark, lines end in LF, CRLF or CR.
//! Whether a picture's bytes can be decoded is not looked at here.

mod coco;
mod draft;
mod error;
mod files;
mod flickr;
mod format;
mod karpathy;
mod problem;
mod split;
mod summary;
#[cfg(test)]
mod testing;
mod tsv;

use std::path::{Path, PathBuf};

pub use error::CorpusError;
pub use files::names;
pub use format::{Format, UnknownFormat};
pub use problem::Problem;
pub use split::{Split, UnknownSplit};

/// A picture and what people said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// As the corpus writes it, with its folder where the corpus tells one; unique in the corpus.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// One or more, in the order and the spelling of the corpus, without white space around them.
    pub captions: Vec<String>,
    /// The one split that it is in.
    pub split: Split,
    /// Its scene or class, where the corpus tells.
    pub label: Option<String>,
    /// Its number, where the corpus gives one: that of COCO.
    pub id: Option<u64>,
}

/// Captioned pictures and what was found wrong with them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Corpus {
    /// Sorted by name.
    pub pictures: Vec<Picture>,
    /// What was left out or looked odd, in the order of the files, then of the pictures' names.
    pub problems: Vec<Problem>,
}

/// Reads the corpus in the folder `root`.
///
/// # Errors
/// When the folder or its caption file cannot be read or makes no sense as a whole, when a picture is in two splits,
/// when there is no caption, and when no picture is on disk. Single bad lines and missing pictures are no errors:
/// see [`Corpus::problems`].
pub fn read(root: &Path, format: Format) -> Result<Corpus, CorpusError> {
    match format {
        Format::Flickr => flickr::read(root),
        Format::Karpathy => karpathy::read(root),
        Format::Coco => coco::read(root),
        Format::Tsv => tsv::read(root),
    }
}

impl Corpus {
    /// The pictures of one split, sorted by name.
    pub fn split(&self, split: Split) -> impl Iterator<Item = &Picture> {
        self.pictures.iter().filter(move |picture| picture.split == split)
    }

    /// The names of pictures that have captions and are not on disk.
    pub fn missing(&self) -> impl Iterator<Item = &str> {
        self.problems.iter().filter_map(|problem| match problem {
            Problem::Missing { picture } => Some(picture.as_str()),
            _ => None,
        })
    }

    /// Turns problems into an error, for callers that would rather stop than go on without some pictures.
    ///
    /// Pictures that no split list names are no defect, see [`Problem::is_defect`].
    ///
    /// # Errors
    /// [`CorpusError::Unclean`] with the number of defects and the first few of them.
    pub fn require_clean(&self) -> Result<(), CorpusError> {
        const SHOWN: usize = 3;
        let defects: Vec<&Problem> = self.problems.iter().filter(|problem| problem.is_defect()).collect();
        if defects.is_empty() {
            return Ok(());
        }
        let mut first: Vec<String> =
            defects.iter().take(SHOWN).map(|problem| format!("({problem})")).collect();
        if defects.len() > SHOWN {
            first.push(format!("and {} more", defects.len() - SHOWN));
        }
        Err(CorpusError::Unclean { count: defects.len(), first: first.join(", ") })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::testing::TestFolder;
    use super::*;

    #[test]
    fn a_corpus_with_a_defect_is_refused_only_where_clean_is_required() {
        let folder = TestFolder::new()
            .file("captions.tsv", "a.jpg\ta dog\nb.jpg\ta cat\nc.jpg\ta cow\nd.jpg\ta pig\nno tab\n")
            .pictures(&["a.jpg"]);
        let corpus = read(folder.path(), Format::Tsv).unwrap();
        assert_eq!(corpus.missing().collect::<Vec<_>>(), ["b.jpg", "c.jpg", "d.jpg"]);
        let error = corpus.require_clean().unwrap_err();
        assert!(matches!(error, CorpusError::Unclean { count: 4, .. }));
        let text = error.to_string();
        assert!(text.starts_with("4 problems in the corpus: "), "{text}");
        assert!(
            text.contains("captions.tsv:5") && text.contains("b.jpg") && text.contains("and 1 more"),
            "{text}"
        );
        assert!(!text.contains('\n'), "one error is one line");
    }

    #[test]
    fn pictures_that_no_list_names_do_not_make_a_corpus_unclean() {
        let unlisted = Problem::Unlisted { count: 92, first: "z.jpg".to_owned(), file: "tokens".into() };
        let corpus = Corpus { pictures: Vec::new(), problems: vec![unlisted] };
        assert!(corpus.require_clean().is_ok());
    }

    #[test]
    fn a_folder_that_does_not_exist_is_named() {
        for format in Format::ALL {
            let error = read(Path::new("no/such/folder"), format).unwrap_err();
            assert!(matches!(error, CorpusError::NotFound { .. }));
            assert!(error.to_string().starts_with("no/such/folder: "));
        }
    }

    #[test]
    fn a_file_where_a_folder_is_needed_is_named() {
        let folder = TestFolder::new().file("Flickr8k.token.txt", "a.jpg#0\ta dog\n");
        for format in [Format::Flickr, Format::Karpathy, Format::Coco] {
            let error = read(&folder.path().join("Flickr8k.token.txt"), format).unwrap_err();
            assert!(matches!(error, CorpusError::NotAFolder { .. }), "{error}");
        }
    }

    #[test]
    fn a_folder_without_a_caption_file_says_which_one_was_expected() {
        let folder = TestFolder::new().file("readme.txt", "");
        for (format, expected) in [
            (Format::Flickr, "Flickr8k.token.txt"),
            (Format::Karpathy, "dataset*.json"),
            (Format::Coco, "captions_*.json"),
            (Format::Tsv, "captions.tsv"),
        ] {
            let error = read(folder.path(), format).unwrap_err();
            assert!(matches!(error, CorpusError::NoCaptionFile { .. }), "{error}");
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn every_format_knows_an_empty_corpus() {
        for (format, file, text) in [
            (Format::Flickr, "Flickr8k.token.txt", ""),
            (Format::Karpathy, "dataset_x.json", r#"{"images": []}"#),
            (Format::Coco, "annotations/captions_train.json", r#"{"images": [], "annotations": []}"#),
            (Format::Tsv, "captions.tsv", "\n\n"),
        ] {
            let folder = TestFolder::new().file(file, text);
            let error = read(folder.path(), format).unwrap_err();
            assert!(matches!(error, CorpusError::NoCaptions { .. }), "{error}");
            assert!(error.to_string().contains(file), "{error}");
        }
    }

    #[test]
    fn every_format_knows_when_no_picture_is_on_disk_and_says_where_it_looked() {
        for (format, file, text) in [
            (Format::Flickr, "Flickr8k.token.txt", "a.jpg#0\tdog\nb.jpg#0\tcat"),
            (
                Format::Karpathy,
                "dataset_x.json",
                r#"{"images": [{"filename": "a.jpg", "sentences": [{"raw": "dog"}]},
                               {"filename": "b.jpg", "sentences": [{"raw": "cat"}]}]}"#,
            ),
            (
                Format::Coco,
                "annotations/captions_train.json",
                r#"{"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}],
                    "annotations": [{"image_id": 1, "caption": "dog"}, {"image_id": 2, "caption": "cat"}]}"#,
            ),
            (Format::Tsv, "captions.tsv", "a.jpg\tdog\nb.jpg\tcat"),
        ] {
            let folder = TestFolder::new().file(file, text).pictures(&["images/other.jpg"]);
            let error = read(folder.path(), format).unwrap_err();
            assert!(matches!(error, CorpusError::NoPictures { named: 2, .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains("a.jpg"), "{text}");
            assert!(text.contains(folder.path().join("images").to_str().unwrap()), "{text}");
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_refused_with_its_line() {
        let folder = TestFolder::new().bytes("captions.tsv", b"a.jpg\tdog\nb.jpg\tcaf\xe9\n");
        let error = read(folder.path(), Format::Tsv).unwrap_err();
        assert!(matches!(error, CorpusError::NotUtf8 { line: 2, .. }), "{error}");
        assert!(error.to_string().contains("captions.tsv:2: "), "{error}");
    }
}
