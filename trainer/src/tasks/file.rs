//! Tasks in a file, with pictures by name, so that any folder that holds the corpus can read them.

use std::collections::HashMap;
use std::path::Path;

use metalens::language::words;
use metalens_models::replace;
use serde::{Deserialize, Serialize};

use super::{Kind, MetaSplit, Partition, Pool, Sample, Subject, Task, TaskError, TaskOptions};

/// Version of the file.
const FORMAT: u32 = 1;

/// Tasks and how they were made. As JSON, with every field in the order that it has here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskFile {
    /// Version of the file: 1.
    format: u32,
    /// Name of the corpus, for people.
    pub corpus: String,
    /// What the tasks teach.
    pub kind: Kind,
    /// What they are for.
    pub split: MetaSplit,
    /// Which pictures and subjects that left.
    pub partition: Partition,
    /// Seed of the draws.
    pub seed: u64,
    /// By number.
    pub tasks: Vec<Task<String>>,
}

/// All that every version has.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

impl TaskFile {
    /// What a file about `tasks` holds.
    #[must_use]
    pub fn new(corpus: &str, options: &TaskOptions, tasks: &[Task], pool: &Pool) -> Self {
        let name = |sample: &Sample| -> Result<String, std::convert::Infallible> {
            Ok(pool.pictures()[sample.picture].name.to_owned())
        };
        let TaskOptions { kind, split, partition, seed, .. } = options.clone();
        let tasks = tasks.iter().map(|task| task.map(name).unwrap_or_else(|never| match never {})).collect();
        Self { format: FORMAT, corpus: corpus.to_owned(), kind, split, partition, seed, tasks }
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, is malformed, or is of another version.
    pub fn read(path: &Path) -> Result<Self, TaskError> {
        let text = std::fs::read(path).map_err(|source| TaskError::Io { path: path.to_owned(), source })?;
        let malformed = |source| TaskError::Malformed { path: path.to_owned(), source };
        let Version { format } = serde_json::from_slice(&text).map_err(malformed)?;
        if format != FORMAT {
            return Err(TaskError::OtherFormat { path: path.to_owned(), found: format, expected: FORMAT });
        }
        let file: Self = serde_json::from_slice(&text).map_err(malformed)?;
        if file.tasks.is_empty() {
            return Err(TaskError::NoTask(path.to_owned()));
        }
        match file.tasks.iter().find(|task| task.support.is_empty() || task.query.is_empty()) {
            Some(task) => Err(TaskError::EmptyTask { path: path.to_owned(), task: task.number }),
            None => Ok(file),
        }
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), TaskError> {
        let mut text = serde_json::to_vec_pretty(self).expect("a task file has no keys but strings");
        text.push(b'\n');
        Ok(replace(path, &text)?)
    }

    /// The tasks, their pictures found in `pool`.
    ///
    /// # Errors
    /// When a picture is not there or may not be used, or has other captions than the task knows.
    pub fn resolve(&self, pool: &Pool) -> Result<Vec<Task>, TaskError> {
        let places: HashMap<&str, usize> =
            pool.usable().map(|place| (pool.pictures()[place].name, place)).collect();
        self.tasks
            .iter()
            .map(|task| {
                let found = task.map(|sample| {
                    places.get(sample.picture.as_str()).copied().ok_or_else(|| TaskError::MissingPicture {
                        task: task.number,
                        picture: sample.picture.clone(),
                        corpus: self.corpus.clone(),
                    })
                })?;
                self.check(&found, pool)?;
                Ok(found)
            })
            .collect()
    }

    /// Whether the pictures have the captions that the task names.
    fn check(&self, task: &Task, pool: &Pool) -> Result<(), TaskError> {
        let other = |sample: &Sample, reason: String| TaskError::OtherCaptions {
            task: task.number,
            picture: pool.pictures()[sample.picture].name.to_owned(),
            reason,
            corpus: self.corpus.clone(),
        };
        for sample in task.support.iter().chain(&task.query) {
            let captions = pool.pictures()[sample.picture].captions.len();
            if let Some(caption) = sample.captions.iter().find(|&&caption| caption >= captions) {
                return Err(other(
                    sample,
                    format!("has {captions} captions, and the task uses number {}", caption + 1),
                ));
            }
        }
        if let Subject::NewWord { concept, nonce } = &task.subject {
            let silent =
                |sample: &&Sample| task.texts(sample, pool).iter().any(|text| !words(text).contains(nonce));
            if let Some(sample) = task.support.iter().find(silent) {
                return Err(other(sample, format!("has a support caption that does not say `{concept}`")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::testing::{Corpus, new_word};
    use super::super::{Sampler, TaskPicture};
    use super::*;

    #[test]
    fn a_file_is_read_back_against_the_same_pictures_in_another_order() {
        let corpus = Corpus::animals();
        let pool = corpus.pool();
        let options = new_word(2);
        let tasks = Sampler::new(&pool, options.clone()).unwrap().tasks(3);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tasks.json");
        TaskFile::new("animals", &options, &tasks, &pool).write(&path).unwrap();
        let file = TaskFile::read(&path).unwrap();
        assert_eq!((file.kind, file.split, file.seed), (options.kind, options.split, options.seed));
        assert_eq!(file.resolve(&pool).unwrap(), tasks);
        let backwards = Pool::new(pool.pictures().iter().rev().cloned());
        let found = file.resolve(&backwards).unwrap();
        assert_eq!(
            found[0].texts(&found[0].support[0], &backwards),
            tasks[0].texts(&tasks[0].support[0], &pool)
        );
        assert_eq!(TaskFile::new("animals", &options, &found, &backwards), file);
    }

    #[test]
    fn a_file_that_does_not_fit_says_why() {
        let corpus = Corpus::animals();
        let pool = corpus.pool();
        let options = new_word(2);
        let tasks = Sampler::new(&pool, options.clone()).unwrap().tasks(1);
        let file = TaskFile::new("animals", &options, &tasks, &pool);
        let support = tasks[0].support[0].picture;
        let name = pool.pictures()[support].name;

        let mut without = pool.clone();
        without.retain(|place, _| place != support);
        let error = file.resolve(&without).unwrap_err().to_string();
        assert!(error.starts_with(&format!("task 0: {name} is not among the pictures")), "{error}");
        assert!(error.contains("animals"), "{error}");

        let captions = ["nothing of the sort".to_owned()];
        let silent = |count: usize| {
            let pictures = pool.pictures().iter().enumerate().map(|(place, picture)| {
                if place == support {
                    TaskPicture { captions: &captions[..count], ..picture.clone() }
                } else {
                    picture.clone()
                }
            });
            file.resolve(&Pool::new(pictures)).unwrap_err().to_string()
        };
        // The support takes the first or the second of its captions, by chance.
        let error = silent(1);
        assert!(error.contains("does not say") || error.contains("has 1 captions"), "{error}");
        assert!(silent(0).contains("not among the pictures"));
    }

    #[test]
    fn files_that_are_none_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tasks.json");
        let error = || TaskFile::read(&path).unwrap_err();
        assert!(matches!(error(), TaskError::Io { .. }));
        for text in ["", "[]", "{\"format\": 1}", "{\"format\": 1, \"tasks\": 3}"] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(error(), TaskError::Malformed { .. }), "{text}: {}", error());
        }
        let corpus = Corpus::animals();
        let (pool, options) = (corpus.pool(), new_word(2));
        let mut tasks = Sampler::new(&pool, options.clone()).unwrap().tasks(1);
        TaskFile::new("animals", &options, &[], &pool).write(&path).unwrap();
        assert!(matches!(error(), TaskError::NoTask(_)), "{}", error());
        tasks[0].support.clear();
        TaskFile::new("animals", &options, &tasks, &pool).write(&path).unwrap();
        assert!(matches!(error(), TaskError::EmptyTask { task: 0, .. }), "{}", error());
        std::fs::write(&path, "{\"format\": 2, \"new\": []}").unwrap();
        assert!(matches!(error(), TaskError::OtherFormat { found: 2, expected: 1, .. }));
        assert!(error().to_string().contains("tasks.json: format 2"), "{}", error());
    }
}
