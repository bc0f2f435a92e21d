//! `cargo xtask lab unit`: the fast tests as programs for arm64, each processor instruction emulated.

use std::process::Command;

use super::program::{self, FEATURES, PACKAGES};
use crate::run::run;

/// Emulated arithmetic takes 150 to 250 times as long: what computes much is left to the host's own tests.
const SLOW: &[&str] = &[];

/// Runs the tests.
pub fn unit(filters: &[String]) -> anyhow::Result<()> {
    let cross = program::cross()?;
    let mut command: Command = cross.cargo("test")?;
    for package in PACKAGES {
        command.args(["--package", package]);
    }
    command.args(["--features", FEATURES, "--lib", "--test", "bundle", "--test", "disk"]);
    command.env(
        "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER",
        "qemu-aarch64-static -L /usr/aarch64-linux-gnu",
    );
    command.arg("--").args(filters);
    for name in SLOW {
        command.args(["--skip", name]);
    }
    run(&mut command)
}
