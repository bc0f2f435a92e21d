//! What a board is like.

use serde::{Deserialize, Serialize};

use crate::config::{Board, Source, Thermal};
use crate::units::FramesPerSecond;

/// What a board is like: the defaults of what a configuration does not say. `profiles/NAME.toml` has the reason for each value.
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

profiles!("generic");

impl Profile {
    /// The name of the profile that fits every machine: no pins, one thread, no thermal limit.
    pub const GENERIC: &str = "generic";

    /// The profile of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let (_, text) = ALL.iter().find(|(known, _)| *known == name)?;
        Some(parse(text))
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
