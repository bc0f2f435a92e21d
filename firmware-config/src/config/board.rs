//! What is soldered to the board, and how warm it may get: `[board]` and `[thermal]`.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::document::Check;
use crate::units::Celsius;

/// Button and light.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawBoard {
    /// What moves the pins: "rppal" on a Raspberry Pi, "gpiochip" elsewhere, "none"; the profile's where not given.
    backend: Option<Backend>,
    /// The character device of the lines, for "gpiochip"; the profile's where not given, "/dev/gpiochip0" in most.
    chip: Option<PathBuf>,
    /// Whether a light burns when its pin is low, as common-anode RGB lights do; the profile's where not given, false in all.
    active_low: Option<bool>,
    /// Which pins; each one the profile's where not given, as long as the backend is the profile's.
    pins: Pins,
}

/// Button and light.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// What moves the pins.
    pub backend: Backend,
    /// The character device of the lines, for [`Backend::Gpiochip`].
    #[serde(default = "default_chip")]
    pub chip: PathBuf,
    /// Whether a light burns when its pin is low, as common-anode RGB lights do.
    #[serde(default)]
    pub active_low: bool,
    /// Which pins.
    #[serde(default)]
    pub pins: Pins,
}

fn default_chip() -> PathBuf {
    PathBuf::from("/dev/gpiochip0")
}

/// What moves the pins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// Nothing: no button, no light.
    #[default]
    None,
    /// The registers of a Raspberry Pi.
    Rppal,
    /// The kernel's character device.
    Gpiochip,
}

/// Pins: BCM numbers (not the header's) for `rppal`, lines of the chip for `gpiochip`. What has no pin is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pins {
    /// The button, to ground; pulled up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub button: Option<u32>,
    /// Red light.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub red: Option<u32>,
    /// Green light.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub green: Option<u32>,
    /// Blue light.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blue: Option<u32>,
}

impl Pins {
    /// The pins that are there, with their keys.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u32)> {
        let all = [("button", self.button), ("red", self.red), ("green", self.green), ("blue", self.blue)];
        all.into_iter().filter_map(|(name, pin)| pin.map(|pin| (name, pin)))
    }

    fn or(self, other: Self) -> Self {
        Self {
            button: self.button.or(other.button),
            red: self.red.or(other.red),
            green: self.green.or(other.green),
            blue: self.blue.or(other.blue),
        }
    }
}

impl Board {
    /// What is wrong with the pins: the key under `[board]`, and the reason.
    pub(crate) fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        let pins: Vec<_> = self.pins.named().collect();
        for (index, &(name, pin)) in pins.iter().enumerate() {
            let key = format!("pins.{name}");
            if let Some((taken, _)) = pins[..index].iter().find(|&&(_, other)| other == pin) {
                problems.push((key, format!("pin {pin} is {taken}'s already; give each its own")));
            } else if self.backend == Backend::Rppal && pin > 27 {
                problems.push((key, format!("{pin} is no BCM number of the header; give 0 to 27")));
            }
        }
        match self.backend {
            Backend::None if !pins.is_empty() => {
                problems.push(("pins".to_owned(), "no backend moves them; give board.backend".to_owned()));
            }
            Backend::Rppal | Backend::Gpiochip if pins.is_empty() => {
                let message = "has no pins; give some under [board.pins], or backend = \"none\"";
                problems.push(("backend".to_owned(), message.to_owned()));
            }
            _ => {}
        }
        problems
    }
}

impl RawBoard {
    pub(super) fn validate(self, profile: &Board, check: &mut Check) -> Board {
        let backend = self.backend.unwrap_or(profile.backend);
        let pins = if backend == profile.backend { self.pins.or(profile.pins) } else { self.pins };
        let board = Board {
            backend,
            chip: self.chip.unwrap_or_else(|| profile.chip.clone()),
            active_low: self.active_low.unwrap_or(profile.active_low),
            pins,
        };
        for (key, message) in board.problems() {
            check.problem(&format!("board.{key}"), message);
        }
        board
    }
}

/// When captioning rests because the board is too warm.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawThermal {
    /// Whether it does; false turns the profile's limit off.
    enabled: Option<bool>,
    /// Where the kernel tells the temperature, in thousandths of a degree; the profile's where not given.
    zone: Option<PathBuf>,
    /// Captioning rests from here on; the profile's where not given.
    pause_celsius: Option<Celsius>,
    /// Captioning goes on below; the profile's where not given.
    resume_celsius: Option<Celsius>,
}

/// When captioning rests because the board is too warm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thermal {
    /// Where the kernel tells the temperature, in thousandths of a degree.
    #[serde(default = "default_zone")]
    pub zone: PathBuf,
    /// Captioning rests from here on.
    pub pause_celsius: Celsius,
    /// Captioning goes on below; less than `pause_celsius`, so that it does not flutter.
    pub resume_celsius: Celsius,
}

fn default_zone() -> PathBuf {
    PathBuf::from("/sys/class/thermal/thermal_zone0/temp")
}

impl RawThermal {
    /// None where neither the text nor the profile has a limit, or it is turned off.
    pub(super) fn validate(self, profile: Option<&Thermal>, check: &mut Check) -> Option<Thermal> {
        let pause = self.pause_celsius.or(profile.map(|thermal| thermal.pause_celsius));
        let resume = self.resume_celsius.or(profile.map(|thermal| thermal.resume_celsius));
        let enabled = self.enabled.unwrap_or(profile.is_some() || check.has("thermal"));
        let (Some(pause_celsius), Some(resume_celsius)) = (pause, resume) else {
            for (key, value) in [("thermal.pause_celsius", pause), ("thermal.resume_celsius", resume)] {
                if enabled && value.is_none() {
                    check.problem(
                        key,
                        "missing, and the profile has none; give degrees, or take the section out",
                    );
                }
            }
            return None;
        };
        for (key, Celsius(degrees)) in
            [("thermal.pause_celsius", pause_celsius), ("thermal.resume_celsius", resume_celsius)]
        {
            if !(0.0..=125.0).contains(&degrees) {
                check.problem(key, format!("{degrees} °C; give 0 to 125"));
            }
        }
        if resume_celsius >= pause_celsius {
            let (resume, pause) = (resume_celsius.0, pause_celsius.0);
            let key = if self.resume_celsius.is_some() {
                "thermal.resume_celsius"
            } else {
                "thermal.pause_celsius"
            };
            check.problem(
                key,
                format!("captioning rests at {pause} °C and goes on below {resume} °C; resume lower"),
            );
        }
        let zone = self.zone.or(profile.map(|thermal| thermal.zone.clone())).unwrap_or_else(default_zone);
        enabled.then_some(Thermal { zone, pause_celsius, resume_celsius })
    }
}
