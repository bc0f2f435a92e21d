//! The thread of the board's button and lights.
//!
//! | press | what it does |
//! |---|---|
//! | less than a second | keeps the frame in sight as a sample, with the caption set last |
//! | from a second on | adapts the head to the samples |
//! | from five seconds on | goes back to the calibration before |
//!
//! It is done when the button is let go; [`lights`] tells what will be done before that, and what was done after.

mod lights;

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::health::Health;
use super::workshop::{Workshop, WorkshopError};
use super::{Daemon, spawn};
use crate::board::{self, Board, BoardError, Button, Light, Press};
use crate::calibrator::Proof;
use lights::{Answer, Lights};

/// How often the button is looked at.
const EVERY: Duration = Duration::from_millis(20);

/// Why a press did nothing.
#[derive(Debug, thiserror::Error)]
pub enum PressError {
    /// There is no caption to keep it with.
    #[error(
        "no caption to keep the frame with; keep one with its caption on the page, or give calibration.label"
    )]
    NoLabel,
    /// The workshop refused.
    #[error(transparent)]
    Workshop(#[from] WorkshopError),
}

/// Starts the thread, where the board has a button or lights. A board that cannot be opened is warned of, and gone without.
pub(super) fn start(daemon: &Daemon) -> anyhow::Result<Option<JoinHandle<()>>> {
    let board = match board::open(&daemon.config.board) {
        Ok(board) => board,
        Err(error) => {
            tracing::warn!("goes on without button and lights: {error}");
            None
        }
    };
    let Some(board) = board else { return Ok(None) };
    let daemon = daemon.clone();
    spawn("panel", move || watch(board, &daemon)).map(Some)
}

fn watch(board: Box<dyn Board>, daemon: &Daemon) {
    let Daemon { hub, workshop, config, .. } = daemon;
    let mut panel = Panel::new(board, Instant::now());
    while !hub.stopping() {
        if let Some(press) = panel.look(&hub.health(), Instant::now()) {
            let answer = act(press, workshop, config.calibration.label.as_deref());
            if let Err(error) = &answer {
                tracing::warn!("the button was pressed for nothing: {error}");
            }
            panel.lights.answer(answer.unwrap_or(Answer::Sorry), Instant::now());
        }
        std::thread::sleep(EVERY);
    }
    panel.show(Light::OFF);
}

/// Does what a press asks for. A frame is kept with the caption set last, which at first is `label`.
fn act(press: Press, workshop: &Arc<Workshop>, label: Option<&str>) -> Result<Answer, PressError> {
    match press {
        Press::Short => {
            let set = workshop.last_label();
            let label = set.as_deref().or(label).ok_or(PressError::NoLabel)?;
            let name = workshop.keep_seen(label)?;
            tracing::info!("the button kept {name}: {label}");
            Ok(Answer::Done)
        }
        Press::Long => workshop.adapt(Proof::Required).map(|()| Answer::Begun).map_err(Into::into),
        Press::VeryLong => workshop.undo().map(|_| Answer::Done).map_err(Into::into),
    }
}

/// The board, and what is known of its button and lights.
struct Panel {
    board: Box<dyn Board>,
    button: Button,
    lights: Lights,
    /// What burns; none when that is unknown.
    shown: Option<Light>,
    /// Whether it was told that the board does not answer.
    told: bool,
}

impl Panel {
    fn new(board: Box<dyn Board>, now: Instant) -> Self {
        Self { board, button: Button::default(), lights: Lights::new(now), shown: None, told: false }
    }

    /// Looks at the button and lets burn what tells how it goes; what was pressed.
    fn look(&mut self, health: &Health, now: Instant) -> Option<Press> {
        let press = match self.board.pressed() {
            Ok(down) => self.button.feed(down, now),
            Err(error) => {
                self.tell(&error);
                None
            }
        };
        let light = self.lights.at(health, self.button.held(now), now);
        self.show(light);
        press
    }

    fn show(&mut self, light: Light) {
        if self.shown == Some(light) {
            return;
        }
        match self.board.show(light) {
            Ok(()) => self.shown = Some(light),
            Err(error) => self.tell(&error),
        }
    }

    /// Once: what does not answer is asked again fifty times a second.
    fn tell(&mut self, error: &BoardError) {
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!("{error}");
        }
    }
}

#[cfg(test)]
mod tests;
