//! What a deploy does to a device: one trait, so that a folder or a test's device can stand in the place of a real one.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::elf::Glibc;

/// Why something on a device did not work. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Another key than the one that this computer knows.
    #[error(
        "{host}: its ssh key is not the one that is known here; if the device was installed anew, `ssh-keygen -R {name}` forgets the old key, else this may be another machine"
    )]
    HostKey {
        /// As on the command line.
        host: String,
        /// As `known_hosts` has it.
        name: String,
    },
    /// A device that ssh has never seen.
    #[error(
        "{host}: its ssh key is not known yet; run `ssh {host}` once and compare the key before you accept it"
    )]
    UnknownHost {
        /// As on the command line.
        host: String,
    },
    /// No way to the device, or no more.
    #[error(
        "{host}: no connection ({reason}); check that the device is on, in the network, and has this address"
    )]
    Unreachable {
        /// As on the command line.
        host: String,
        /// What ssh said.
        reason: String,
    },
    /// The device knows neither key nor agent.
    #[error(
        "{host}: the device refused the login; `ssh-copy-id {host}` gives it your key, --identity names another"
    )]
    Login {
        /// As on the command line.
        host: String,
    },
    /// A file did not fit.
    #[error("{path}: no space left on the device; free some there and deploy again")]
    Full {
        /// What was written.
        path: String,
    },
    /// A file of a release is not what the release says.
    #[error(
        "{release}: {reason}; the release was changed on its way or on the device, nothing was switched, deploy again"
    )]
    Tampered {
        /// The release's folder.
        release: String,
        /// What differs.
        reason: String,
    },
    /// Anything else, with what the device said.
    #[error("{what}: {message}")]
    Failed {
        /// What was tried.
        what: String,
        /// What the device said.
        message: String,
    },
}

/// What the user may do there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Privilege {
    /// Everything.
    Root,
    /// Everything, through sudo without a password.
    Sudo,
    /// Not enough.
    User,
}

/// What a deploy must know of a device. Nothing is known of a card about what only a running system tells.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What the user may do.
    pub privilege: Privilege,
    /// As `uname -m` names it.
    pub machine: Option<String>,
    /// Bits of the userland.
    pub bits: Option<u32>,
    /// The C library.
    pub glibc: Option<Glibc>,
    /// The board's name from its device tree.
    pub model: Option<String>,
    /// Where releases go.
    pub free_bytes: Option<u64>,
    /// Seconds since 1970 by the device's clock.
    pub clock: Option<u64>,
}

/// What the daemon says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Health {
    /// In a word.
    #[serde(default)]
    pub status: String,
    /// The program's version.
    #[serde(default)]
    pub version: String,
    /// The folder that it runs from; none outside a release.
    pub release: Option<String>,
    /// Captions since it started.
    #[serde(default)]
    pub captions: u64,
}

/// Who may do what with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// 644
    Plain,
    /// 755
    Program,
}

impl Mode {
    /// The permissions in the system's terms.
    pub fn bits(self) -> u32 {
        match self {
            Self::Plain => 0o644,
            Self::Program => 0o755,
        }
    }
}

/// Where a file's bytes are on this computer.
#[derive(Clone, Debug)]
pub enum Content {
    /// In a file.
    File(PathBuf),
    /// Here.
    Bytes(Vec<u8>),
}

/// What is asked of the service manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Make the daemon's user, and read the units anew.
    Reload,
    /// Read the udev rules anew, and apply them.
    ReloadRules,
    /// Start the daemon, again where it runs; forgets that it failed before.
    Restart,
    /// Stop the daemon.
    Stop,
}

/// The result of everything here.
pub type Result<T> = std::result::Result<T, DeviceError>;

/// A device's files, and its services where it runs. Paths are absolute on the device. Nothing is sure to survive a power
/// cut before [`Self::sync`].
pub trait Device {
    /// What the device is.
    fn facts(&self) -> Result<Facts>;

    /// A file's content; none where there is no such file.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>>;

    /// What a link holds; none where there is no such link.
    fn read_link(&self, path: &str) -> Result<Option<String>>;

    /// The names in a folder, newest first; none where there is no such folder.
    fn names(&self, folder: &str) -> Result<Vec<String>>;

    /// The sha256 of every file below a folder, by its path there; empty where there is no such folder.
    fn hashes(&self, folder: &str) -> Result<BTreeMap<String, String>>;

    /// Creates a folder, with those above it; that there is one already is no error.
    fn create_folder(&self, path: &str) -> Result<()>;

    /// Creates or truncates a file and writes it.
    fn write(&self, path: &str, data: &[u8], mode: Mode) -> Result<()>;

    /// Copies a large file there, or the rest of it where an earlier copy was cut.
    fn send(&self, content: &Content, path: &str, mode: Mode) -> Result<()>;

    /// A second name for a file, in the place of a file that has it.
    fn hard_link(&self, from: &str, to: &str) -> Result<()>;

    /// Creates a link, in the place of one that is there.
    fn symlink(&self, target: &str, path: &str) -> Result<()>;

    /// Gives something another name, in the place of the file or link that has it.
    fn rename(&self, from: &str, to: &str) -> Result<()>;

    /// Removes a file, a link, or a folder with everything in it; that there is none is no error.
    fn remove(&self, path: &str) -> Result<()>;

    /// Waits until everything is on the medium.
    fn sync(&self) -> Result<()>;

    /// Checks the release in a folder on the device: its sums, and their signature where the device trusts a key.
    ///
    /// # Errors
    /// [`DeviceError::Tampered`] where something is not what it should be.
    fn verify(&self, folder: &str, hash: &str) -> Result<()>;

    /// The services of a device that runs; none of a mounted card.
    fn services(&self) -> Option<&dyn Services>;
}

/// The running part of a device.
pub trait Services {
    /// Runs the self-test of the release in `folder`.
    fn doctor(&self, folder: &str) -> Result<()>;

    /// Asks something of the service manager.
    fn control(&self, action: Action) -> Result<()>;

    /// What the daemon says; none where nobody answers.
    fn health(&self) -> Result<Option<Health>>;

    /// The daemon's last lines.
    fn journal(&self, lines: usize) -> Result<String>;

    /// Time since some moment.
    fn now(&self) -> Duration;

    /// Waits.
    fn pause(&self, time: Duration);
}
