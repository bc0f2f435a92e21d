//! Builds the device's program with whatever this computer has for that.

mod choice;
pub mod debian;
mod probe;

use std::path::PathBuf;
use std::process::Command;

pub use self::choice::Builder;
pub use self::choice::gcc;
use self::choice::{Chosen, choose};
use self::probe::System;
use crate::run::{cargo, run, target};

/// What a device needs beside what a newcomer builds.
pub const FEATURES: &str = "v4l2,rppal,gpiochip";
/// The C library of the oldest system that is served, JetPack 4.
const OLDEST_GLIBC: &str = "2.27";

/// Builds the program for a target, and returns where it lies.
///
/// # Errors
/// When no builder is usable, with what each lacks and the commands that mend it; when the build fails.
pub fn build(builder: Builder, triple: &str) -> anyhow::Result<PathBuf> {
    let cross = Cross::of(builder, triple)?;
    println!("building for {triple} with {}", cross.chosen);
    let mut command = cross.cargo("build")?;
    run(command.args(["--release", "--package", "metalens", "--bin", "metalens", "--features", FEATURES]))?;
    Ok(cross.folder().join("release/metalens"))
}

/// A builder that is usable for a target.
pub struct Cross<'a> {
    chosen: Chosen,
    triple: &'a str,
}

impl<'a> Cross<'a> {
    /// # Errors
    /// When no builder is usable, with what each lacks and the commands that mend it.
    pub fn of(builder: Builder, triple: &'a str) -> anyhow::Result<Self> {
        Ok(Self { chosen: choose(builder, triple, &System)?, triple })
    }

    /// Where cargo puts what it builds for the target, a folder a profile.
    pub fn folder(&self) -> PathBuf {
        self.target().join(self.triple)
    }

    fn target(&self) -> PathBuf {
        match self.chosen {
            // Another compiler than that of the host's builds would make each other's results stale.
            Chosen::Debian => target().join("debian"),
            _ => target(),
        }
    }

    /// Cargo's `build` or another task, for the target.
    ///
    /// # Errors
    /// When the builder does not know the task.
    pub fn cargo(&self, task: &str) -> anyhow::Result<Command> {
        let mut command = match self.chosen {
            Chosen::Zigbuild => {
                anyhow::ensure!(task == "build", "zigbuild only builds; use another builder");
                let mut command = cargo();
                command.args(["zigbuild", "--target", &format!("{}.{OLDEST_GLIBC}", self.triple)]);
                return Ok(self.with_headers(command));
            }
            Chosen::Cross => {
                let mut command = Command::new("cross");
                command.env("CROSS_BUILD_PRE_BUILD", "apt-get update && apt-get install -y libclang-dev");
                command
            }
            Chosen::Native | Chosen::Rustup => cargo(),
            Chosen::Debian => debian::cargo()?,
        };
        command.current_dir(crate::run::root()).args([task, "--target", self.triple]);
        if !matches!(self.chosen, Chosen::Rustup | Chosen::Debian) {
            return Ok(command);
        }
        let variable = self.triple.to_uppercase().replace('-', "_");
        command.env(format!("CARGO_TARGET_{variable}_LINKER"), gcc(self.triple));
        command.env("CARGO_TARGET_DIR", self.target());
        Ok(self.with_headers(command))
    }

    /// Where bindgen finds the target's headers.
    fn with_headers(&self, mut command: Command) -> Command {
        let name = gcc(self.triple).trim_end_matches("-gcc").to_owned();
        let variable = format!("BINDGEN_EXTRA_CLANG_ARGS_{}", self.triple.replace('-', "_"));
        command.env(variable, format!("--target={name} -isystem /usr/{name}/include"));
        command
    }
}
