//! Why tasks cannot be made, written or read.

use std::path::PathBuf;

use metalens_models::WriteError;

use super::MetaSplit;

/// Why tasks cannot be made, written or read.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// A file without tasks.
    #[error("{0}: holds no task; write it again with the `tasks` command")]
    NoTask(PathBuf),
    /// A task without pictures to learn from, or without pictures to ask about.
    #[error("{path}: task {task} needs pictures in `support` and in `query`")]
    EmptyTask {
        /// The file.
        path: PathBuf,
        /// The task.
        task: usize,
    },
    /// No concept, or no scene, belongs to the meta-split.
    #[error(
        "meta-{split}: none of {pictures} pictures shows a {subject} of it; give more pictures or another partition"
    )]
    NoSubject {
        /// The meta-split.
        split: MetaSplit,
        /// Pictures that it has.
        pictures: usize,
        /// `concept` or `scene`.
        subject: &'static str,
    },
    /// The captions say the concept too seldom, or the scene has too few pictures.
    #[error(
        "meta-{split}: `{subject}` has {found} pictures and a task needs {needed}, {shots} for support and {queries} \
         for queries; lower the shots or give more pictures"
    )]
    TooFewPictures {
        /// The meta-split.
        split: MetaSplit,
        /// The concept or scene that has the most, or the one that was asked for.
        subject: String,
        /// Pictures that it has in the meta-split.
        found: usize,
        /// Pictures that a task takes of it.
        needed: usize,
        /// Those for the support.
        shots: usize,
        /// Those for the queries.
        queries: usize,
    },
    /// Nearly every picture shows the concept.
    #[error(
        "meta-{split}: {found} pictures do not show `{subject}` and a task needs {needed}; give more pictures"
    )]
    TooFewNegatives {
        /// The meta-split.
        split: MetaSplit,
        /// The concept.
        subject: String,
        /// Pictures without it.
        found: usize,
        /// Pictures without it that a task takes.
        needed: usize,
    },
    /// A task of several scenes finds fewer.
    #[error(
        "meta-{split}: {found} scenes have {pictures} pictures and a task needs {needed} such scenes; lower the scenes \
         or the shots, or give the meta-split more scenes"
    )]
    TooFewScenes {
        /// The meta-split.
        split: MetaSplit,
        /// Scenes that have enough pictures.
        found: usize,
        /// Scenes of a task.
        needed: usize,
        /// Pictures that a task takes of each.
        pictures: usize,
    },
    /// The corpus tells no scene.
    #[error(
        "no picture has a scene; give a corpus with labels, or cluster the pictures of a prepared folder"
    )]
    NoScenes,
    /// A scene that is to be held out is not in the corpus.
    #[error("`{scene}` is no scene of the corpus; it has {known}")]
    UnknownScene {
        /// The scene.
        scene: String,
        /// All scenes.
        known: String,
    },
    /// A task file could not be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A task file could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A file is no task file, or a broken one; `source` tells line and column.
    #[error("{path}: not a task file: {source}; write it again with `metalens-trainer tasks`", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A task file of another version.
    #[error(
        "{path}: format {found} is not the {expected} that this version reads; write it again with \
         `metalens-trainer tasks`",
        path = path.display()
    )]
    OtherFormat {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        expected: u32,
    },
    /// A task's picture is not there.
    #[error(
        "task {task}: {picture} is not among the pictures; the tasks were made from {corpus}, give that corpus"
    )]
    MissingPicture {
        /// The task's number.
        task: usize,
        /// The picture's name.
        picture: String,
        /// Where the tasks come from.
        corpus: String,
    },
    /// A task's picture has other captions than when the task was made.
    #[error("task {task}: {picture} {reason}; the captions of {corpus} have changed, make the tasks again")]
    OtherCaptions {
        /// The task's number.
        task: usize,
        /// The picture's name.
        picture: String,
        /// What does not fit.
        reason: String,
        /// Where the tasks come from.
        corpus: String,
    },
}
