//! The architecture of EfficientNet-Lite0, and its graph.

use metalens_models::Preprocessing;

use super::checkpoint::Weights;
use super::fold::{Convolution, fold, tensor};
use super::{EncoderError, TrunkShape};
use crate::onnx::{GraphBuilder, Precision, int_attribute, ints_attribute};

/// Width and height of the picture, in pixels.
const IMAGE_SIZE: usize = 224;
/// Rows and columns of the feature map.
const GRID: usize = 7;
/// Channels of the feature map.
const FEATURE_SIZE: usize = 1280;
/// Classes of ImageNet.
const CLASSES: usize = 1000;
/// Channels of the stem, which Lite models keep at 32.
const STEM: usize = 32;

/// One stage: `repeats` inverted-bottleneck blocks, of which the first has the stride.
struct Stage {
    repeats: usize,
    kernel: usize,
    stride: usize,
    expansion: usize,
    output: usize,
}

const fn stage(repeats: usize, kernel: usize, stride: usize, expansion: usize, output: usize) -> Stage {
    Stage { repeats, kernel, stride, expansion, output }
}

/// Table 1 of Tan and Le (2019), without squeeze-and-excitation.
const STAGES: [Stage; 7] = [
    stage(1, 3, 1, 1, 16),
    stage(2, 3, 2, 6, 24),
    stage(2, 5, 2, 6, 40),
    stage(3, 3, 2, 6, 80),
    stage(3, 5, 1, 6, 112),
    stage(4, 5, 2, 6, 192),
    stage(1, 3, 1, 6, 320),
];

/// What the trunk takes and makes; the published weights want values in -1 … 1, as in TensorFlow's EfficientNet-Lite.
#[must_use]
pub fn lite0() -> TrunkShape {
    let (width, height) = (IMAGE_SIZE, IMAGE_SIZE);
    TrunkShape {
        preprocessing: Preprocessing { width, height, mean: [127.0; 3], std: [128.0; 3] },
        grid: [GRID, GRID],
        channels: FEATURE_SIZE,
    }
}

/// What the graph ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// `features` f32[1, 49, 1280]: the trunk, for captioning.
    Trunk,
    /// `logits` f32[1, 1000]: ImageNet's classes, to check the import against the published model.
    Classifier,
}

/// Writes the graph: `image` f32[1, 3, 224, 224] -> [`Output`].
///
/// # Errors
/// When the checkpoint lacks a tensor, or has one of another shape.
pub fn write(weights: &Weights, output: Output, precision: Precision) -> Result<Vec<u8>, EncoderError> {
    let mut net = Net { weights, graph: GraphBuilder::new("efficientnet-lite0", precision) };
    net.graph.scalar("relu6.min", 0.0);
    net.graph.scalar("relu6.max", 6.0);
    net.graph.input("image", &[1.into(), 3.into(), IMAGE_SIZE.into(), IMAGE_SIZE.into()]);

    let mut map = Map { name: "image".to_owned(), channels: 3, size: IMAGE_SIZE };
    map = net.convolution(&map, "_conv_stem", "_bn0", Kernel::dense(3, 2, STEM))?;
    map = net.relu6(map);
    let mut block = 0;
    for stage in &STAGES {
        for repeat in 0..stage.repeats {
            let stride = if repeat == 0 { stage.stride } else { 1 };
            map = net.block(map, block, stage, stride)?;
            block += 1;
        }
    }
    map = net.convolution(&map, "_conv_head", "_bn1", Kernel::dense(1, 1, FEATURE_SIZE))?;
    map = net.relu6(map);
    match output {
        Output::Trunk => net.tokens(&map),
        Output::Classifier => net.classifier(&map)?,
    }
    Ok(net.graph.finish())
}

/// A feature map in the graph: f32[1, channels, size, size].
struct Map {
    name: String,
    channels: usize,
    size: usize,
}

/// A convolution's geometry.
struct Kernel {
    size: usize,
    stride: usize,
    output: usize,
    depthwise: bool,
}

impl Kernel {
    fn dense(size: usize, stride: usize, output: usize) -> Self {
        Self { size, stride, output, depthwise: false }
    }

    fn depthwise(size: usize, stride: usize, channels: usize) -> Self {
        Self { size, stride, output: channels, depthwise: true }
    }
}

struct Net<'a> {
    weights: &'a Weights,
    graph: GraphBuilder,
}

impl Net<'_> {
    fn convolution(&mut self, x: &Map, conv: &str, norm: &str, kernel: Kernel) -> Result<Map, EncoderError> {
        let groups = if kernel.depthwise { x.channels } else { 1 };
        let shape = [kernel.output, x.channels / groups, kernel.size, kernel.size];
        let Convolution { weight, bias } = fold(self.weights, conv, norm, shape)?;
        let weight = self.graph.weight(&format!("{conv}.weight"), &shape, &weight);
        let bias = self.graph.weight(&format!("{conv}.bias"), &[kernel.output], &bias);
        // TensorFlow's SAME padding: the odd pixel goes after, not before.
        let size = x.size.div_ceil(kernel.stride);
        let padding = ((size - 1) * kernel.stride + kernel.size).saturating_sub(x.size) as i64;
        let (before, after) = (padding / 2, padding - padding / 2);
        let side = kernel.size as i64;
        let stride = kernel.stride as i64;
        let attributes = vec![
            int_attribute("group", groups as i64),
            ints_attribute("kernel_shape", &[side, side]),
            ints_attribute("strides", &[stride, stride]),
            ints_attribute("pads", &[before, before, after, after]),
        ];
        let name = self.graph.node_with("Conv", &[&x.name, &weight, &bias], conv, attributes);
        Ok(Map { name, channels: kernel.output, size })
    }

    fn relu6(&mut self, x: Map) -> Map {
        let name = format!("{}.relu6", x.name);
        let name = self.graph.node("Clip", &[&x.name, "relu6.min", "relu6.max"], &name);
        Map { name, ..x }
    }

    /// An inverted bottleneck: expand 1x1, depthwise, project 1x1, and the shortcut where shapes allow.
    fn block(&mut self, x: Map, index: usize, stage: &Stage, stride: usize) -> Result<Map, EncoderError> {
        let part = |name: &str| format!("_blocks.{index}.{name}");
        let expanded = x.channels * stage.expansion;
        let mut y = Map { name: x.name.clone(), ..x };
        if stage.expansion != 1 {
            y = self.convolution(&y, &part("_expand_conv"), &part("_bn0"), Kernel::dense(1, 1, expanded))?;
            y = self.relu6(y);
        }
        let depthwise = Kernel::depthwise(stage.kernel, stride, expanded);
        y = self.convolution(&y, &part("_depthwise_conv"), &part("_bn1"), depthwise)?;
        y = self.relu6(y);
        y = self.convolution(&y, &part("_project_conv"), &part("_bn2"), Kernel::dense(1, 1, stage.output))?;
        if stride == 1 && x.channels == stage.output {
            y.name = self.graph.node("Add", &[&y.name, &x.name], &part("output"));
        }
        Ok(y)
    }

    /// Turns the map into one row per position: `features` f32[1, 49, 1280].
    fn tokens(&mut self, x: &Map) {
        let positions = x.size * x.size;
        let shape = self.graph.integers("tokens.shape", &[1, x.channels as i64, positions as i64]);
        let flat = self.graph.node("Reshape", &[&x.name, &shape], "tokens.flat");
        let order = vec![ints_attribute("perm", &[0, 2, 1])];
        self.graph.node_with("Transpose", &[&flat], "features", order);
        self.graph.output("features", &[1.into(), positions.into(), x.channels.into()]);
    }

    fn classifier(&mut self, x: &Map) -> Result<(), EncoderError> {
        let weight = tensor(self.weights, "_fc.weight", &[CLASSES, x.channels])?;
        let bias = tensor(self.weights, "_fc.bias", &[CLASSES])?;
        let weight = self.graph.weight("_fc.weight", &[CLASSES, x.channels], weight);
        let bias = self.graph.weight("_fc.bias", &[CLASSES], bias);
        let pooled = self.graph.node("GlobalAveragePool", &[&x.name], "pooled");
        let shape = self.graph.integers("pooled.shape", &[1, x.channels as i64]);
        let pooled = self.graph.node("Reshape", &[&pooled, &shape], "pooled.flat");
        let transposed = vec![int_attribute("transB", 1)];
        self.graph.node_with("Gemm", &[&pooled, &weight, &bias], "logits", transposed);
        self.graph.output("logits", &[1.into(), CLASSES.into()]);
        Ok(())
    }
}
