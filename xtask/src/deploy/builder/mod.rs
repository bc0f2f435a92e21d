//! Builds the device's program with whatever this computer has for that.

mod choice;
pub mod debian;
mod probe;

use std::path::PathBuf;
use std::process::Command;

pub use self::choice::Builder;
use self::choice::{Chosen, choose, gcc};
use self::probe::System;
use crate::run::{cargo, run, target};

/// What a device needs beside what a newcomer builds.
const FEATURES: &str = "v4l2,rppal,gpiochip";
/// The C library of the oldest system that is served, JetPack 5's is 2.31.
const OLDEST_GLIBC: &str = "2.28";

/// Builds the program for a target, and returns where it lies.
///
/// # Errors
/// When no builder is usable, with what each lacks and the commands that mend it; when the build fails.
pub fn build(builder: Builder, triple: &str) -> anyhow::Result<PathBuf> {
    let chosen = choose(builder, triple, &System)?;
    println!("building for {triple} with {chosen}");
    let mut folder = target();
    let mut command = match chosen {
        Chosen::Zigbuild => {
            let mut command = cargo();
            command.args(["zigbuild", "--target", &format!("{triple}.{OLDEST_GLIBC}")]);
            command
        }
        Chosen::Cross => {
            let mut command = Command::new("cross");
            command.current_dir(crate::run::root()).args(["build", "--target", triple]);
            command.env("CROSS_BUILD_PRE_BUILD", "apt-get update && apt-get install -y libclang-dev");
            command
        }
        Chosen::Native | Chosen::Rustup => {
            let mut command = cargo();
            command.args(["build", "--target", triple]);
            command
        }
        Chosen::Debian => {
            let mut command = debian::cargo()?;
            command.args(["build", "--target", triple]);
            // Another compiler than that of the host's builds would make each other's results stale.
            folder = folder.join("debian");
            command.env("CARGO_TARGET_DIR", &folder);
            command
        }
    };
    if matches!(chosen, Chosen::Rustup | Chosen::Debian) {
        let variable = triple.to_uppercase().replace('-', "_");
        command.env(format!("CARGO_TARGET_{variable}_LINKER"), gcc(triple));
    }
    if !matches!(chosen, Chosen::Native | Chosen::Cross) {
        let name = gcc(triple).trim_end_matches("-gcc").to_owned();
        let variable = format!("BINDGEN_EXTRA_CLANG_ARGS_{}", triple.replace('-', "_"));
        command.env(variable, format!("--target={name} -isystem /usr/{name}/include"));
    }
    run(command.args(["--release", "--package", "metalens", "--bin", "metalens", "--features", FEATURES]))?;
    Ok(folder.join(triple).join("release/metalens"))
}
