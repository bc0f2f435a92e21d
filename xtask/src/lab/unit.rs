//! `cargo xtask lab unit`: the fast tests as programs for arm64, each processor instruction emulated.

use std::process::Command;

use super::program::{self, FEATURES, PACKAGES};
use crate::run::run;

/// Arithmetic takes 150 to 250 times as long: the tests that train and caption much are in other crates and stay on the host.
const TESTS: &[&str] = &["--lib", "--test", "bundle", "--test", "disk"];

/// Runs the tests.
pub fn unit(filters: &[String]) -> anyhow::Result<()> {
    let cross = program::cross()?;
    let mut command: Command = cross.cargo("test")?;
    for package in PACKAGES {
        command.args(["--package", package]);
    }
    command.args(["--features", FEATURES]).args(TESTS);
    command.env(
        "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER",
        "qemu-aarch64-static -L /usr/aarch64-linux-gnu",
    );
    run(command.arg("--").args(filters))
}
