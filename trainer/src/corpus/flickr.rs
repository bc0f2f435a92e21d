//! Flickr8k (Hodosh et al. 2013) and Flickr30k (Young et al. 2014): a token file and split lists, or the tables in which others hand
//! them on.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use metalens::language::lines;

use super::draft::Draft;
use super::files::{Source, at_most_one, check_folder, file_name, matching, read_text};
use super::{Corpus, CorpusError, Problem, Split};

/// Where the distributions, and those who hand them on, put the pictures.
pub(super) const PICTURE_FOLDERS: [&str; 7] =
    ["images", "Images", "Flicker8k_Dataset", "Flickr8k_Dataset", "flickr30k-images", "flickr30k_images", ""];

const EXPECTED: &str =
    "Flickr8k.token.txt, results_20130124.token, another *.token* file, captions.txt or results.csv";

/// What the lines of a captions file look like.
#[derive(Clone, Copy)]
enum Layout {
    /// As distributed: `file#n<TAB>caption`.
    Tokens,
    /// A table headed `image,caption`, the caption in quotes where it has commas.
    Commas,
    /// A table headed `image_name,comment_number,comment`.
    NumberedCommas,
    /// A table headed `image_name| comment_number| comment`.
    Bars,
}

/// Names of tables, and what their first lines may be.
const TABLES: [&str; 2] = ["captions.txt", "results.csv"];
const HEADINGS: &str =
    "`image,caption`, `image_name,comment_number,comment` or `image_name| comment_number| comment`";
const LISTS: [(Split, &str, &str); 3] = [
    (Split::Train, "trainImages.txt", "*trainImages.txt"),
    (Split::Dev, "devImages.txt", "*devImages.txt"),
    (Split::Test, "testImages.txt", "*testImages.txt"),
];

pub(super) fn read(root: &Path) -> Result<Corpus, CorpusError> {
    check_folder(root)?;
    let file = captions_file(root)?;
    let tokens = Rc::new(Source::new(file, root, &PICTURE_FOLDERS));
    let mut draft = Draft::default();
    let listed = read_lists(root, &mut draft)?;

    let text = read_text(&tokens.file)?;
    let layout = Layout::of(&tokens.file, &text)?;
    let mut unlisted = BTreeSet::new();
    let mut captioned = false;
    for (line, content) in lines(&text).skip(usize::from(layout.has_heading())) {
        let Some((name, caption)) = layout.parse(content) else {
            draft.malformed(&tokens.file, line, layout.line());
            continue;
        };
        if listed && !draft.contains(name) {
            unlisted.insert(name);
        } else {
            captioned = true;
            draft.caption(name, &caption, &tokens);
        }
    }
    if let Some(&first) = unlisted.first() {
        let (count, file) = (unlisted.len(), tokens.file.clone());
        if !captioned {
            return Err(CorpusError::NothingListed { file, named: count });
        }
        draft.problems.push(Problem::Unlisted { count, first: first.to_owned(), file });
    }
    draft.finish(&tokens.file, layout.line())
}

/// Flickr8k comes with a second, lemmatised token file, so the names of the distributions go first.
fn captions_file(root: &Path) -> Result<PathBuf, CorpusError> {
    let known = matching(root, |name| name == "Flickr8k.token.txt" || name == "results_20130124.token")?;
    let found = if known.is_empty() { matching(root, |name| name.contains(".token"))? } else { known };
    if let Some(file) = at_most_one(root, found, EXPECTED)? {
        return Ok(file);
    }
    let mut tables = TABLES.into_iter().map(|name| root.join(name));
    tables
        .find(|file| file.is_file())
        .ok_or_else(|| CorpusError::NoCaptionFile { folder: root.to_owned(), expected: EXPECTED })
}

/// Whether there is any list.
fn read_lists(root: &Path, draft: &mut Draft) -> Result<bool, CorpusError> {
    let mut any = false;
    for (split, suffix, expected) in LISTS {
        let Some(list) = at_most_one(root, matching(root, |name| name.ends_with(suffix))?, expected)? else {
            continue;
        };
        any = true;
        let text = read_text(&list)?;
        let source = Rc::new(Source::new(list, root, &PICTURE_FOLDERS));
        for (_, name) in lines(&text) {
            draft.declare(name.trim(), Some(split), &source)?;
        }
    }
    Ok(any)
}

/// A column of a table, which may stand in quotes.
fn unquoted(column: &str) -> Cow<'_, str> {
    let quoted = column.trim().strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    quoted.map_or(Cow::from(column), |text| text.replace("\"\"", "\"").into())
}

impl Layout {
    /// Of a table the first line tells.
    fn of(file: &Path, text: &str) -> Result<Self, CorpusError> {
        if !TABLES.contains(&file_name(file)) {
            return Ok(Self::Tokens);
        }
        let (_, heading) = lines(text).next().unwrap_or_default();
        let heading: String = heading.split_whitespace().collect();
        [Self::Commas, Self::NumberedCommas, Self::Bars]
            .into_iter()
            .find(|layout| layout.line().replace(' ', "") == heading)
            .ok_or_else(|| CorpusError::NoHeading { file: file.to_owned(), expected: HEADINGS })
    }

    /// What a line is to be; of a table what its first one is.
    fn line(self) -> &'static str {
        match self {
            Self::Tokens => "file#n<TAB>caption",
            Self::Commas => "image,caption",
            Self::NumberedCommas => "image_name,comment_number,comment",
            Self::Bars => "image_name| comment_number| comment",
        }
    }

    fn has_heading(self) -> bool {
        !matches!(self, Self::Tokens)
    }

    /// The picture and its caption.
    fn parse(self, line: &str) -> Option<(&str, Cow<'_, str>)> {
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let (name, caption) = match self {
            Self::Tokens => {
                let (key, caption) = line.split_once('\t')?;
                let (name, number) = key.rsplit_once('#')?;
                (name, is_number(number).then_some(Cow::from(caption))?)
            }
            Self::Commas => {
                let (name, caption) = line.split_once(',')?;
                (name.trim(), unquoted(caption))
            }
            Self::NumberedCommas | Self::Bars => {
                let separator = if matches!(self, Self::Bars) { '|' } else { ',' };
                let mut columns = line.splitn(3, separator).map(str::trim);
                let (name, number) = (columns.next()?, columns.next()?);
                (name, is_number(number).then_some(unquoted(columns.next()?))?)
            }
        };
        (!name.is_empty()).then_some((name, caption))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::testing::{TestFolder, names, picture};
    use super::*;
    use crate::corpus::Format::Flickr;

    const TOKENS: &str =
        "b.jpg#0\tA dog runs .\nb.jpg#1\t A dog is running . \na.jpg#0\tTwo cats .\nc.jpg#0\tA cow .\n";

    #[test]
    fn captions_of_a_picture_are_gathered_as_written_and_pictures_sorted() {
        let corpus = TestFolder::new()
            .file("Flickr8k.token.txt", TOKENS)
            .pictures(&["images/a.jpg", "images/b.jpg", "images/c.jpg"])
            .read(Flickr);
        assert_eq!(names(&corpus), ["a.jpg", "b.jpg", "c.jpg"]);
        assert_eq!(picture(&corpus, "b.jpg").captions, ["A dog runs .", "A dog is running ."]);
        assert_eq!(corpus.problems, []);
    }

    #[test]
    fn tables_in_which_others_hand_them_on_are_read() {
        let pictures = ["Images/a.jpg", "Images/b.jpg"];
        let commas =
            "image,caption\na.jpg,A dog runs .\nb.jpg,\"A cat , a \"\"tom\"\" , sits .\"\nno picture\n";
        let test = TestFolder::new().file("captions.txt", commas).pictures(&pictures);
        let corpus = test.read(Flickr);
        assert_eq!(picture(&corpus, "a.jpg").captions, ["A dog runs ."]);
        assert_eq!(picture(&corpus, "b.jpg").captions, ["A cat , a \"tom\" , sits ."]);
        let file = test.path().join("captions.txt");
        assert_eq!(corpus.problems, [Problem::Malformed { file, line: 4, expected: "image,caption" }]);

        let old =
            TestFolder::new().file("captions.txt", "\rimage,caption\ra.jpg,A dog .\r").pictures(&pictures);
        assert_eq!(names(&old.read(Flickr)), ["a.jpg"]);

        let numbered =
            "image_name, comment_number, comment\na.jpg,0,\"A dog , running .\"\nb.jpg,1,A cat .\n";
        let corpus = TestFolder::new().file("captions.txt", numbered).pictures(&pictures).read(Flickr);
        assert_eq!(picture(&corpus, "a.jpg").captions, ["A dog , running ."]);
        assert_eq!(picture(&corpus, "b.jpg").captions, ["A cat ."]);

        let test = TestFolder::new().file("captions.txt", "a.jpg,A dog .\n").pictures(&pictures);
        let error = test.error(Flickr).to_string();
        assert!(error.contains("captions.txt: its first line is none of `image,caption`"), "{error}");

        let bars = "image_name| comment_number| comment\na.jpg| 0| Two dogs , or | run .\nb.jpg| 4   A cat sits .\nb.jpg| 1| A cat .\n";
        let test = TestFolder::new().file("results.csv", bars).pictures(&pictures);
        let corpus = test.read(Flickr);
        assert_eq!(picture(&corpus, "a.jpg").captions, ["Two dogs , or | run ."]);
        assert_eq!(picture(&corpus, "b.jpg").captions, ["A cat ."]);
        assert!(
            matches!(&corpus.problems[..], [Problem::Malformed { line: 3, .. }]),
            "{:?}",
            corpus.problems
        );
    }

    #[test]
    fn pictures_lie_in_any_of_the_usual_folders_or_beside() {
        for folder in ["images", "Flicker8k_Dataset", "flickr30k-images", "."] {
            let path = format!("{folder}/a.jpg");
            let test = TestFolder::new().file("results_20130124.token", "a.jpg#0\tA dog").pictures(&[&path]);
            let corpus = test.read(Flickr);
            assert_eq!(corpus.pictures[0].path, test.path().join(path).components().collect::<PathBuf>());
            assert_eq!(corpus.pictures[0].name, "a.jpg");
        }
    }

    #[test]
    fn lists_tell_the_split_and_pictures_in_none_are_left_out_and_counted_once() {
        let corpus = TestFolder::new()
            .file(
                "Flickr8k.token.txt",
                &format!("{TOKENS}d.jpg#0\tA pig .\nd.jpg#1\tPig .\ne.jpg#0\tA hen ."),
            )
            .file("Flickr_8k.trainImages.txt", "b.jpg\n")
            .file("Flickr_8k.devImages.txt", "a.jpg")
            .file("Flickr_8k.testImages.txt", "c.jpg\n\n")
            .pictures(&["a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg"])
            .read(Flickr);
        let split = |split| corpus.split(split).map(|picture| picture.name.as_str()).collect::<Vec<_>>();
        assert_eq!(split(Split::Train), ["b.jpg"]);
        assert_eq!(split(Split::Dev), ["a.jpg"]);
        assert_eq!(split(Split::Test), ["c.jpg"]);
        assert!(
            matches!(&corpus.problems[..], [Problem::Unlisted { count: 2, first, .. }] if first == "d.jpg"),
            "{:?}",
            corpus.problems
        );
    }

    #[test]
    fn a_picture_is_in_one_split_only() {
        let error = TestFolder::new()
            .file("Flickr8k.token.txt", TOKENS)
            .file("x.trainImages.txt", "b.jpg\na.jpg\n")
            .file("x.testImages.txt", "c.jpg\na.jpg\n")
            .pictures(&["a.jpg", "b.jpg", "c.jpg"])
            .error(Flickr);
        assert!(matches!(&error, CorpusError::InTwoSplits { picture, .. } if picture == "a.jpg"), "{error}");
        let text = error.to_string();
        assert!(text.contains("x.trainImages.txt") && text.contains("x.testImages.txt"), "{text}");
    }

    #[test]
    fn one_file_under_two_names_is_in_one_split_only() {
        let test = TestFolder::new()
            .file("Flickr8k.token.txt", "a.jpg#0\tA dog\n./a.jpg#0\tThe dog\n")
            .file("x.trainImages.txt", "a.jpg\n")
            .file("x.testImages.txt", "./a.jpg\n")
            .pictures(&["images/a.jpg"]);
        assert!(matches!(test.error(Flickr), CorpusError::InTwoSplits { .. }));

        let corpus =
            test.file("x.testImages.txt", "").file("x.trainImages.txt", "a.jpg\n./a.jpg\n").read(Flickr);
        assert_eq!(names(&corpus), ["./a.jpg"]);
        assert_eq!(corpus.pictures[0].captions, ["The dog", "A dog"]);
        let same = Problem::SameFile { picture: "a.jpg".to_owned(), first: "./a.jpg".to_owned() };
        assert_eq!(corpus.problems, [same]);
    }

    #[test]
    fn without_lists_the_split_depends_on_the_name_alone() {
        let alone = TestFolder::new().file("x.token", "i.jpg#0\tA dog").pictures(&["i.jpg"]).read(Flickr);
        let among = TestFolder::new()
            .file("x.token", "a.jpg#0\tA cat\ni.jpg#0\tA dog\nr.jpg#0\tA cow")
            .pictures(&["a.jpg", "i.jpg", "r.jpg"])
            .read(Flickr);
        assert_eq!(alone.pictures[0].split, Split::Dev);
        let splits: Vec<Split> = among.pictures.iter().map(|picture| picture.split).collect();
        assert_eq!(splits, [Split::Train, Split::Dev, Split::Test]);
    }

    #[test]
    fn bad_lines_are_named_by_file_and_line_and_the_rest_is_read() {
        let test = TestFolder::new()
            .file("x.token", "a.jpg#0\tA dog\na.jpg\tno number\na.jpg#1 no tab\n\n#2\tno name\na.jpg#x\tno digit\na.jpg#3\t \n")
            .pictures(&["a.jpg"]);
        let corpus = test.read(Flickr);
        assert_eq!(corpus.pictures[0].captions, ["A dog"]);
        let file = test.path().join("x.token");
        let malformed =
            |line| Problem::Malformed { file: file.clone(), line, expected: Layout::Tokens.line() };
        let empty = Problem::EmptyCaption { picture: "a.jpg".to_owned(), file: file.clone() };
        assert_eq!(corpus.problems, [malformed(2), malformed(3), malformed(5), malformed(6), empty]);
        assert!(malformed(2).to_string().contains("x.token:2: "));
    }

    #[test]
    fn a_name_of_flickr8k_that_no_picture_has_is_missing() {
        let corpus = TestFolder::new()
            .file("Flickr8k.token.txt", "a.jpg#0\tA dog\n2258277193_586949ec62.jpg.1#0\tpeople waiting\n")
            .pictures(&["a.jpg"])
            .read(Flickr);
        assert_eq!(names(&corpus), ["a.jpg"]);
        assert_eq!(corpus.missing().collect::<Vec<_>>(), ["2258277193_586949ec62.jpg.1"]);
    }

    #[test]
    fn listed_pictures_without_captions_and_repeated_ones_are_reported() {
        let test = TestFolder::new()
            .file("x.token", "a.jpg#0\tA dog")
            .file("x.trainImages.txt", "a.jpg\nz.jpg\na.jpg\n")
            .pictures(&["a.jpg", "z.jpg"]);
        let corpus = test.read(Flickr);
        let file = test.path().join("x.trainImages.txt");
        let duplicate = Problem::Duplicate { picture: "a.jpg".to_owned(), file: file.clone() };
        let captionless = Problem::NoCaptions { picture: "z.jpg".to_owned(), file };
        assert_eq!(corpus.problems, [duplicate, captionless]);
        assert_eq!(names(&corpus), ["a.jpg"]);
    }

    #[test]
    fn the_lemmatised_token_file_beside_the_known_one_is_not_taken() {
        let test =
            TestFolder::new().file("Flickr8k.lemma.token.txt", "a.jpg#0\tdog run").pictures(&["a.jpg"]);
        assert_eq!(test.read(Flickr).pictures[0].captions, ["dog run"]);
        let test = test.file("Flickr8k.token.txt", "a.jpg#0\tdogs run");
        assert_eq!(test.read(Flickr).pictures[0].captions, ["dogs run"]);
    }

    #[test]
    fn several_token_files_or_lists_are_refused_by_name() {
        let test = TestFolder::new().file("x.token", TOKENS).file("y.token", TOKENS).pictures(&["a.jpg"]);
        let error = test.error(Flickr);
        assert!(
            matches!(&error, CorpusError::SeveralFiles { found, .. } if found == "x.token, y.token"),
            "{error}"
        );
        let error = test
            .file("Flickr8k.token.txt", TOKENS)
            .file("x.devImages.txt", "")
            .file("y.devImages.txt", "")
            .error(Flickr);
        assert!(error.to_string().contains("x.devImages.txt, y.devImages.txt"), "{error}");
    }

    #[test]
    fn lists_of_another_corpus_are_refused() {
        let error = TestFolder::new()
            .file("x.token", TOKENS)
            .file("x.trainImages.txt", "other.jpg\n")
            .pictures(&["a.jpg"])
            .error(Flickr);
        assert!(matches!(error, CorpusError::NothingListed { named: 3, .. }), "{error}");
    }

    #[test]
    fn byte_order_marks_and_windows_line_ends_change_nothing() {
        let plain = TestFolder::new().file("x.token", TOKENS).file("x.devImages.txt", "a.jpg\nb.jpg\nc.jpg");
        let windows = TestFolder::new()
            .file("x.token", &format!("\u{feff}{}", TOKENS.replace('\n', "\r\n")))
            .file("x.devImages.txt", "\u{feff}a.jpg\r\nb.jpg\r\nc.jpg\r\n");
        let read = |test: TestFolder| {
            let corpus = test.pictures(&["a.jpg", "b.jpg", "c.jpg"]).read(Flickr);
            assert_eq!(corpus.problems, []);
            corpus.pictures.into_iter().map(|p| (p.name, p.captions, p.split)).collect::<Vec<_>>()
        };
        assert_eq!(read(plain), read(windows));
    }
}
