//! Trains the tiny captioner of the tests, for boards on which arithmetic is emulated.

use std::path::PathBuf;

use clap::Parser;
use metalens_tests::bundles::{self, Bundles};

#[derive(Parser)]
struct Arguments {
    /// The bundle's new folder.
    out: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let bundles = Bundles::make(folder.path())?;
    bundles::copy(&bundles.words, &arguments.out)
}
