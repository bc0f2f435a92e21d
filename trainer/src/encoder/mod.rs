//! The image encoder's trunk: EfficientNet-Lite0 with its published ImageNet weights, as an ONNX graph.
//!
//! EfficientNet (Tan and Le, 2019) in its Lite form: no squeeze-and-excitation, ReLU6 instead of swish, and stem and
//! head of fixed width. BatchNorm is folded into the convolution before it, so that the graph is convolutions, clips
//! and additions alone. `lite0.rs` has the architecture and its graph, `learned.rs` the last blocks for whoever learns them.

pub mod checkpoint;
mod fold;
pub mod learned;
mod lite0;

pub use fold::Convolution;
pub use lite0::{
    BLOCKS, CLASSES, FEATURE_SIZE, Layer, Output, complete, folded, lite0, towards_bundle, write, write_lower,
};

use metalens_models::Preprocessing;
use serde::{Deserialize, Serialize};

/// What a trunk takes and makes: `image` f32[1, 3, height, width] -> `features` f32[1, positions, channels].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrunkShape {
    /// From a picture to `image`.
    pub preprocessing: Preprocessing,
    /// Rows and columns of the feature map.
    pub grid: [usize; 2],
    /// Channels of the feature map.
    pub channels: usize,
    /// The block before which it ends; the whole trunk where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cut: Option<usize>,
}

impl TrunkShape {
    /// Positions of the feature map.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.grid[0] * self.grid[1]
    }
}

/// Reads a number of blocks that leaves some to be learned.
///
/// # Errors
/// When it is no such number.
pub fn some_blocks(text: &str) -> Result<usize, String> {
    let blocks: usize = text.parse().map_err(|_| format!("not a number of blocks, 1 to {}", BLOCKS - 1))?;
    if (1..BLOCKS).contains(&blocks) {
        Ok(blocks)
    } else {
        Err(format!("1 to {} of {BLOCKS} blocks", BLOCKS - 1))
    }
}

/// Why a checkpoint did not become a graph.
#[derive(Debug, thiserror::Error)]
pub enum EncoderError {
    /// A tensor that the architecture needs is not in the checkpoint.
    #[error("no tensor {0}; this is not an EfficientNet-Lite0")]
    Missing(String),
    /// A tensor has another shape than the architecture says.
    #[error("tensor {name} has shape {found:?}, EfficientNet-Lite0 needs {needed:?}")]
    Shape {
        /// The tensor.
        name: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that the architecture asks for.
        needed: Vec<usize>,
    },
    /// What was taken for a part of the trunk is another graph.
    #[error("the trunk's lower part: {0}")]
    Lower(#[from] crate::onnx::NotAGraph),
    /// What was taken for the encoder of a bundle is no graph.
    #[error(transparent)]
    Encoder(#[from] metalens::engine::EngineError),
    /// A learned layer could not be read.
    #[error("parameters: {0}")]
    Parameters(#[from] candle_core::Error),
}
