//! A board that QEMU emulates: one file below tests/boards.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

use crate::run::root;

/// A board.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// The file's name.
    #[serde(skip)]
    pub name: String,
    /// QEMU's name for it.
    pub machine: String,
    /// The processor, where the machine has more than one.
    pub cpu: Option<String>,
    /// How many of it.
    pub cores: u32,
    /// Its memory.
    pub memory_mib: u32,
    /// Of the kernel package's device trees, where QEMU does not make one.
    pub device_tree: Option<String>,
    /// Where the kernel writes to.
    pub console: String,
    /// What the card is plugged into.
    pub disk: Disk,
    /// What the network is plugged into.
    pub network: Network,
    /// Further arguments of the kernel.
    #[serde(default)]
    pub kernel: Vec<String>,
    /// What is loaded at the start, beside what the card needs.
    pub modules: Vec<String>,
    /// What it is deployed to with.
    pub profile: String,
    /// Its `/etc/metalens/metalens.toml`.
    pub config: String,
    /// A drop-in of the daemon's unit.
    pub unit: Option<String>,
    /// Pins that the host can press and read.
    pub pins: Option<Pins>,
}

/// What a card is plugged into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Disk {
    /// QEMU's own disk.
    Virtio,
    /// An SD controller.
    Sd,
}

/// What a network is plugged into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// QEMU's own.
    Virtio,
    /// An adapter at USB, the only one that QEMU has for a Raspberry Pi.
    Usb,
}

/// Registers and numbers of pins.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pins {
    /// A bit that is written here makes its pin high.
    pub set: u64,
    /// And here low.
    pub clear: u64,
    /// The levels of all of them.
    pub level: u64,
    /// To ground.
    pub button: u32,
    /// Of the light.
    pub red: u32,
    /// Of the light.
    pub green: u32,
    /// Of the light.
    pub blue: u32,
}

/// Where the boards' files are.
fn folder() -> PathBuf {
    root().join("tests/boards")
}

impl Board {
    /// The board of that name.
    pub fn named(name: &str) -> anyhow::Result<Self> {
        let path = folder().join(format!("{name}.toml"));
        anyhow::ensure!(path.is_file(), "{name}: no such board; there are: {}", names()?.join(", "));
        Self::read(&path)
    }

    /// All boards.
    pub fn all() -> anyhow::Result<Vec<Self>> {
        names()?.iter().map(|name| Self::named(name)).collect()
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let board: Self = toml::from_str(&text).with_context(|| path.display().to_string())?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, ..board })
    }

    /// The card's name for the kernel.
    pub fn root_device(&self) -> &'static str {
        match self.disk {
            Disk::Virtio => "/dev/vda",
            Disk::Sd => "/dev/mmcblk0",
        }
    }

    /// The kernel's command line.
    pub fn command_line(&self) -> String {
        let own = [
            format!("console={}", self.console),
            format!("root={}", self.root_device()),
            format!("modules_load={}", self.modules.join(",")),
            "quiet panic=-1".to_owned(),
        ];
        own.iter().chain(&self.kernel).map(String::as_str).collect::<Vec<_>>().join(" ")
    }
}

fn names() -> anyhow::Result<Vec<String>> {
    let folder = folder();
    let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
    let mut names: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().strip_suffix(".toml")?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use metalens_firmware_config::{Config, Profile};

    use super::*;

    #[test]
    fn every_board_has_a_profile_and_a_configuration_for_it() {
        for board in Board::all().unwrap() {
            assert!(Profile::named(&board.profile).is_some(), "{}", board.name);
            let config = Config::parse(&board.config).unwrap();
            assert_eq!(config.profile.name, board.profile, "{}", board.name);
        }
    }

    #[test]
    fn pins_of_a_board_are_those_of_its_profile() {
        for board in Board::all().unwrap() {
            let Some(pins) = board.pins else { continue };
            let profile = Profile::text(&board.profile).unwrap();
            for (name, number) in
                [("button", pins.button), ("red", pins.red), ("green", pins.green), ("blue", pins.blue)]
            {
                assert!(profile.contains(&format!("\n{name} = {number}\n")), "{}: {name}", board.name);
            }
        }
    }

    #[test]
    fn the_kernel_is_told_where_the_card_is_and_what_to_load() {
        let line = Board::named("virt").unwrap().command_line();
        assert_eq!(line, "console=ttyAMA0 root=/dev/vda modules_load=virtio_net,vivid quiet panic=-1");
    }
}
