//! The trunk's last blocks in candle, for a run that learns them together with the captioner.
//!
//! Maps are `[pictures, rows, columns, channels]` here, so that a 1x1 convolution is one matrix product. BatchNorm stays
//! folded into the convolutions, its statistics those of ImageNet.

use candle_core::{Result, Tensor};

use super::checkpoint::Weights;
use super::lite0::{Block, Layer, blocks, folded, top};
use super::{Convolution, EncoderError};
use crate::captioner::ops::{Window, depthwise};

/// The convolutions from block `cut` on, in order.
#[must_use]
pub fn layers(cut: usize) -> Vec<Layer> {
    let mut layers: Vec<Layer> = blocks()[cut..].iter().flat_map(Block::layers).cloned().collect();
    layers.push(top());
    layers
}

/// The name of a layer's `part`, `weight` or `bias`, among the captioner's parameters.
#[must_use]
pub fn parameter(layer: &Layer, part: &str) -> String {
    format!("{PREFIX}{}.{part}", layer.name)
}

/// What the names of the trunk's parameters begin with.
pub const PREFIX: &str = "trunk.";

/// Whether there is a parameter of the first layer from block `cut` on; `has` tells of a name.
pub fn begins_at(cut: usize, has: impl Fn(&str) -> bool) -> bool {
    blocks()[cut].layers().next().is_some_and(|layer| has(&parameter(layer, "weight")))
}

/// The shape of a layer's weight: `[in, out]`, or `[kernel * kernel, channels]` of a depthwise one.
#[must_use]
pub fn shape(layer: &Layer) -> [usize; 2] {
    if layer.depthwise { [layer.kernel * layer.kernel, layer.output] } else { [layer.input, layer.output] }
}

/// Rows and columns swapped, of a row-major matrix with `columns` columns.
fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| matrix[column..].iter().step_by(columns).copied()).collect()
}

/// A layer of the published checkpoint: its weight of [`shape`], and its bias `[out]`.
///
/// # Errors
/// When the checkpoint lacks a tensor, or has one of another shape.
pub fn published(weights: &Weights, layer: &Layer) -> std::result::Result<[Vec<f32>; 2], EncoderError> {
    let Convolution { weight, bias } = folded(weights, layer)?;
    // PyTorch has the output's channels first.
    Ok([transposed(&weight, shape(layer)[0]), bias])
}

/// A learned layer as ONNX has it; `get` finds a parameter by its name.
///
/// # Errors
/// When a tensor cannot be read.
pub fn convolution<'a>(layer: &Layer, get: impl Fn(&str) -> &'a Tensor) -> Result<Convolution> {
    let weight: Vec<f32> = get(&parameter(layer, "weight")).flatten_all()?.to_vec1()?;
    let bias = get(&parameter(layer, "bias")).to_vec1()?;
    Ok(Convolution { weight: transposed(&weight, layer.output), bias })
}

/// From the map `[pictures, positions, channels]` before block `cut` to the features `[pictures, 49, 1280]`; `get` finds a
/// parameter by its name.
///
/// # Errors
/// When shapes do not fit.
pub fn forward<'a>(map: &Tensor, cut: usize, get: &dyn Fn(&str) -> &'a Tensor) -> Result<Tensor> {
    let (pictures, positions, channels) = map.dims3()?;
    let [size, _] = super::lite0(Some(cut)).grid;
    if size * size != positions {
        candle_core::bail!("{positions} positions before block {cut} of the trunk, needed {}", size * size);
    }
    let net = Net { get };
    let mut x = map.reshape((pictures, size, size, channels))?;
    for block in &blocks()[cut..] {
        x = net.block(&x, block)?;
    }
    net.bounded(&x, &top())?.flatten(1, 2)
}

struct Net<'f, 'a> {
    get: &'f dyn Fn(&str) -> &'a Tensor,
}

impl Net<'_, '_> {
    fn convolution(&self, x: &Tensor, layer: &Layer) -> Result<Tensor> {
        let weight = (self.get)(&parameter(layer, "weight"));
        let bias = (self.get)(&parameter(layer, "bias"));
        if layer.depthwise {
            let Layer { kernel, stride, size, .. } = *layer;
            let window = Window { kernel, stride, padding: layer.padding(), size };
            return depthwise(x, weight, window)?.broadcast_add(bias);
        }
        let (pictures, rows, columns, channels) = x.dims4()?;
        let flat = x.reshape((pictures * rows * columns, channels))?;
        flat.matmul(weight)?.broadcast_add(bias)?.reshape((pictures, rows, columns, layer.output))
    }

    fn bounded(&self, x: &Tensor, layer: &Layer) -> Result<Tensor> {
        self.convolution(x, layer)?.clamp(0.0_f32, 6.0_f32)
    }

    fn block(&self, x: &Tensor, block: &Block) -> Result<Tensor> {
        let expanded = block.expand.as_ref().map(|layer| self.bounded(x, layer)).transpose()?;
        let y = self.bounded(expanded.as_ref().unwrap_or(x), &block.depthwise)?;
        let y = self.convolution(&y, &block.project)?;
        if block.shortcut { y + x } else { Ok(y) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::HashMap;

    use candle_core::Device;
    use metalens::engine::{self, Graph, Input, Output};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::super::checkpoint::Weight;
    use super::super::lite0::stem;
    use super::super::{complete, lite0, towards_bundle, write_lower};
    use super::*;
    use crate::onnx::Precision;

    /// A checkpoint of chance, whose maps keep their size from layer to layer.
    fn weights(seed: u64) -> Weights {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut weights = Weights::new();
        let mut layers = vec![stem()];
        layers.extend(blocks().iter().flat_map(Block::layers).cloned());
        layers.push(top());
        for layer in layers {
            let shape = layer.shape();
            let fan_in = shape[1..].iter().product::<usize>() as f32;
            let mut vector = |count: usize, middle: f32, spread: f32| {
                (0..count).map(|_| middle + spread * (rng.random::<f32>() * 2.0 - 1.0)).collect::<Vec<_>>()
            };
            let bound = (6.0 / fan_in).sqrt();
            let data = vector(shape.iter().product(), 0.0, bound);
            weights.insert(format!("{}.weight", layer.name), Weight { shape: shape.to_vec(), data });
            for (part, middle, spread) in [
                ("weight", 1.0, 0.2),
                ("bias", 0.5, 0.5),
                ("running_mean", 0.0, 0.2),
                ("running_var", 1.0, 0.3),
            ] {
                let data = vector(layer.output, middle, spread);
                weights.insert(format!("{}.{part}", layer.norm), Weight { shape: vec![layer.output], data });
            }
        }
        weights
    }

    fn run(graph: &[u8], image: &[f32], output: [usize; 3]) -> Vec<f32> {
        let graph = Graph::load(
            graph,
            "trunk",
            &[Input::F32("image", &[1, 3, 224, 224])],
            &[Output("features", &output)],
        )
        .unwrap();
        let mut session = graph.session().unwrap();
        session.set(0, image).unwrap();
        session.run().unwrap();
        session.output(0).unwrap().to_vec()
    }

    #[test]
    fn the_learned_blocks_make_what_the_graph_completed_with_them_makes() {
        const CUT: usize = 10;
        let weights = weights(5);
        let parameters: HashMap<String, Tensor> = layers(CUT)
            .iter()
            .flat_map(|layer| {
                let [weight, bias] = published(&weights, layer).unwrap();
                let weight = Tensor::from_vec(weight, &shape(layer)[..], &Device::Cpu).unwrap();
                let bias = Tensor::from_vec(bias, layer.output, &Device::Cpu).unwrap();
                [(parameter(layer, "weight"), weight), (parameter(layer, "bias"), bias)]
            })
            .collect();
        let lower = write_lower(&weights, CUT, Precision::F32).unwrap();
        let upper = |layer: &Layer| Ok(convolution(layer, |name| &parameters[name])?);
        let whole = complete(&lower, CUT, &upper, None, Precision::F32).unwrap();

        let image: Vec<f32> = (0..3 * 224 * 224_u64).map(|i| ((i * i % 1013) as f32 / 506.5) - 1.0).collect();
        let cut = lite0(Some(CUT));
        let map = run(&lower, &image, [1, cut.positions(), cut.channels]);
        let map = Tensor::from_vec(map, (1, cut.positions(), cut.channels), &Device::Cpu).unwrap();
        let features = forward(&map, CUT, &|name| &parameters[name]).unwrap();
        let found: Vec<f32> = features.flatten_all().unwrap().to_vec1().unwrap();
        let expected = run(&whole, &image, [1, 49, 1280]);
        let largest = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(expected.iter().any(|&x| x > 0.5 && x < 5.5), "the maps have died");
        assert!(largest < 1e-3, "{largest}");
        // And what is completed with the published layers is the published trunk.
        let published = super::super::write(&weights, super::super::Output::Trunk, Precision::F32).unwrap();
        assert_eq!(run(&published, &image, [1, 49, 1280]), expected);
    }

    #[test]
    fn a_trunk_goes_part_of_the_way_to_a_bundles() {
        let (published, other) = (weights(5), weights(6));
        let encoder = super::super::write(&other, super::super::Output::Trunk, Precision::F16).unwrap();
        let between = towards_bundle(&published, &encoder, 0.25, Precision::F32).unwrap();
        let blended = engine::constants(&between, "trunk").unwrap();
        for layer in layers(0) {
            let (own, others) = (folded(&published, &layer).unwrap(), folded(&other, &layer).unwrap());
            let found = &blended[&format!("{}.weight", layer.name)];
            assert_eq!(found.shape[..], layer.shape());
            for (place, found) in found.values.iter().enumerate() {
                let expected = 0.75 * own.weight[place] + 0.25 * others.weight[place];
                assert!((found - expected).abs() < 1e-3, "{} {place}: {found} {expected}", layer.name);
            }
        }
        let lower = write_lower(&other, 3, Precision::F16).unwrap();
        let refused = towards_bundle(&published, &lower, 0.25, Precision::F32).unwrap_err().to_string();
        assert_eq!(refused, "no tensor _blocks.3._expand_conv.weight; this is not an EfficientNet-Lite0");
    }
}
