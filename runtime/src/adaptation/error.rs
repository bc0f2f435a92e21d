//! What can be wrong with a calibration.

use std::path::PathBuf;

/// Why a support set or a bundle cannot be used for calibration.
#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    /// The captions' file cannot be read.
    #[error("{path}: {reason}; --support takes a folder with a captions.tsv, or that file", path = path.display())]
    Support {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// The captions' file is not UTF-8.
    #[error("{path}: not UTF-8; save it as UTF-8 text", path = .0.display())]
    NotText(PathBuf),
    /// The captions' file has no line.
    #[error("{path}: no captions; write one line `file<TAB>caption` or more", path = .0.display())]
    NoCaptions(PathBuf),
    /// No sample was kept.
    #[error("no samples are kept; keep two pictures or more and say what they show")]
    NoSamples,
    /// A line has no tab, or nothing before it.
    #[error("{0}: needs the form `file<TAB>caption`")]
    Line(String),
    /// A picture's caption is empty.
    #[error("{at}: the caption of {name} is empty; say what the picture shows, or remove the line")]
    EmptyCaption {
        /// File and line.
        at: String,
        /// The picture.
        name: String,
    },
    /// A caption has no letter or digit.
    #[error("{at}: {caption:?} has no word; say what the picture shows")]
    NoWord {
        /// File and line.
        at: String,
        /// The caption.
        caption: String,
    },
    /// A picture cannot be read or decoded.
    #[error("{path}: {reason}; replace the picture, or remove its line", path = path.display())]
    Picture {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// One picture: nothing can be held out.
    #[error("one picture is too few to tell whether calibrating helps; add another, or use --force")]
    OnePicture,
    /// What was held out is captioned worse than by the initialization.
    #[error(
        "held-out samples are captioned worse than before (loss per word {before} -> {after}), nothing was kept; \
         add pictures, mend captions, or use --force"
    )]
    Worse {
        /// Nats per token.
        before: f32,
        /// Nats per token.
        after: f32,
    },
    /// More than fits the device.
    #[error(
        "{pictures} pictures with {tokens} words in all, at most {limit} words; keep the pictures that differ most"
    )]
    TooMuch {
        /// Pictures of the support set.
        pictures: usize,
        /// Their captions' words, the ends counted.
        tokens: usize,
        /// The most there may be.
        limit: usize,
    },
    /// There are more new words than slots.
    #[error(
        "{found} new words ({some}, …), but the bundle has room for {slots}; use known words for some of them"
    )]
    TooManyNewWords {
        /// New words of the support set.
        found: usize,
        /// What the bundle can take.
        slots: usize,
        /// The first of them.
        some: String,
    },
    /// The bundle was not meta-learned.
    #[error("{path}: manifest.json has no inner_loop: the bundle was not meta-learned; use one that was", path = .0.display())]
    NoSchedule(PathBuf),
    /// The file with what calibration needs contradicts the manifest.
    #[error("{path}: {reason}", path = path.display())]
    Bundle {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}
