//! What a board is like.

use serde::{Deserialize, Serialize};

use crate::config::{Board, Source, Thermal};
use crate::units::FramesPerSecond;

/// What a board is like: the defaults of what a configuration does not say. `profiles/NAME.toml` has the reason
/// for each value; they follow from the boards' documentation and were not measured on boards yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// The name by which a configuration asks for it.
    pub name: String,
    /// Beginnings of what `/proc/device-tree/model` says on such boards; none in the generic profile, which fits all.
    pub boards: Vec<String>,
    /// The target that programs are built for; none in the generic profile: whatever the machine is.
    #[serde(default)]
    pub triple: Option<String>,
    /// Threads that caption.
    pub threads: usize,
    /// Captions a second, at most.
    #[serde(default)]
    pub max_rate: Option<FramesPerSecond>,
    /// The usual camera.
    pub camera: ProfileCamera,
    /// Button and light.
    pub board: Board,
    /// When captioning rests because the board is too warm.
    #[serde(default)]
    pub thermal: Option<Thermal>,
}

/// The usual camera of a board.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileCamera {
    /// Where its pictures come from.
    pub source: Source,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames per second.
    pub rate: FramesPerSecond,
}

macro_rules! profiles {
    ($($name:literal),+) => {
        const ALL: &[(&str, &str)] = &[$(($name, include_str!(concat!("../profiles/", $name, ".toml")))),+];

        impl Profile {
            /// The names of all profiles.
            pub const NAMES: [&str; ALL.len()] = [$($name),+];
        }
    };
}

profiles!("generic", "rpi3", "rpi4", "rpi5", "zero2w", "jetson-nano", "jetson-orin-nano");

impl Profile {
    /// The name of the profile that fits every machine: no pins, one thread, no thermal limit.
    pub const GENERIC: &str = "generic";

    /// The profile of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::text(name).map(parse)
    }

    /// All profiles, the generic one first.
    pub fn all() -> impl Iterator<Item = Self> {
        ALL.iter().map(|(_, text)| parse(text))
    }

    /// The profile that fits every machine.
    #[must_use]
    pub fn generic() -> Self {
        Self::named(Self::GENERIC).expect("the generic profile is one of them")
    }

    /// The file of the profile of this name, with the reason for each value.
    #[must_use]
    pub fn text(name: &str) -> Option<&'static str> {
        ALL.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
    }

    /// Whether a board that calls itself `model` in `/proc/device-tree/model` is such a one.
    #[must_use]
    pub fn fits(&self, model: &str) -> bool {
        // The kernel ends the text with a zero byte.
        let model = model.trim_end_matches(['\0', '\n']);
        self.boards.is_empty() || self.boards.iter().any(|board| model.starts_with(board))
    }
}

fn parse(text: &str) -> Profile {
    toml::from_str(text).expect("a test parses every profile")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::config::Backend;

    #[test]
    fn every_profile_has_the_name_of_its_file() {
        let names: Vec<String> = Profile::all().map(|profile| profile.name).collect();
        assert_eq!(names, Profile::NAMES);
    }

    #[test]
    fn pins_are_distinct_and_exist() {
        for profile in Profile::all() {
            assert_eq!(profile.board.problems(), [], "{}", profile.name);
            // GPIO 0 and 1 read the EEPROM of add-on boards, 2 and 3 are I2C, 14 and 15 the console.
            let used = |pin| profile.board.pins.named().any(|(_, known)| known == pin);
            let taken = [0, 1, 2, 3, 14, 15].into_iter().any(used);
            assert!(profile.board.backend != Backend::Rppal || !taken, "{}", profile.name);
        }
    }

    #[test]
    fn numbers_can_be() {
        for Profile { name, threads, thermal, camera, .. } in Profile::all() {
            assert!((1..=6).contains(&threads), "{name}");
            assert!(thermal.is_none_or(|limit| limit.resume_celsius < limit.pause_celsius), "{name}");
            assert!(camera.width % 2 == 0 && camera.height % 2 == 0, "{name}");
        }
    }

    #[test]
    fn the_generic_profile_asks_for_nothing() {
        let generic = Profile::generic();
        assert_eq!((generic.threads, generic.board.backend, generic.thermal), (1, Backend::None, None));
    }

    /// What the kernel calls these boards.
    #[test]
    fn a_board_is_recognised_by_its_model_and_by_no_other_profile() {
        for (model, expected) in [
            ("Raspberry Pi 3 Model B Plus Rev 1.3\0", "rpi3"),
            ("Raspberry Pi Compute Module 3 Plus Rev 1.0\0", "rpi3"),
            ("Raspberry Pi 4 Model B Rev 1.4\0", "rpi4"),
            ("Raspberry Pi 400 Rev 1.0\0", "rpi4"),
            ("Raspberry Pi 5 Model B Rev 1.0\0", "rpi5"),
            ("Raspberry Pi Zero 2 W Rev 1.0\0", "zero2w"),
            ("NVIDIA Jetson Nano Developer Kit\0", "jetson-nano"),
            ("NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0", "jetson-orin-nano"),
        ] {
            let fitting = Profile::all().filter(|profile| profile.fits(model)).map(|profile| profile.name);
            assert_eq!(fitting.collect::<Vec<_>>(), ["generic", expected], "{model}");
        }
    }

    #[test]
    fn an_unknown_name_is_no_profile() {
        assert_eq!(Profile::named("rpi2"), None);
    }
}
