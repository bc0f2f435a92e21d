//! Button and lights by the registers of a Raspberry Pi.

use metalens_firmware_config::Board as Wiring;
use rppal::gpio::{Error, Gpio, InputPin, Level, OutputPin, Pin};

use super::{Board, BoardError, Light};

/// The pins, which are inputs again when this is dropped.
pub struct Rppal {
    button: Option<InputPin>,
    red: Option<OutputPin>,
    green: Option<OutputPin>,
    blue: Option<OutputPin>,
    /// The level at which a light is dark.
    dark: Level,
}

impl Rppal {
    /// Takes the pins; the lights are dark.
    ///
    /// # Errors
    /// When this is no Raspberry Pi, its registers may not be read, or a pin is taken.
    pub fn open(wiring: &Wiring) -> Result<Self, BoardError> {
        let gpio = Gpio::new().map_err(|error| closed(&error))?;
        let dark = Level::from(wiring.active_low);
        let pins = wiring.pins;
        let light = |name, pin: Option<u32>| {
            pin.map(|pin| take(&gpio, name, pin)).transpose().map(|pin| {
                pin.map(
                    |pin| if dark == Level::High { pin.into_output_high() } else { pin.into_output_low() },
                )
            })
        };
        Ok(Self {
            button: pins
                .button
                .map(|pin| take(&gpio, "button", pin))
                .transpose()?
                .map(Pin::into_input_pullup),
            red: light("red", pins.red)?,
            green: light("green", pins.green)?,
            blue: light("blue", pins.blue)?,
            dark,
        })
    }
}

impl Board for Rppal {
    fn pressed(&mut self) -> Result<bool, BoardError> {
        Ok(self.button.as_ref().is_some_and(InputPin::is_low))
    }

    fn show(&mut self, light: Light) -> Result<(), BoardError> {
        let pins = [(&mut self.red, light.red), (&mut self.green, light.green), (&mut self.blue, light.blue)];
        for (pin, burns) in pins {
            if let Some(pin) = pin {
                pin.write(if burns { !self.dark } else { self.dark });
            }
        }
        Ok(())
    }
}

fn take(gpio: &Gpio, name: &'static str, pin: u32) -> Result<Pin, BoardError> {
    let refused = |reason: String| BoardError::Pin { name, pin, reason };
    let number = u8::try_from(pin).map_err(|_| refused("no pin has that number; give 0 to 27".to_owned()))?;
    gpio.get(number).map_err(|error| refused(error.to_string()))
}

fn closed(error: &Error) -> BoardError {
    let advice = match error {
        Error::UnknownModel => {
            "; elsewhere than on a Raspberry Pi give board.backend = \"gpiochip\" or \"none\""
        }
        Error::PermissionDenied(_) => "; make the daemon's user a member of the group \"gpio\"",
        _ => "",
    };
    BoardError::Closed { device: "the Raspberry Pi's pins".to_owned(), reason: format!("{error}{advice}") }
}
