//! What must be so before anything is copied.

use metalens_firmware_config::Profile;

use super::device::{Facts, Privilege};
use super::elf::{Glibc, Program};

/// Nothing older than this program can be the time: 2025-01-01.
const EARLIEST: u64 = 1_735_689_600;
/// What is left free beside a release: room for the journal and for what the device learns.
const RESERVE_BYTES: u64 = 32 << 20;

/// Why a device gets no release. Each message says what to do; the device is unchanged.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Neither root nor sudo.
    #[error(
        "no sudo without a password there; `echo \"$USER ALL=(ALL) NOPASSWD:ALL\" | sudo tee /etc/sudoers.d/metalens` on the device allows it, or deploy to root@"
    )]
    NoSudo,
    /// A 32-bit system, often on a processor that could do more.
    #[error("the device runs a {0}-bit system; Metalens needs the 64-bit image, install that one")]
    Bits(u32),
    /// Another processor.
    #[error(
        "the device is {device}, the program was built for {program}; choose the profile of this device, or another --binary"
    )]
    Machine {
        /// The device's.
        device: String,
        /// The program's.
        program: &'static str,
    },
    /// The program needs a newer C library.
    #[error(
        "the device has glibc {device}, the program needs {program}; build for the older one with --builder zigbuild, or upgrade the device's system"
    )]
    Glibc {
        /// The device's.
        device: Glibc,
        /// The program's.
        program: Glibc,
    },
    /// The profile is for other boards.
    #[error("profile {profile} is not for this board, {model:?}; choose another --profile ({others})")]
    Board {
        /// The profile.
        profile: String,
        /// The board.
        model: String,
        /// Profiles that fit.
        others: String,
    },
    /// Too little space.
    #[error(
        "{free_mib} MiB are free on the device and the release needs {needed_mib}; free some, old journals for instance: `sudo journalctl --vacuum-size=20M`"
    )]
    Full {
        /// What is free.
        free_mib: u64,
        /// What is needed.
        needed_mib: u64,
    },
    /// The clock was never set: captions would carry wrong times, and TLS would refuse every certificate.
    #[error(
        "the device's clock stands at {seconds} s after 1970; set it: `sudo date -u -s @{now}` on the device, or connect it to a network with a time server"
    )]
    Clock {
        /// What it says.
        seconds: u64,
        /// What it should say.
        now: u64,
    },
    /// The device takes signed releases only.
    #[error(
        "the device trusts the key in /etc/metalens/release.pub and this release is not signed; give that key with --sign-key"
    )]
    Unsigned,
    /// Signed with another key.
    #[error(
        "the device trusts another key than --sign-key; give the first one, or replace /etc/metalens/release.pub on the device"
    )]
    Key,
}

/// Whether a device can have any release, in the order in which a user would mend it. What is not known is no reason to
/// refuse.
pub fn check_device(facts: &Facts, profile: &Profile, now: u64) -> Result<(), Refusal> {
    if facts.privilege == Privilege::User {
        return Err(Refusal::NoSudo);
    }
    if let Some(bits) = facts.bits.filter(|bits| *bits != 64) {
        return Err(Refusal::Bits(bits));
    }
    if let Some(model) = facts.model.as_ref().filter(|model| !profile.fits(model)) {
        let fitting = Profile::all().filter(|profile| profile.fits(model)).map(|profile| profile.name);
        let others = fitting.collect::<Vec<_>>().join(", ");
        return Err(Refusal::Board { profile: profile.name.clone(), model: model.clone(), others });
    }
    match facts.clock {
        Some(seconds) if seconds < EARLIEST => Err(Refusal::Clock { seconds, now }),
        _ => Ok(()),
    }
}

/// Whether it can run this program. A card that does not tell its processor has its profile's.
pub fn check_program(facts: &Facts, profile: &Profile, program: &Program) -> Result<(), Refusal> {
    let profiles = || profile.triple.as_ref()?.split('-').next().map(str::to_owned);
    let machine = facts.machine.clone().or_else(profiles);
    if let Some(device) = machine.filter(|machine| machine != program.machine) {
        return Err(Refusal::Machine { device, program: program.machine });
    }
    match (facts.glibc, program.glibc) {
        (Some(device), Some(program)) if device < program => Err(Refusal::Glibc { device, program }),
        _ => Ok(()),
    }
}

/// Whether so many bytes fit.
pub fn check_room(facts: &Facts, bytes: u64) -> Result<(), Refusal> {
    let needed = bytes + RESERVE_BYTES;
    match facts.free_bytes {
        Some(free) if bytes > 0 && free < needed => {
            Err(Refusal::Full { free_mib: free >> 20, needed_mib: needed.div_ceil(1 << 20) })
        }
        _ => Ok(()),
    }
}
