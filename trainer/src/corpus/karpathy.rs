//! The JSON in which Karpathy and Fei-Fei (2015) hand on Flickr8k, Flickr30k and COCO; RSICD uses it too.

use std::path::Path;
use std::rc::Rc;

use serde::Deserialize;

use super::draft::Draft;
use super::files::{Source, at_most_one, check_folder, matching, read_json};
use super::flickr::PICTURE_FOLDERS;
use super::{Corpus, CorpusError, Format, Split};

const EXPECTED: &str = "dataset*.json";

#[derive(Deserialize)]
struct Dataset {
    images: Vec<Image>,
}

#[derive(Deserialize)]
struct Image {
    filename: String,
    /// The folder of the file, in COCO.
    filepath: Option<String>,
    split: Option<String>,
    /// The scene class, in our RSICD.
    scene: Option<String>,
    #[serde(default)]
    sentences: Vec<Sentence>,
}

#[derive(Deserialize)]
struct Sentence {
    raw: Option<String>,
    #[serde(default)]
    tokens: Vec<String>,
}

pub(super) fn read(root: &Path) -> Result<Corpus, CorpusError> {
    check_folder(root)?;
    let found = matching(root, |name| name.starts_with("dataset") && name.ends_with(".json"))?;
    let file = at_most_one(root, found, EXPECTED)?
        .ok_or_else(|| CorpusError::NoCaptionFile { folder: root.to_owned(), expected: EXPECTED })?;
    let dataset: Dataset = read_json(&file, Format::Karpathy)?;
    let source = Rc::new(Source::new(file, root, &PICTURE_FOLDERS));

    let mut draft = Draft::default();
    for image in dataset.images {
        let name = image.name();
        let split = image.split.as_deref().map(|split| parse_split(split, &name, &source)).transpose()?;
        let entry = draft.declare(&name, split, &source)?;
        if entry.label.is_none() {
            entry.label = image.scene;
        }
        for sentence in image.sentences {
            draft.caption(&name, &sentence.text(), &source);
        }
    }
    draft.finish(&source.file, "`images` with `sentences`")
}

/// `restval` is the part of COCO's validation pictures that Karpathy's split returns to training.
fn parse_split(split: &str, picture: &str, source: &Source) -> Result<Split, CorpusError> {
    if split == "restval" {
        return Ok(Split::Train);
    }
    split.parse().map_err(|_| CorpusError::UnknownSplit {
        file: source.file.clone(),
        picture: picture.to_owned(),
        split: split.to_owned(),
    })
}

impl Image {
    fn name(&self) -> String {
        match self.filepath.as_deref() {
            None | Some("") => self.filename.clone(),
            Some(folder) => format!("{}/{}", folder.trim_end_matches('/'), self.filename),
        }
    }
}

impl Sentence {
    fn text(self) -> String {
        self.raw.filter(|raw| !raw.trim().is_empty()).unwrap_or_else(|| self.tokens.join(" "))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::testing::{TestFolder, names, picture};
    use super::*;
    use crate::corpus::Format::Karpathy;
    use crate::corpus::Problem;

    const DATASET: &str = r#"{"dataset": "x", "images": [
        {"filename": "d.jpg", "split": "test", "sentences": [{"raw": "A dog ."}]},
        {"filename": "a.jpg", "split": "train", "sentences": [{"raw": " A cat . "}, {"tokens": ["one", "cat"]}]},
        {"filename": "b.jpg", "split": "restval", "scene": "farm", "sentences": [{"raw": "", "tokens": ["pig"]}]},
        {"filename": "c.jpg", "split": "val", "sentences": [{"raw": "A cow .", "tokens": ["a", "cow"]}]}
    ]}"#;

    fn one(image: &str) -> String {
        format!(r#"{{"images": [{{"filename": "a.jpg", "sentences": [{{"raw": "A cat ."}}]}}, {image}]}}"#)
    }

    #[test]
    fn names_captions_splits_and_scenes_are_read() {
        let corpus = TestFolder::new()
            .file("dataset_x.json", DATASET)
            .pictures(&["images/a.jpg", "images/b.jpg", "images/c.jpg", "images/d.jpg"])
            .read(Karpathy);
        assert_eq!(names(&corpus), ["a.jpg", "b.jpg", "c.jpg", "d.jpg"]);
        let splits: Vec<Split> = corpus.pictures.iter().map(|picture| picture.split).collect();
        assert_eq!(splits, [Split::Train, Split::Train, Split::Dev, Split::Test]);
        assert_eq!(picture(&corpus, "a.jpg").captions, ["A cat .", "one cat"]);
        assert_eq!(picture(&corpus, "b.jpg").captions, ["pig"]);
        assert_eq!(picture(&corpus, "b.jpg").label.as_deref(), Some("farm"));
        assert_eq!(picture(&corpus, "c.jpg").label, None);
        assert_eq!(corpus.problems, []);
    }

    #[test]
    fn a_corpus_that_is_all_train_stays_all_train() {
        let images: Vec<String> = (0..50)
            .map(|i| format!(r#"{{"filename": "{i}.jpg", "split": "train", "sentences": [{{"raw": "x"}}]}}"#))
            .collect();
        let pictures: Vec<String> = (0..50).map(|i| format!("{i}.jpg")).collect();
        let corpus = TestFolder::new()
            .file("dataset_x.json", &format!(r#"{{"images": [{}]}}"#, images.join(",")))
            .pictures(&pictures.iter().map(String::as_str).collect::<Vec<_>>())
            .read(Karpathy);
        assert_eq!(corpus.split(Split::Train).count(), 50);
    }

    #[test]
    fn the_folder_of_a_file_is_part_of_its_name() {
        let test = TestFolder::new()
            .file(
                "dataset_coco.json",
                &one(r#"{"filename": "a.jpg", "filepath": "val2014", "sentences": [{"raw": "x"}]}"#),
            )
            .pictures(&["images/a.jpg", "val2014/a.jpg"]);
        let corpus = test.read(Karpathy);
        assert_eq!(names(&corpus), ["a.jpg", "val2014/a.jpg"]);
        assert_eq!(corpus.pictures[1].path, test.path().join("val2014/a.jpg"));
        assert_eq!(corpus.problems, []);
    }

    #[test]
    fn a_picture_that_stands_twice_keeps_all_captions() {
        let test = TestFolder::new()
            .file("dataset_x.json", &one(r#"{"filename": "a.jpg", "sentences": [{"raw": "The cat ."}]}"#))
            .pictures(&["a.jpg"]);
        let corpus = test.read(Karpathy);
        assert_eq!(corpus.pictures.len(), 1);
        assert_eq!(corpus.pictures[0].captions, ["A cat .", "The cat ."]);
        let file = test.path().join("dataset_x.json");
        assert_eq!(corpus.problems, [Problem::Duplicate { picture: "a.jpg".to_owned(), file }]);
    }

    #[test]
    fn a_picture_is_in_one_split_only() {
        let twice = r#"{"images": [{"filename": "a.jpg", "split": "train", "sentences": [{"raw": "x"}]},
                                   {"filename": "a.jpg", "split": "val", "sentences": [{"raw": "x"}]}]}"#;
        let error = TestFolder::new().file("dataset_x.json", twice).pictures(&["a.jpg"]).error(Karpathy);
        assert!(matches!(&error, CorpusError::InTwoSplits { picture, .. } if picture == "a.jpg"), "{error}");
        let text = error.to_string();
        assert!(
            text.contains("train (") && text.contains("dev (") && text.contains("dataset_x.json"),
            "{text}"
        );
    }

    #[test]
    fn a_picture_without_split_is_split_by_name() {
        let corpus = TestFolder::new()
            .file("dataset.json", &one(r#"{"filename": "r.jpg", "sentences": [{"raw": "x"}]}"#))
            .pictures(&["a.jpg", "r.jpg"])
            .read(Karpathy);
        assert_eq!([corpus.pictures[0].split, corpus.pictures[1].split], [Split::Train, Split::Test]);
    }

    #[test]
    fn an_unknown_split_is_refused_with_its_picture() {
        let error = TestFolder::new()
            .file("dataset_x.json", &one(r#"{"filename": "b.jpg", "split": "holdout", "sentences": []}"#))
            .error(Karpathy);
        let text = error.to_string();
        assert!(
            text.contains("dataset_x.json") && text.contains("b.jpg") && text.contains("`holdout`"),
            "{text}"
        );
    }

    #[test]
    fn pictures_without_captions_and_missing_ones_are_reported() {
        let test = TestFolder::new()
            .file(
                "dataset_x.json",
                &one(r#"{"filename": "b.jpg"}, {"filename": "c.jpg", "sentences": [{"raw": "x"}, {"raw": " "}]}"#),
            )
            .pictures(&["a.jpg", "b.jpg"]);
        let file = test.path().join("dataset_x.json");
        let empty = Problem::EmptyCaption { picture: "c.jpg".to_owned(), file: file.clone() };
        let captionless = Problem::NoCaptions { picture: "b.jpg".to_owned(), file };
        let missing = Problem::Missing { picture: "c.jpg".to_owned() };
        assert_eq!(test.read(Karpathy).problems, [empty, captionless, missing]);
    }

    #[test]
    fn broken_json_is_refused_with_file_line_and_column() {
        for (text, place) in [
            ("{\"images\": [\n{\"filename\": 7}]}", "line 2 column 14"),
            ("{\"images\": [", "line 1 column 12"),
            ("{\"pictures\": []}", "missing field `images`"),
        ] {
            let error = TestFolder::new().file("dataset_x.json", text).error(Karpathy);
            assert!(matches!(error, CorpusError::Json { .. }), "{error}");
            let text = error.to_string();
            assert!(text.contains("dataset_x.json") && text.contains(place), "{text}");
        }
    }

    #[test]
    fn a_byte_order_mark_changes_nothing_and_several_files_are_refused() {
        let test =
            TestFolder::new().file("dataset_x.json", &format!("\u{feff}{DATASET}")).pictures(&["a.jpg"]);
        assert_eq!(names(&test.read(Karpathy)), ["a.jpg"]);
        let error = test.file("dataset_y.json", DATASET).error(Karpathy);
        assert!(error.to_string().contains("dataset_x.json, dataset_y.json"), "{error}");
    }
}
