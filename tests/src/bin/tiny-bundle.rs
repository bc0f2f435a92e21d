//! Trains the tiny captioner of the tests, for boards on which arithmetic is emulated.

use std::path::PathBuf;

use clap::Parser;
use metalens_tests::bundles::Bundles;

#[derive(Parser)]
struct Arguments {
    /// The bundle's new folder.
    out: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let bundles = Bundles::make(folder.path())?;
    std::fs::create_dir_all(&arguments.out)?;
    for entry in std::fs::read_dir(&bundles.words)? {
        let entry = entry?;
        std::fs::copy(entry.path(), arguments.out.join(entry.file_name()))?;
    }
    Ok(())
}
