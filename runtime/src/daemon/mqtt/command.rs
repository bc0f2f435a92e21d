//! What the daemon is told on `calibrate/set`, and what it answers on `calibrate/state`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{Receiver, Sender};

use super::text::short;
use crate::calibrator::Proof;
use crate::daemon::{Workshop, WorkshopError};

/// Characters of an unknown payload that are repeated in the answer.
const REPEATED: usize = 80;

/// What the daemon is told to do.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "command", rename_all = "lowercase", deny_unknown_fields)]
pub enum Command {
    /// Keep the frame in sight as a sample.
    Keep {
        /// What it shows.
        caption: String,
    },
    /// Adapt the head to the samples.
    Adapt {
        /// Keep what was learned even where held-out samples are captioned worse.
        #[serde(default)]
        force: bool,
    },
    /// Go back to the calibration before.
    Undo {},
}

/// Why a payload is no command.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{payload:?} is no command ({reason}); give adapt, undo, {{\"command\":\"keep\",\"caption\":\"…\"}}, \
     {{\"command\":\"adapt\",\"force\":true}} or {{\"command\":\"undo\"}}"
)]
pub struct UnknownCommand {
    payload: String,
    reason: String,
}

impl Command {
    /// Reads a payload.
    ///
    /// # Errors
    /// When it is none of the commands; the message lists them.
    pub fn parse(payload: &[u8]) -> Result<Self, UnknownCommand> {
        match payload.trim_ascii() {
            b"adapt" => Ok(Self::Adapt { force: false }),
            b"undo" => Ok(Self::Undo {}),
            json => serde_json::from_slice(json).map_err(|error| UnknownCommand {
                payload: short(&String::from_utf8_lossy(json), REPEATED),
                reason: error.to_string(),
            }),
        }
    }

    /// Does it, and says what was done.
    fn execute(self, workshop: &Arc<Workshop>) -> Result<String, WorkshopError> {
        match self {
            Self::Keep { caption } => workshop.keep_seen(&caption).map(|name| format!("kept as {name}")),
            Self::Adapt { force } => {
                workshop.adapt(if force { Proof::Waived } else { Proof::Required })?;
                Ok("a calibration is under way".to_owned())
            }
            Self::Undo {} => Ok(match workshop.undo()? {
                Some(generation) => format!("calibration {generation} is in use"),
                None => "the captioner is as it was before any calibration".to_owned(),
            }),
        }
    }
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// Whether it was done.
    pub done: bool,
    /// What was done, or why it was not; one line for people.
    pub message: String,
}

impl Answer {
    /// It was not done.
    #[must_use]
    pub fn refused(reason: &impl ToString) -> Self {
        Self { done: false, message: reason.to_string() }
    }

    fn to(payload: &[u8], workshop: &Arc<Workshop>) -> Self {
        match Command::parse(payload) {
            Ok(command) => match command.execute(workshop) {
                Ok(message) => Self { done: true, message },
                Err(error) => Self::refused(&error),
            },
            Err(error) => Self::refused(&error),
        }
    }
}

/// Does what is told, one after the other, so that a sample is on the medium before the head is adapted to it.
pub async fn obey(workshop: Arc<Workshop>, mut told: Receiver<Vec<u8>>, answers: Sender<Answer>) {
    while let Some(payload) = told.recv().await {
        let workshop = workshop.clone();
        let answer = tokio::task::spawn_blocking(move || Answer::to(&payload, &workshop))
            .await
            .unwrap_or_else(|error| Answer::refused(&format!("the device failed at it: {error}")));
        if answers.send(answer).await.is_err() {
            break;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_words_or_json() {
        let keep = Command::Keep { caption: "a gripper".to_owned() };
        for (payload, command) in [
            ("adapt", Command::Adapt { force: false }),
            (" undo\n", Command::Undo {}),
            ("{\"command\":\"keep\",\"caption\":\"a gripper\"}", keep),
            ("{\"command\":\"adapt\"}", Command::Adapt { force: false }),
            ("{\"force\":true,\"command\":\"adapt\"}", Command::Adapt { force: true }),
            ("{\"command\":\"undo\"}", Command::Undo {}),
        ] {
            assert_eq!(Command::parse(payload.as_bytes()), Ok(command), "{payload}");
        }
    }

    #[test]
    fn everything_else_is_answered_with_what_is_accepted() {
        for payload in [
            "",
            "Adapt",
            "adapt now",
            "{\"command\":\"keep\"}",
            "{\"command\":\"keep\",\"caption\":7}",
            "{\"command\":\"adapt\",\"force\":\"yes\"}",
            "{\"command\":\"undo\",\"all\":true}",
            "{\"command\":\"format\"}",
            "[]",
        ] {
            let error = Command::parse(payload.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("give adapt, undo, {\"command\":\"keep\",\"caption\":\"…\"}"), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
        assert!(Command::parse(b"\xff\xfe").is_err());
    }

    #[test]
    fn an_endless_payload_is_not_repeated() {
        let error = Command::parse("x".repeat(100_000).as_bytes()).unwrap_err();
        assert_eq!(error.payload.chars().count(), REPEATED);
        assert!(error.to_string().len() < 400);
    }
}
