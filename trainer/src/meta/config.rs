//! The configuration file of `meta-train`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context;
use metalens_models::{Bundle, InnerLoop};
use serde::{Deserialize, Serialize};

use super::detectors::DetectorConfig;
use super::outer::Algorithm;
use crate::corpus;

/// Everything that determines a meta-trained bundle, beside the bundle that it starts from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetaConfig {
    /// Every random choice follows from it.
    #[serde(default)]
    pub seed: u64,
    /// Prepared folder of the ordinary pictures that the body was trained on.
    pub things: PathBuf,
    /// Names of those among them that the body never saw, one a line; the evidence for new words is learned on them.
    pub unseen: Option<PathBuf>,
    /// Prepared folder of pictures with scenes that the body never saw.
    pub places: Option<PathBuf>,
    /// Scenes that are for reporting and are not learned from.
    #[serde(default)]
    pub test_scenes: Vec<String>,
    /// Ordinary pictures that the bundle carries to compare with.
    pub ordinary: usize,
    /// The detectors.
    #[serde(default)]
    pub detectors: DetectorConfig,
    /// Tasks that the evidence is learned on; none leaves the numbers below.
    pub evidence: Option<EvidenceConfig>,
    /// The outer loop.
    pub outer: OuterConfig,
    /// Where the inner loop's numbers start; the bundle's own where not given.
    pub inner_loop: Option<InnerLoop>,
}

/// How many tasks the evidence is learned on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceConfig {
    /// Of meta-train, for the weights; 0 leaves the weights, and chooses thresholds on the concepts of meta-train as well.
    pub training: usize,
    /// Of meta-validation, for the thresholds.
    pub validation: usize,
    /// Seed of the division of concepts.
    pub split_seed: u64,
}

/// The outer loop.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OuterConfig {
    /// How it learns.
    pub algorithm: Algorithm,
    /// Outer steps; 0 leaves the pre-trained head.
    pub iterations: usize,
    /// Tasks an outer step.
    pub meta_batch: usize,
    /// Learning rate of the head.
    pub head_rate: f64,
    /// Learning rate of the logarithms of step sizes and damping.
    pub number_rate: f64,
    /// Whether the body learns as well, in the outer loop alone; else it is frozen.
    #[serde(default)]
    pub body: bool,
    /// Learning rate of the body, where it learns.
    #[serde(default = "body_rate")]
    pub body_rate: f64,
}

fn body_rate() -> f64 {
    1e-5
}

impl MetaConfig {
    /// Where the inner loop's numbers start from a bundle.
    ///
    /// # Errors
    /// When neither the configuration nor the bundle has them.
    pub fn start(&self, bundle: &Bundle) -> anyhow::Result<InnerLoop> {
        let own = || bundle.manifest().inner_loop.clone();
        self.inner_loop.clone().or_else(own).context("inner_loop: is missing, and the bundle has none")
    }

    /// The names of pictures that the body never saw.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn unseen(&self) -> anyhow::Result<BTreeSet<String>> {
        self.unseen.as_deref().map_or_else(|| Ok(BTreeSet::new()), corpus::names)
    }

    /// Reads a configuration.
    ///
    /// # Errors
    /// When the file cannot be read or is no configuration; the message names it, the line and the field.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let config: Self = toml::from_str(&text).map_err(|error: toml::de::Error| {
            let line = error.span().map_or(0, |span| text[..span.start].lines().count());
            anyhow::anyhow!("{}: line {line}: {}", path.display(), error.message())
        })?;
        config.check().with_context(|| path.display().to_string())?;
        Ok(config)
    }

    /// What serde cannot know of numbers.
    fn check(&self) -> anyhow::Result<()> {
        let OuterConfig { meta_batch, head_rate, number_rate, body_rate, .. } = self.outer;
        let rates = [("head_rate", head_rate), ("number_rate", number_rate), ("body_rate", body_rate)];
        for (key, rate) in rates {
            anyhow::ensure!(rate.is_finite() && rate >= 0.0, "outer.{key}: {rate} needs to be 0 or more");
        }
        anyhow::ensure!(meta_batch > 0, "outer.meta_batch: 0 needs to be 1 or more");
        let Some(inner) = &self.inner_loop else { return Ok(()) };
        let InnerLoop { steps, alpha, .. } = inner;
        anyhow::ensure!(
            *steps == alpha.len(),
            "inner_loop.steps: {steps} steps, and alpha has sizes for {}",
            alpha.len()
        );
        if let Some(size) = alpha.iter().flatten().find(|size| !size.is_finite() || **size < 0.0) {
            anyhow::bail!("inner_loop.alpha: {size} needs to be 0 or more");
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_make_no_sense_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("meta.toml");
        let text = include_str!("../../configs/meta.toml");
        std::fs::write(&path, text).unwrap();
        MetaConfig::read(&path).unwrap();
        for (from, to, expected) in [
            ("head_rate = 2e-5", "head_rate = nan", "outer.head_rate: NaN needs to be 0 or more"),
            ("number_rate = 2e-2", "number_rate = -1", "outer.number_rate: -1 needs to be 0 or more"),
            ("meta_batch = 2", "meta_batch = 0", "outer.meta_batch: 0 needs to be 1 or more"),
            ("steps = 5\n", "steps = 3\n", "inner_loop.steps: 3 steps, and alpha has sizes for 5"),
            ("[0.25, 8.0]", "[nan, 8.0]", "inner_loop.alpha: NaN needs to be 0 or more"),
            ("[0.25, 8.0]", "[0.25, -8.0]", "inner_loop.alpha: -8 needs to be 0 or more"),
        ] {
            assert_eq!(text.matches(from).count(), 1, "{from}");
            std::fs::write(&path, text.replace(from, to)).unwrap();
            let error = format!("{:#}", MetaConfig::read(&path).unwrap_err());
            assert_eq!(error, format!("{}: {expected}", path.display()));
        }
    }
}
