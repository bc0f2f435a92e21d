//! A corpus that is being read: names, captions and splits, before anybody looked for the pictures.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::files::Source;
use super::{Corpus, CorpusError, Picture, Problem, Split};

/// What the files of a corpus say.
#[derive(Debug, Default)]
pub(super) struct Draft {
    entries: BTreeMap<String, Entry>,
    pub(super) problems: Vec<Problem>,
}

/// What the files say of one picture.
#[derive(Debug)]
pub(super) struct Entry {
    captions: Vec<String>,
    /// None where the corpus tells no split.
    split: Option<Split>,
    pub(super) label: Option<String>,
    pub(super) id: Option<u64>,
    /// The file that names the picture first.
    source: Rc<Source>,
    /// Where the picture lies, if that was seen already.
    pub(super) path: Option<PathBuf>,
}

impl Entry {
    fn new(source: &Rc<Source>) -> Self {
        Self {
            captions: Vec::new(),
            split: None,
            label: None,
            id: None,
            source: Rc::clone(source),
            path: None,
        }
    }

    /// Puts the picture into a split; it must not be in another one.
    fn put(&mut self, name: &str, split: Option<Split>, source: &Source) -> Result<(), CorpusError> {
        match (self.split, split) {
            (Some(first), Some(second)) if first != second => Err(CorpusError::InTwoSplits {
                picture: name.to_owned(),
                first: format!("{first} ({})", self.source.file.display()),
                second: format!("{second} ({})", source.file.display()),
            }),
            (first, second) => {
                self.split = first.or(second);
                Ok(())
            }
        }
    }
}

impl Draft {
    /// A picture of a list in which each should stand once, in the given split, if any.
    pub(super) fn declare(
        &mut self,
        name: &str,
        split: Option<Split>,
        source: &Rc<Source>,
    ) -> Result<&mut Entry, CorpusError> {
        if self.entries.contains_key(name) {
            let file = source.file.clone();
            self.problems.push(Problem::Duplicate { picture: name.to_owned(), file });
        }
        let entry = self.entries.entry(name.to_owned()).or_insert_with(|| Entry::new(source));
        entry.put(name, split, source)?;
        Ok(entry)
    }

    /// Whether the picture was declared or captioned before.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// The file that `source` means by a name, where it was given to a picture of another file before, with other bytes.
    pub(super) fn another_file(&self, name: &str, source: &Source) -> Option<PathBuf> {
        let entry = self.entries.get(name).filter(|entry| entry.source.file != source.file)?;
        let (first, second) = (entry.source.find(name)?, source.find(name)?);
        let read = |path| std::fs::read(path).ok();
        (first != second && read(&first) != read(&second)).then_some(second)
    }

    /// A caption of a picture that may have been named before.
    pub(super) fn caption(&mut self, name: &str, caption: &str, source: &Rc<Source>) {
        if !self.entries.contains_key(name) {
            self.entries.insert(name.to_owned(), Entry::new(source));
        }
        let caption = caption.trim();
        if caption.is_empty() {
            let file = source.file.clone();
            self.problems.push(Problem::EmptyCaption { picture: name.to_owned(), file });
        } else if let Some(entry) = self.entries.get_mut(name) {
            entry.captions.push(caption.to_owned());
        }
    }

    /// A line that is not of the form `expected`.
    pub(super) fn malformed(&mut self, file: &Path, line: usize, expected: &'static str) {
        self.problems.push(Problem::Malformed { file: file.to_owned(), line, expected });
    }

    /// Looks for the pictures and makes the corpus. `file` is where captions stand, `expected` what they look like.
    pub(super) fn finish(self, file: &Path, expected: &'static str) -> Result<Corpus, CorpusError> {
        let Self { entries, mut problems } = self;
        let mut found: Vec<(String, PathBuf, Entry)> = Vec::with_capacity(entries.len());
        let mut names_by_path: HashMap<PathBuf, usize> = HashMap::with_capacity(entries.len());
        let mut first_missing = None;
        let mut named = 0;
        for (name, entry) in entries {
            if entry.captions.is_empty() {
                problems.push(Problem::NoCaptions { picture: name, file: entry.source.file.clone() });
                continue;
            }
            named += 1;
            let Some(path) = entry.path.clone().or_else(|| entry.source.find(&name)) else {
                first_missing.get_or_insert_with(|| (name.clone(), Rc::clone(&entry.source)));
                problems.push(Problem::Missing { picture: name });
                continue;
            };
            if let Some(&place) = names_by_path.get(&path) {
                let (first_name, _, first) = &mut found[place];
                first.put(first_name, entry.split, &entry.source)?;
                first.captions.extend(entry.captions);
                problems.push(Problem::SameFile { picture: name, first: first_name.clone() });
                continue;
            }
            names_by_path.insert(path.clone(), found.len());
            found.push((name, path, entry));
        }
        if named == 0 {
            return Err(CorpusError::NoCaptions { file: file.to_owned(), expected });
        }
        if let (true, Some((first, source))) = (found.is_empty(), first_missing) {
            let folders: Vec<String> =
                source.folders.iter().map(|folder| folder.display().to_string()).collect();
            let folders = folders.join(", ");
            return Err(CorpusError::NoPictures { file: source.file.clone(), named, first, folders });
        }
        let pictures = found.into_iter().map(|(name, path, entry)| Picture {
            split: entry.split.unwrap_or_else(|| Split::of_name(&name)),
            name,
            path,
            captions: entry.captions,
            label: entry.label,
            id: entry.id,
        });
        Ok(Corpus { pictures: pictures.collect(), problems })
    }
}
