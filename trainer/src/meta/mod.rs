//! Meta-learning: from a pre-trained bundle to one that adapts.

mod body;
mod detectors;
mod gallery;
mod head;
mod inverse;

use indicatif::ProgressStyle;

pub use body::{Body, Encodings, Length, Said, Taught};
pub use detectors::{DetectorConfig, Detectors, Labelled};
pub use gallery::{Gallery, most_probable, shown};
pub use head::{Head, Order, StepSizes, Tokens};

/// A bar that counts `what`, with a rate and the time left.
fn bar_style(what: &str) -> ProgressStyle {
    ProgressStyle::with_template(&format!("{{bar:30}} {{pos}}/{{len}} {what}  {{per_sec}}  {{eta}} left"))
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
