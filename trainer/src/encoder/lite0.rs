//! The architecture of EfficientNet-Lite0, and its graph.

use metalens::engine::{self, Constant};
use metalens_models::{Preprocessing, file};

use super::checkpoint::{Weight, Weights};
use super::fold::{Convolution, fold, tensor};
use super::{EncoderError, TrunkShape};
use crate::onnx::{GraphBuilder, Precision, int_attribute, ints_attribute};

/// Width and height of the picture, in pixels.
const IMAGE_SIZE: usize = 224;
/// Rows and columns of the feature map.
const GRID: usize = 7;
/// Channels of the feature map.
pub const FEATURE_SIZE: usize = 1280;
/// Classes of ImageNet, which the published trunk was trained to tell apart.
pub const CLASSES: usize = 1000;
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

/// Blocks of all stages.
pub const BLOCKS: usize = 16;

/// One convolution with the BatchNorm behind it.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The convolution's name in the checkpoint.
    pub name: String,
    /// The BatchNorm's.
    pub norm: String,
    /// Rows and columns of the kernel.
    pub kernel: usize,
    /// Rows and columns from one position to the next.
    pub stride: usize,
    /// Channels that it reads.
    pub input: usize,
    /// Channels that it makes.
    pub output: usize,
    /// Whether every channel has a kernel of its own.
    pub depthwise: bool,
    /// Rows and columns of the map that it reads.
    pub size: usize,
}

impl Layer {
    fn dense(
        name: &str,
        norm: &str,
        kernel: usize,
        stride: usize,
        [input, output]: [usize; 2],
        size: usize,
    ) -> Self {
        Self {
            name: name.to_owned(),
            norm: norm.to_owned(),
            kernel,
            stride,
            input,
            output,
            depthwise: false,
            size,
        }
    }

    /// Rows and columns of the map that it makes.
    #[must_use]
    pub fn output_size(&self) -> usize {
        self.size.div_ceil(self.stride)
    }

    /// Zeros before and after the map, in rows and in columns: TensorFlow's SAME padding, whose odd one goes after.
    #[must_use]
    pub fn padding(&self) -> (usize, usize) {
        let padding = ((self.output_size() - 1) * self.stride + self.kernel).saturating_sub(self.size);
        (padding / 2, padding - padding / 2)
    }

    /// `[out, in / groups, kernel, kernel]`, as PyTorch and ONNX have it.
    #[must_use]
    pub fn shape(&self) -> [usize; 4] {
        let per_group = if self.depthwise { 1 } else { self.input };
        [self.output, per_group, self.kernel, self.kernel]
    }
}

/// An inverted bottleneck: expand 1x1, depthwise, project 1x1, and the shortcut where shapes allow.
#[derive(Clone, Debug)]
pub struct Block {
    /// Not in the first stage.
    pub expand: Option<Layer>,
    /// One kernel a channel.
    pub depthwise: Layer,
    /// To the block's output, without an activation.
    pub project: Layer,
    /// Whether the block's input is added.
    pub shortcut: bool,
}

impl Block {
    /// Its layers, in order.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.expand.iter().chain([&self.depthwise, &self.project])
    }
}

/// The convolution before the blocks.
#[must_use]
pub fn stem() -> Layer {
    Layer::dense("_conv_stem", "_bn0", 3, 2, [3, STEM], IMAGE_SIZE)
}

/// All blocks, in order.
#[must_use]
pub fn blocks() -> Vec<Block> {
    let (mut size, mut channels) = (stem().output_size(), STEM);
    let mut blocks = Vec::with_capacity(BLOCKS);
    for stage in &STAGES {
        for repeat in 0..stage.repeats {
            let index = blocks.len();
            let part = |name: &str| format!("_blocks.{index}.{name}");
            let expanded = channels * stage.expansion;
            let dense = |conv: &str, norm: &str, channels, size| {
                Layer::dense(&part(conv), &part(norm), 1, 1, channels, size)
            };
            let expand =
                (stage.expansion != 1).then(|| dense("_expand_conv", "_bn0", [channels, expanded], size));
            let depthwise = Layer {
                depthwise: true,
                kernel: stage.kernel,
                stride: if repeat == 0 { stage.stride } else { 1 },
                ..dense("_depthwise_conv", "_bn1", [expanded, expanded], size)
            };
            let shortcut = depthwise.stride == 1 && channels == stage.output;
            (size, channels) = (depthwise.output_size(), stage.output);
            let project = dense("_project_conv", "_bn2", [expanded, channels], size);
            blocks.push(Block { expand, depthwise, project, shortcut });
        }
    }
    blocks
}

/// The convolution behind the blocks.
#[must_use]
pub fn top() -> Layer {
    let last = STAGES[STAGES.len() - 1].output;
    Layer::dense("_conv_head", "_bn1", 1, 1, [last, FEATURE_SIZE], GRID)
}

/// What the trunk takes and makes, or its part before block `blocks`; the published weights want values in -1 … 1, as in
/// TensorFlow's EfficientNet-Lite.
///
/// # Panics
/// When there is no such block.
#[must_use]
pub fn lite0(cut: Option<usize>) -> TrunkShape {
    let (width, height) = (IMAGE_SIZE, IMAGE_SIZE);
    let (size, channels) = match cut {
        None => (GRID, FEATURE_SIZE),
        Some(block) => {
            let block = &blocks()[block];
            let first = block.expand.as_ref().unwrap_or(&block.depthwise);
            (first.size, first.input)
        }
    };
    TrunkShape {
        preprocessing: Preprocessing { width, height, mean: [127.0; 3], std: [128.0; 3] },
        grid: [size; 2],
        channels,
        cut,
    }
}

/// What the graph ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// `features` f32[1, 49, 1280]: the trunk, for captioning; and `classes` f32[1, 1000], logits of ImageNet's classes, where the
    /// checkpoint has its classifier.
    Trunk,
    /// `logits` f32[1, 1000]: ImageNet's classes, to check the import against the published model.
    Classifier,
}

/// Writes the graph: `image` f32[1, 3, 224, 224] -> [`Output`].
///
/// # Errors
/// When the checkpoint lacks a tensor, or has one of another shape.
pub fn write(weights: &Weights, output: Output, precision: Precision) -> Result<Vec<u8>, EncoderError> {
    let folded = |layer: &Layer| folded(weights, layer);
    let mut net = Net::new(&folded, precision);
    let map = net.lower(BLOCKS)?;
    match output {
        Output::Trunk => net.finish(map, BLOCKS, Some(weights)),
        Output::Classifier => {
            let map = net.upper(map, BLOCKS)?;
            net.classifier(&map, weights, "logits")?;
            Ok(net.graph.finish())
        }
    }
}

/// The trunk whose layers go `share` of the way from those of the published checkpoint to those of the trunk in `encoder`, the
/// encoder's graph of a bundle (Wortsman et al. 2022, equation 1). It keeps the checkpoint's classifier.
///
/// # Errors
/// When either lacks a tensor or has one of another shape, or `encoder` is no graph.
pub fn towards_bundle(
    published: &Weights,
    encoder: &[u8],
    share: f32,
    precision: Precision,
) -> Result<Vec<u8>, EncoderError> {
    let weight = |Constant { shape, values }| Weight { shape, data: values };
    let constants = engine::constants(encoder, file::ENCODER)?.into_iter();
    let learned: Weights = constants.map(|(name, constant)| (name, weight(constant))).collect();
    let blended = |layer: &Layer| {
        let weight = tensor(&learned, &format!("{}.weight", layer.name), &layer.shape())?.to_vec();
        let bias = tensor(&learned, &format!("{}.bias", layer.name), &[layer.output])?.to_vec();
        Ok(folded(published, layer)?.towards(&Convolution { weight, bias }, share))
    };
    let mut net = Net::new(&blended, precision);
    let map = net.lower(BLOCKS)?;
    net.finish(map, BLOCKS, Some(published))
}

/// Writes the part of the trunk before block `cut`: `image` f32[1, 3, 224, 224] -> `features` f32[1, positions, channels].
///
/// # Errors
/// As [`write()`].
pub fn write_lower(weights: &Weights, cut: usize, precision: Precision) -> Result<Vec<u8>, EncoderError> {
    let folded = |layer: &Layer| folded(weights, layer);
    let mut net = Net::new(&folded, precision);
    let map = net.lower(cut)?;
    net.tokens(&map);
    Ok(net.graph.finish())
}

/// The whole trunk, of its part `lower` before block `cut` and what `upper` tells of the layers from there on; with the classifier of
/// `classifier`, where that is given and has one, as [`write()`] has it.
///
/// # Errors
/// When `lower` is not such a part, `upper` fails, or the classifier has another shape.
pub fn complete(
    lower: &[u8],
    cut: usize,
    upper: &dyn Fn(&Layer) -> Result<Convolution, EncoderError>,
    classifier: Option<&Weights>,
    precision: Precision,
) -> Result<Vec<u8>, EncoderError> {
    let blocks = blocks();
    let shape = lite0(Some(cut));
    let name = match cut.checked_sub(1).map(|last| &blocks[last]) {
        None => relu6_of(&stem().name),
        Some(block) if block.shortcut => output_of(cut - 1),
        Some(block) => block.project.name.clone(),
    };
    let graph = GraphBuilder::extend_at(lower, &name, GRAPH, precision)?;
    let net = Net { convolution: upper, graph };
    let map = Map { name, channels: shape.channels, size: shape.grid[0] };
    net.finish(map, cut, classifier)
}

/// The layer of the published checkpoint, with its BatchNorm.
///
/// # Errors
/// When the checkpoint lacks a tensor, or has one of another shape.
pub fn folded(weights: &Weights, layer: &Layer) -> Result<Convolution, EncoderError> {
    fold(weights, &layer.name, &layer.norm, layer.shape())
}

/// The classifier's weights in the checkpoint.
const CLASSIFIER: &str = "_fc.weight";

/// The graph's name.
const GRAPH: &str = "efficientnet-lite0";

fn relu6_of(name: &str) -> String {
    format!("{name}.relu6")
}

fn output_of(block: usize) -> String {
    format!("_blocks.{block}.output")
}

/// A feature map in the graph: f32[1, channels, size, size].
struct Map {
    name: String,
    channels: usize,
    size: usize,
}

struct Net<'a> {
    convolution: &'a dyn Fn(&Layer) -> Result<Convolution, EncoderError>,
    graph: GraphBuilder,
}

impl<'a> Net<'a> {
    fn new(
        convolution: &'a dyn Fn(&Layer) -> Result<Convolution, EncoderError>,
        precision: Precision,
    ) -> Self {
        let mut graph = GraphBuilder::new(GRAPH, precision);
        graph.scalar("relu6.min", 0.0);
        graph.scalar("relu6.max", 6.0);
        graph.input("image", &[1.into(), 3.into(), IMAGE_SIZE.into(), IMAGE_SIZE.into()]);
        Self { convolution, graph }
    }

    /// The stem, and the blocks before `cut`.
    fn lower(&mut self, cut: usize) -> Result<Map, EncoderError> {
        let map = Map { name: "image".to_owned(), channels: 3, size: IMAGE_SIZE };
        let mut map = self.bounded(&map, &stem())?;
        for (index, block) in blocks()[..cut].iter().enumerate() {
            map = self.block(map, index, block)?;
        }
        Ok(map)
    }

    /// The blocks from `cut` on, and the convolution behind them.
    fn upper(&mut self, mut map: Map, cut: usize) -> Result<Map, EncoderError> {
        for (index, block) in blocks().iter().enumerate().skip(cut) {
            map = self.block(map, index, block)?;
        }
        self.bounded(&map, &top())
    }

    /// The finished trunk, from the map before block `cut` on.
    fn finish(mut self, map: Map, cut: usize, classifier: Option<&Weights>) -> Result<Vec<u8>, EncoderError> {
        let map = self.upper(map, cut)?;
        self.tokens(&map);
        self.classes_of(&map, classifier)?;
        Ok(self.graph.finish())
    }

    fn convolution(&mut self, x: &Map, layer: &Layer) -> Result<Map, EncoderError> {
        let Convolution { weight, bias } = (self.convolution)(layer)?;
        let name = &layer.name;
        let weight = self.graph.weight(&format!("{name}.weight"), &layer.shape(), &weight);
        let bias = self.graph.weight(&format!("{name}.bias"), &[layer.output], &bias);
        let (before, after) = layer.padding();
        let (before, after) = (before as i64, after as i64);
        let (side, stride) = (layer.kernel as i64, layer.stride as i64);
        let groups = if layer.depthwise { layer.input } else { 1 };
        let attributes = vec![
            int_attribute("group", groups as i64),
            ints_attribute("kernel_shape", &[side, side]),
            ints_attribute("strides", &[stride, stride]),
            ints_attribute("pads", &[before, before, after, after]),
        ];
        let name = self.graph.node_with("Conv", &[&x.name, &weight, &bias], name, attributes);
        Ok(Map { name, channels: layer.output, size: layer.output_size() })
    }

    /// A convolution whose output is cut to 0 … 6.
    fn bounded(&mut self, x: &Map, layer: &Layer) -> Result<Map, EncoderError> {
        let x = self.convolution(x, layer)?;
        let name = self.graph.node("Clip", &[&x.name, "relu6.min", "relu6.max"], &relu6_of(&x.name));
        Ok(Map { name, ..x })
    }

    fn block(&mut self, x: Map, index: usize, block: &Block) -> Result<Map, EncoderError> {
        let expanded = block.expand.as_ref().map(|layer| self.bounded(&x, layer)).transpose()?;
        let y = self.bounded(expanded.as_ref().unwrap_or(&x), &block.depthwise)?;
        let mut y = self.convolution(&y, &block.project)?;
        if block.shortcut {
            y.name = self.graph.node("Add", &[&y.name, &x.name], &output_of(index));
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

    /// The output `classes`, where the checkpoint has a classifier. It stands behind `features`, so that whoever goes on from there
    /// ([`GraphBuilder::extend_at`]) chooses whether it stays.
    fn classes_of(&mut self, x: &Map, weights: Option<&Weights>) -> Result<(), EncoderError> {
        match weights {
            Some(weights) if weights.contains_key(CLASSIFIER) => self.classifier(x, weights, "classes"),
            _ => Ok(()),
        }
    }

    /// The output `name` f32[1, 1000]: W mean_i f_i + b, for the map's positions f.
    fn classifier(&mut self, x: &Map, weights: &Weights, name: &str) -> Result<(), EncoderError> {
        let weight = tensor(weights, CLASSIFIER, &[CLASSES, x.channels])?;
        let bias = tensor(weights, "_fc.bias", &[CLASSES])?;
        let weight = self.graph.weight(CLASSIFIER, &[CLASSES, x.channels], weight);
        let bias = self.graph.weight("_fc.bias", &[CLASSES], bias);
        let pooled = self.graph.node("GlobalAveragePool", &[&x.name], "pooled");
        let shape = self.graph.integers("pooled.shape", &[1, x.channels as i64]);
        let pooled = self.graph.node("Reshape", &[&pooled, &shape], "pooled.flat");
        let transposed = vec![int_attribute("transB", 1)];
        self.graph.node_with("Gemm", &[&pooled, &weight, &bias], name, transposed);
        self.graph.output(name, &[1.into(), CLASSES.into()]);
        Ok(())
    }
}
