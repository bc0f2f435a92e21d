//! What is deployed in the lab: the program for arm64, variants of it that fail, and a bundle that an emulated board can compute.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::Context;

use crate::deploy::builder::{Builder, Cross, debian, gcc};
use crate::run::{cargo, root, run, target};

/// Every guest's and, but for the 32-bit ones, every board's.
pub const TRIPLE: &str = "aarch64-unknown-linux-gnu";
/// What is tested as programs for arm64. They are built together, so that what they depend on is built once.
pub const PACKAGES: &[&str] = &["metalens", "metalens-models", "metalens-firmware-config"];
/// Everything that needs hardware.
pub const FEATURES: &str = "metalens/v4l2,metalens/rppal,metalens/gpiochip";

/// What builds for arm64 here; Debian's compiler is fetched where rustup has none.
pub fn cross() -> anyhow::Result<Cross<'static>> {
    if let Ok(cross) = Cross::of(Builder::Rustup, TRIPLE) {
        return Ok(cross);
    }
    if debian::cargo().is_err() {
        debian::setup()?;
    }
    Cross::of(Builder::Debian, TRIPLE)
}

/// What releases are made of.
pub struct Programs {
    /// The program.
    pub metalens: PathBuf,
    /// The same, with another hash.
    pub upgrade: PathBuf,
    /// Its own test fails.
    pub unfit: PathBuf,
    /// It runs and says nothing.
    pub mute: PathBuf,
    /// It ends at once.
    pub crashing: PathBuf,
    /// The tiny bundle.
    pub bundle: PathBuf,
}

impl Programs {
    /// Builds them; those that are given are taken as they are.
    pub fn make(program: Option<PathBuf>, bundle: Option<PathBuf>) -> anyhow::Result<Self> {
        let folder = target().join("lab");
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let metalens = folder.join("metalens");
        let built = program.map_or_else(build, Ok)?;
        let strip = gcc(TRIPLE).replace("-gcc", "-strip");
        run(Command::new(strip).arg("-o").arg(&metalens).arg(built))?;
        let upgrade = folder.join("upgrade");
        // What follows a program's last section is part of its hash and of nothing else.
        let mut bytes = fs::read(&metalens)?;
        bytes.extend(b"upgrade");
        fs::write(&upgrade, bytes)?;
        let failing = |name: &str| -> anyhow::Result<PathBuf> {
            let (source, path) = (folder.join("failing.c"), folder.join(name));
            fs::write(&source, include_str!("guest/failing.c"))?;
            run(Command::new(gcc(TRIPLE))
                .args([&format!("-D{}", name.to_uppercase()), "-o"])
                .arg(&path)
                .arg(source))?;
            Ok(path)
        };
        Ok(Self {
            unfit: failing("unfit")?,
            mute: failing("mute")?,
            crashing: failing("crashing")?,
            bundle: bundle.map_or_else(tiny_bundle, Ok)?,
            metalens,
            upgrade,
        })
    }
}

/// The program in the profile that everything but a release is built in.
pub fn build() -> anyhow::Result<PathBuf> {
    let cross = cross()?;
    let mut command = cross.cargo("build")?;
    for package in PACKAGES {
        command.args(["--package", package]);
    }
    run(command.args(["--features", FEATURES, "--bin", "metalens"]))?;
    Ok(cross.folder().join("debug/metalens"))
}

/// Trains the tiny captioner of the tests: each time, so that its format is never one of before.
fn tiny_bundle() -> anyhow::Result<PathBuf> {
    let folder = target().join("lab/tiny-bundle");
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    // The whole workspace, so that nothing is built anew for other features.
    run(cargo().args(["build", "--workspace", "--bins"]))?;
    run(Command::new(target().join("debug/tiny-bundle")).arg(&folder).current_dir(root()))?;
    Ok(folder)
}
