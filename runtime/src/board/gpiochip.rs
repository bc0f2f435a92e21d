//! Button and lights by the kernel's character device, in its second form or, before Linux 5.10, in its first.

use gpiocdev::Request;
use gpiocdev::line::{Bias, Offset, Value, Values};
use gpiocdev::request::Builder;
use metalens_firmware_config::Board as Wiring;

use super::{Board, BoardError, Light};

/// The lines, which are free again when this is dropped. The first form has one kind of line in a request.
pub struct Gpiochip {
    button: Option<Request>,
    lights: Option<Request>,
    /// Red, green and blue.
    lines: [Option<Offset>; 3],
}

impl Gpiochip {
    /// Takes the lines; the lights are dark.
    ///
    /// # Errors
    /// When the chip cannot be opened, or has not these lines free.
    pub fn open(wiring: &Wiring) -> Result<Self, BoardError> {
        let closed = |error: gpiocdev::Error| BoardError::Closed {
            device: wiring.chip.display().to_string(),
            reason: format!("{error}; see board.chip and board.pins, and what `gpioinfo` says of them"),
        };
        let request = || {
            let mut request = Request::builder();
            request.on_chip(&wiring.chip).with_consumer("metalens");
            request
        };
        let button = wiring.pins.button.map(|line| button(request(), line)).transpose().map_err(closed)?;
        let lines = [wiring.pins.red, wiring.pins.green, wiring.pins.blue];
        let there: Vec<Offset> = lines.into_iter().flatten().collect();
        let lights = (!there.is_empty()).then(|| {
            let mut request = request();
            request.with_lines(&there).as_output(Value::Inactive);
            if wiring.active_low {
                request.as_active_low();
            }
            request.request()
        });
        Ok(Self { button, lights: lights.transpose().map_err(closed)?, lines })
    }
}

/// Where the kernel knows of no resistors, the button has to have one of its own.
fn button(mut request: Builder, line: Offset) -> gpiocdev::Result<Request> {
    request.with_line(line).as_input().as_active_low().with_bias(Bias::PullUp);
    request.request().or_else(|_| request.with_bias(None).request())
}

impl Board for Gpiochip {
    fn pressed(&mut self) -> Result<bool, BoardError> {
        let Some(button) = &self.button else { return Ok(false) };
        Ok(button.lone_value().map_err(silent)? == Value::Active)
    }

    fn show(&mut self, light: Light) -> Result<(), BoardError> {
        let Some(lights) = &self.lights else { return Ok(()) };
        let mut values = Values::default();
        for (line, burns) in self.lines.into_iter().zip([light.red, light.green, light.blue]) {
            if let Some(line) = line {
                values.set(line, if burns { Value::Active } else { Value::Inactive });
            }
        }
        lights.set_values(&values).map_err(silent)
    }
}

fn silent(error: gpiocdev::Error) -> BoardError {
    BoardError::Silent(error.to_string())
}
