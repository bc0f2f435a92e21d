//! What is soldered to the board: a button, and a light of three colours or up to three single ones.
//!
//! A [`Board`] tells whether the button is down and lets lights burn, and knows nothing else. How long a press was is for
//! [`Button`] to find out, and what it means for whoever asked for the board.

mod button;
mod light;

#[cfg(feature = "gpiochip")]
mod gpiochip;
#[cfg(feature = "rppal")]
mod rppal;

use metalens_firmware_config::{Backend, Board as Wiring};

pub use button::{Button, Press};
pub use light::{Blink, Light, Signal};

/// Why the board does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum BoardError {
    /// This program cannot move pins that way.
    #[error(
        "board.backend: this program was built without \"{feature}\"; build it with `--features {feature}`"
    )]
    NotBuilt {
        /// The feature that is missing.
        feature: &'static str,
    },
    /// The pins cannot be had at all.
    #[error("{device}: {reason}")]
    Closed {
        /// What gives the pins.
        device: String,
        /// Why, and what to do.
        reason: String,
    },
    /// One pin cannot be had.
    #[error("board.pins.{name} = {pin}: {reason}")]
    Pin {
        /// Its key.
        name: &'static str,
        /// Its number.
        pin: u32,
        /// Why, and what to do.
        reason: String,
    },
    /// The pins were there, and do not answer.
    #[error("the board's pins do not answer: {0}")]
    Silent(String),
}

/// A button and lights.
pub trait Board: Send {
    /// Whether the button is down just now, bouncing or not; never where there is none.
    ///
    /// # Errors
    /// When the pin does not answer.
    fn pressed(&mut self) -> Result<bool, BoardError>;

    /// Lets these lights burn, as far as there are any.
    ///
    /// # Errors
    /// When a pin does not answer.
    fn show(&mut self, light: Light) -> Result<(), BoardError>;
}

/// The board that a configuration describes; none where it has neither button nor light.
///
/// # Errors
/// When this program was built without what moves its pins, or they cannot be had.
pub fn open(wiring: &Wiring) -> Result<Option<Box<dyn Board>>, BoardError> {
    match wiring.backend {
        Backend::None => Ok(None),
        Backend::Rppal => rppal(wiring).map(Some),
        Backend::Gpiochip => gpiochip(wiring).map(Some),
    }
}

#[cfg(feature = "rppal")]
fn rppal(wiring: &Wiring) -> Result<Box<dyn Board>, BoardError> {
    Ok(Box::new(rppal::Rppal::open(wiring)?))
}

#[cfg(not(feature = "rppal"))]
fn rppal(_: &Wiring) -> Result<Box<dyn Board>, BoardError> {
    Err(BoardError::NotBuilt { feature: "rppal" })
}

#[cfg(feature = "gpiochip")]
fn gpiochip(wiring: &Wiring) -> Result<Box<dyn Board>, BoardError> {
    Ok(Box::new(gpiochip::Gpiochip::open(wiring)?))
}

#[cfg(not(feature = "gpiochip"))]
fn gpiochip(_: &Wiring) -> Result<Box<dyn Board>, BoardError> {
    Err(BoardError::NotBuilt { feature: "gpiochip" })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use metalens_firmware_config::Pins;

    use super::*;

    fn wiring(backend: Backend) -> Wiring {
        let chip = "/nowhere/gpiochip0".into();
        Wiring { backend, chip, active_low: false, pins: Pins { button: Some(17), ..Pins::default() } }
    }

    #[test]
    fn a_board_without_pins_is_none() {
        assert!(open(&wiring(Backend::None)).unwrap().is_none());
    }

    #[test]
    #[cfg(not(any(feature = "rppal", feature = "gpiochip")))]
    fn a_program_that_was_built_without_says_so_in_one_line() {
        let error = open(&wiring(Backend::Rppal)).err().unwrap().to_string();
        assert_eq!(
            error,
            "board.backend: this program was built without \"rppal\"; build it with `--features rppal`"
        );
    }

    #[test]
    #[cfg(feature = "gpiochip")]
    fn a_chip_that_is_not_there_is_told_with_its_path() {
        let error = open(&wiring(Backend::Gpiochip)).err().unwrap().to_string();
        assert!(error.starts_with("/nowhere/gpiochip0: "), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
}
