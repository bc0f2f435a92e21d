//! COCO captions (Chen et al. 2015): one JSON file a split, pictures in a folder of the same suffix.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::Deserialize;

use super::draft::Draft;
use super::files::{Source, check_folder, file_name, matching, read_json};
use super::{Corpus, CorpusError, Format, Problem, Split};

const FOLDER: &str = "annotations";
const PREFIX: &str = "captions_";
const EXTENSION: &str = ".json";
const EXPECTED: &str = "annotations/captions_*.json";

#[derive(Deserialize)]
struct Captions {
    images: Vec<Image>,
    annotations: Vec<Annotation>,
}

#[derive(Deserialize)]
struct Image {
    id: u64,
    file_name: String,
}

#[derive(Deserialize)]
struct Annotation {
    image_id: u64,
    caption: String,
}

pub(super) fn read(root: &Path) -> Result<Corpus, CorpusError> {
    check_folder(root)?;
    let folder = root.join(FOLDER);
    let files = if folder.is_dir() {
        matching(&folder, |name| name.starts_with(PREFIX) && name.ends_with(EXTENSION))?
    } else {
        Vec::new()
    };
    let of_year =
        |year: &str| files.iter().any(|file| file_name(file).ends_with(&format!("{year}{EXTENSION}")));
    if of_year("2014") && of_year("2017") {
        return Err(CorpusError::TwoEditions { folder });
    }
    let mut draft = Draft::default();
    for file in &files {
        read_file(root, file.clone(), &mut draft)?;
    }
    match files.first() {
        Some(first) => draft.finish(first, "`images` and their `annotations`"),
        None => Err(CorpusError::NoCaptionFile { folder: root.to_owned(), expected: EXPECTED }),
    }
}

fn read_file(root: &Path, file: PathBuf, draft: &mut Draft) -> Result<(), CorpusError> {
    let captions: Captions = read_json(&file, Format::Coco)?;
    let name = file_name(&file);
    let suffix = name[PREFIX.len()..name.len() - EXTENSION.len()].to_owned();
    let split = split_of(&suffix);
    let source = Rc::new(Source::new(file, root, &[&suffix, &format!("images/{suffix}"), "images", ""]));

    let mut names: HashMap<u64, String> = HashMap::with_capacity(captions.images.len());
    for Image { id, file_name } in captions.images {
        // Another file's picture may have that name in its own folder.
        let other = draft.another_file(&file_name, &source);
        let name = if other.is_some() { format!("{suffix}/{file_name}") } else { file_name };
        let entry = draft.declare(&name, split, &source)?;
        entry.path = other.or(entry.path.take());
        entry.id.get_or_insert(id);
        let first = names.entry(id).or_insert_with(|| name.clone());
        if *first != name {
            let (first, file) = (first.clone(), source.file.clone());
            return Err(CorpusError::SameId { file, id, first, second: name });
        }
    }
    for Annotation { image_id, caption } in captions.annotations {
        match names.get(&image_id) {
            Some(name) => draft.caption(name, &caption, &source),
            None => draft.problems.push(Problem::UnknownId { file: source.file.clone(), id: image_id }),
        }
    }
    Ok(())
}

/// COCO's captions of test pictures are not public, but those of other corpora in this format are.
fn split_of(suffix: &str) -> Option<Split> {
    [("train", Split::Train), ("val", Split::Dev), ("dev", Split::Dev), ("test", Split::Test)]
        .into_iter()
        .find_map(|(start, split)| suffix.starts_with(start).then_some(split))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::testing::{TestFolder, names, picture};
    use super::*;
    use crate::corpus::Format::Coco;

    const TRAIN: &str = r#"{"images": [{"id": 9, "file_name": "a.jpg", "height": 1}, {"id": 2, "file_name": "b.jpg"}],
        "annotations": [{"image_id": 2, "id": 1, "caption": "A dog. \n"}, {"image_id": 9, "id": 2, "caption": "A cat."},
                        {"image_id": 2, "id": 3, "caption": "The dog."}]}"#;
    const VAL: &str = r#"{"images": [{"id": 9, "file_name": "c.jpg"}],
        "annotations": [{"image_id": 9, "caption": "A cow."}]}"#;

    #[test]
    fn one_name_in_two_folders_is_two_pictures() {
        let of = |caption: &str| {
            format!(
                r#"{{"images": [{{"id": 1, "file_name": "1.jpg"}}], "annotations": [{{"image_id": 1, "caption": "{caption}"}}]}}"#
            )
        };
        let corpus = |first: &str, second: &str, files: [(&str, &str); 2]| {
            TestFolder::new()
                .file(&format!("annotations/captions_{first}.json"), &of("A dog."))
                .file(&format!("annotations/captions_{second}.json"), &of("A cat."))
                .file(files[0].0, files[0].1)
                .file(files[1].0, files[1].1)
        };
        for (first, second, file) in [
            ("a", "b", "images/b/1.jpg"),
            ("train2017", "val2017", "val2017/1.jpg"),
            ("a", "b", "images/1.jpg"),
        ] {
            let corpus =
                corpus(first, second, [(&format!("{first}/1.jpg"), "one"), (file, "another")]).read(Coco);
            let other = format!("{second}/1.jpg");
            assert_eq!(picture(&corpus, "1.jpg").captions, ["A dog."]);
            assert_eq!(picture(&corpus, &other).captions, ["A cat."]);
            assert!(picture(&corpus, &other).path.ends_with(file));
            assert_eq!(corpus.problems, []);
        }
        // The same photograph in both folders is one picture, and must not be in two splits.
        let same = [("train2017/1.jpg", "one"), ("val2017/1.jpg", "one")];
        let test = corpus("train2017", "val2017", same);
        assert!(read(test.path()).unwrap_err().to_string().contains("1.jpg is in two splits"));
    }

    #[test]
    fn both_editions_at_once_would_put_a_photograph_into_two_splits() {
        let test = TestFolder::new()
            .file("annotations/captions_train2017.json", TRAIN)
            .file("annotations/captions_val2014.json", VAL);
        let error = read(test.path()).unwrap_err().to_string();
        assert!(error.contains("of COCO 2014 and of 2017"), "{error}");
    }

    #[test]
    fn captions_find_their_picture_by_its_number_within_their_file() {
        let corpus = TestFolder::new()
            .file("annotations/captions_train2017.json", TRAIN)
            .file("annotations/captions_val2017.json", VAL)
            .file("annotations/instances_train2017.json", "not read")
            .pictures(&["train2017/a.jpg", "train2017/b.jpg", "val2017/c.jpg"])
            .read(Coco);
        assert_eq!(names(&corpus), ["a.jpg", "b.jpg", "c.jpg"]);
        assert_eq!(picture(&corpus, "b.jpg").captions, ["A dog.", "The dog."]);
        assert_eq!(picture(&corpus, "c.jpg").captions, ["A cow."]);
        let splits: Vec<Split> = corpus.pictures.iter().map(|picture| picture.split).collect();
        assert_eq!(splits, [Split::Train, Split::Train, Split::Dev]);
        let ids: Vec<Option<u64>> = corpus.pictures.iter().map(|picture| picture.id).collect();
        assert_eq!(ids, [Some(9), Some(2), Some(9)]);
        assert_eq!(corpus.problems, []);
    }

    #[test]
    fn pictures_lie_in_the_folder_of_the_suffix_or_in_images_or_beside() {
        for folder in ["val2017", "images/val2017", "images", "."] {
            let path = format!("{folder}/c.jpg");
            let test = TestFolder::new().file("annotations/captions_val2017.json", VAL).pictures(&[&path]);
            let expected: PathBuf = test.path().join(path).components().collect();
            assert_eq!(test.read(Coco).pictures[0].path, expected);
        }
    }

    #[test]
    fn a_suffix_that_tells_no_split_leaves_it_to_the_name() {
        let captions = VAL.replace("c.jpg", "r.jpg");
        let corpus = TestFolder::new()
            .file("annotations/captions_mine.json", &captions)
            .pictures(&["images/r.jpg"])
            .read(Coco);
        assert_eq!(corpus.pictures[0].split, Split::Test);
    }

    #[test]
    fn a_picture_is_in_one_split_only() {
        let error = TestFolder::new()
            .file("annotations/captions_train2017.json", TRAIN)
            .file("annotations/captions_val2017.json", &VAL.replace("c.jpg", "a.jpg"))
            .pictures(&["images/a.jpg", "images/b.jpg"])
            .error(Coco);
        assert!(matches!(&error, CorpusError::InTwoSplits { picture, .. } if picture == "a.jpg"), "{error}");
        let text = error.to_string();
        assert!(text.contains("captions_train2017.json") && text.contains("captions_val2017.json"), "{text}");
    }

    #[test]
    fn oddities_are_reported_and_the_rest_is_read() {
        let test = TestFolder::new()
            .file(
                "annotations/captions_train.json",
                r#"{"images": [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"},
                               {"id": 3, "file_name": "a.jpg"}, {"id": 4, "file_name": "d.jpg"}],
                    "annotations": [{"image_id": 1, "caption": "A dog."}, {"image_id": 3, "caption": "The dog."},
                                    {"image_id": 7, "caption": "Lost."}, {"image_id": 1, "caption": ""},
                                    {"image_id": 4, "caption": "A pig."}]}"#,
            )
            .pictures(&["a.jpg", "b.jpg"]);
        let corpus = test.read(Coco);
        assert_eq!(names(&corpus), ["a.jpg"]);
        assert_eq!(corpus.pictures[0].captions, ["A dog.", "The dog."]);
        let file = test.path().join("annotations/captions_train.json");
        assert_eq!(
            corpus.problems,
            [
                Problem::Duplicate { picture: "a.jpg".to_owned(), file: file.clone() },
                Problem::UnknownId { file: file.clone(), id: 7 },
                Problem::EmptyCaption { picture: "a.jpg".to_owned(), file: file.clone() },
                Problem::NoCaptions { picture: "b.jpg".to_owned(), file },
                Problem::Missing { picture: "d.jpg".to_owned() },
            ]
        );
    }

    #[test]
    fn one_number_for_two_pictures_is_refused() {
        let error = TestFolder::new()
            .file("annotations/captions_train.json", &TRAIN.replace("\"id\": 9", "\"id\": 2"))
            .error(Coco);
        assert!(matches!(error, CorpusError::SameId { id: 2, .. }), "{error}");
    }

    #[test]
    fn broken_json_is_refused_with_file_line_and_column() {
        let error =
            TestFolder::new().file("annotations/captions_train.json", "{\n\"images\": 3}").error(Coco);
        let text = error.to_string();
        assert!(text.contains("captions_train.json") && text.contains("line 2 column 11"), "{text}");
    }
}
