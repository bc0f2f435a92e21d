//! The tiny bundle, in the forms that tests of calibration and of the daemon need.

use std::path::{Path, PathBuf};

use metalens_trainer::onnx::Precision;

use crate::{meta, tiny};

/// Enough for the tiny captioner to name every shape and colour.
const EPOCHS: usize = 25;

/// The tiny bundle in three forms.
pub struct Bundles {
    /// As the trainer exports it.
    pub bare: PathBuf,
    /// Meta-learned, by hand, for new words.
    pub words: PathBuf,
    /// Meta-learned, by hand, so that drawings of one colour are a place of their own.
    pub places: PathBuf,
}

impl Bundles {
    /// Trains the captioner and writes its bundles into `folder`, whatever was there.
    ///
    /// # Errors
    /// When a step fails.
    pub fn make(folder: &Path) -> anyhow::Result<Self> {
        if folder.exists() {
            std::fs::remove_dir_all(folder)?;
        }
        std::fs::create_dir_all(folder)?;
        let small = tiny::prepare(folder)?;
        tiny::train(&small, EPOCHS)?;
        let [bare, words, places] = ["bare", "words", "places"].map(|name| folder.join(name));
        tiny::export(&small, &bare, Precision::F32)?;
        let mut schedule = meta::schedule();
        meta::add(&bare, &words, schedule.clone())?;
        schedule.familiarity.threshold = 0.5;
        meta::add(&bare, &places, schedule)?;
        Ok(Self { bare, words, places })
    }
}

/// Copies a bundle into another folder.
///
/// # Errors
/// When a file cannot be read or written.
pub fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
