//! The captioner's equations as three ONNX graphs: encoder, decoder step and head.

use candle_core::{Device, Result, Tensor};

use crate::captioner::{LAYER_NORM_EPSILON, Parameters};
use crate::onnx::{Axis, GraphBuilder, NotAGraph, Precision, float_attribute, int_attribute, ints_attribute};

/// A batch that the caller chooses: the beam's width.
const BATCH: Axis = Axis::Named("B");
/// As many rows as the caller has.
const ROWS: Axis = Axis::Named("N");

/// Why a graph could not be written.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    /// The trunk is no ONNX model.
    #[error("trunk: {0}")]
    Trunk(#[from] NotAGraph),
    /// A parameter could not be read.
    #[error("parameters: {0}")]
    Parameters(#[from] candle_core::Error),
}

/// The size of one picture's feature map.
#[derive(Clone, Copy, Debug)]
pub struct Positions(pub usize);

struct Writer<'a> {
    graph: GraphBuilder,
    parameters: &'a Parameters,
}

impl Writer<'_> {
    /// Stores the parameter under its own name.
    fn parameter(&mut self, name: &str) -> Result<String> {
        let tensor = self.parameters.get(name);
        let data: Vec<f32> = tensor.flatten_all()?.to_device(&Device::Cpu)?.to_vec1()?;
        Ok(self.graph.weight(name, tensor.dims(), &data))
    }

    /// x W + b, for W `[in, out]`.
    fn linear(&mut self, x: &str, layer: &str, output: &str) -> Result<String> {
        let weight = self.parameter(&format!("{layer}.weight"))?;
        let bias = self.parameter(&format!("{layer}.bias"))?;
        let product = self.graph.node("MatMul", &[x, &weight], &format!("{output}.product"));
        Ok(self.graph.node("Add", &[&product, &bias], output))
    }
}

/// encoder.onnx: `image` f32[1, 3, height, width] -> `tokens` f32[1, 49, token], `keys` f32[1, 49, key], `state`
/// f32[1, state], the decoder's initial state.
///
/// `trunk` ends in the value `features` f32[1, 49, trunk].
///
/// # Errors
/// When the trunk is no ONNX model.
pub fn encoder(
    trunk: &[u8],
    positions: Positions,
    parameters: &Parameters,
    precision: Precision,
) -> std::result::Result<Vec<u8>, GraphError> {
    projected(GraphBuilder::extend(trunk, "encoder", precision)?, positions, parameters)
}

/// encoder.onnx `of` with other parameters behind its trunk.
///
/// # Errors
/// When it is no encoder that [`encoder`] wrote.
pub fn encoder_with(
    of: &[u8],
    positions: Positions,
    parameters: &Parameters,
    precision: Precision,
) -> std::result::Result<Vec<u8>, GraphError> {
    projected(GraphBuilder::extend_at(of, "features", "encoder", precision)?, positions, parameters)
}

fn projected(
    graph: GraphBuilder,
    positions: Positions,
    parameters: &Parameters,
) -> std::result::Result<Vec<u8>, GraphError> {
    let mut w = Writer { graph, parameters };
    let sizes = parameters.sizes;
    let projected = w.linear("features", "projection", "projected")?;
    let scale = w.parameter("norm.weight")?;
    let shift = w.parameter("norm.bias")?;
    let attributes = vec![int_attribute("axis", -1), float_attribute("epsilon", LAYER_NORM_EPSILON as f32)];
    w.graph.node_with("LayerNormalization", &[&projected, &scale, &shift], "tokens", attributes);
    let key = w.parameter("key.weight")?;
    w.graph.node("MatMul", &["tokens", &key], "keys");
    let attributes = vec![ints_attribute("axes", &[1]), int_attribute("keepdims", 0)];
    w.graph.node_with("ReduceMean", &["tokens"], "tokens.mean", attributes);
    let start = w.linear("tokens.mean", "start", "start")?;
    w.graph.node("Tanh", &[&start], "state");
    let Positions(positions) = positions;
    w.graph.output("tokens", &[1.into(), positions.into(), sizes.token.into()]);
    w.graph.output("keys", &[1.into(), positions.into(), sizes.key.into()]);
    w.graph.output("state", &[1.into(), sizes.state.into()]);
    Ok(w.graph.finish())
}

/// decoder.onnx: `word i64[B]`, `state f32[B, state]`, `tokens f32[1, 49, token]`, `keys f32[1, 49, key]` ->
/// `next_state f32[B, state]`, `z f32[B, feature]`, `attention f32[B, 49]`.
///
/// Word ids from the vocabulary's size on are slots; all of them read the unknown word's embedding.
///
/// # Errors
/// When a parameter cannot be read.
pub fn decoder(
    positions: Positions,
    slots: usize,
    unknown: u32,
    parameters: &Parameters,
    precision: Precision,
) -> std::result::Result<Vec<u8>, GraphError> {
    let mut w = Writer { graph: GraphBuilder::new("decoder", precision), parameters };
    let sizes = parameters.sizes;
    let Positions(positions) = positions;
    w.graph.input_i64("word", &[BATCH]);
    w.graph.input("state", &[BATCH, sizes.state.into()]);
    w.graph.input("tokens", &[1.into(), positions.into(), sizes.token.into()]);
    w.graph.input("keys", &[1.into(), positions.into(), sizes.key.into()]);

    let table = embeddings(parameters, slots, unknown)?;
    let table = w.graph.weight("word.weight", &[sizes.vocabulary + slots, sizes.word], &table);
    let word = w.graph.node_with("Gather", &[&table, "word"], "e", vec![int_attribute("axis", 0)]);

    // a = softmax(w . tanh(k + W_q h)), c = a v
    let query = w.linear("state", "query", "query")?;
    let middle = w.graph.integers("axis.1", &[1]);
    let query = w.graph.node("Unsqueeze", &[&query, &middle], "query.row");
    let sum = w.graph.node("Add", &["keys", &query], "energy.sum");
    let energy = w.graph.node("Tanh", &[&sum], "energy.tanh");
    let vector = w.parameters.get("energy.weight").to_vec1::<f32>()?;
    let vector = w.graph.weight("energy.weight", &[sizes.key, 1], &vector);
    let scores = w.graph.node("MatMul", &[&energy, &vector], "scores.column");
    let last = w.graph.integers("axis.2", &[2]);
    let scores = w.graph.node("Squeeze", &[&scores, &last], "scores");
    w.graph.node_with("Softmax", &[&scores], "attention", vec![int_attribute("axis", -1)]);
    let flat = w.graph.integers("tokens.flat", &[positions as i64, sizes.token as i64]);
    let tokens = w.graph.node("Reshape", &["tokens", &flat], "tokens.matrix");
    let context = w.graph.node("MatMul", &["attention", &tokens], "c");

    // h' = n + u (h - n)
    let input = w.graph.node_with("Concat", &[&word, &context], "gru.in", vec![int_attribute("axis", 1)]);
    let x = w.linear(&input, "gru.input", "gru.x")?;
    let y = w.linear("state", "gru.state", "gru.y")?;
    let gates = |name: &str| [format!("{name}.r"), format!("{name}.u"), format!("{name}.n")];
    let (xs, ys) = (gates("x"), gates("y"));
    let thirds = w.graph.integers("gru.split", &[sizes.state as i64; 3]);
    for (source, parts) in [(&x, &xs), (&y, &ys)] {
        let outputs: Vec<&str> = parts.iter().map(String::as_str).collect();
        w.graph.node_many("Split", &[source, &thirds], &outputs, vec![int_attribute("axis", 1)]);
    }
    let r = w.graph.node("Add", &[&xs[0], &ys[0]], "r.sum");
    let r = w.graph.node("Sigmoid", &[&r], "r");
    let u = w.graph.node("Add", &[&xs[1], &ys[1]], "u.sum");
    let u = w.graph.node("Sigmoid", &[&u], "u");
    let reset = w.graph.node("Mul", &[&r, &ys[2]], "n.reset");
    let n = w.graph.node("Add", &[&xs[2], &reset], "n.sum");
    let n = w.graph.node("Tanh", &[&n], "n");
    let change = w.graph.node("Sub", &["state", &n], "change");
    let kept = w.graph.node("Mul", &[&u, &change], "kept");
    let next = w.graph.node("Add", &[&n, &kept], "next_state");
    w.graph.node_with("Concat", &[&next, &context, &word], "z", vec![int_attribute("axis", 1)]);

    w.graph.output("next_state", &[BATCH, sizes.state.into()]);
    w.graph.output("z", &[BATCH, sizes.feature().into()]);
    w.graph.output("attention", &[BATCH, positions.into()]);
    Ok(w.graph.finish())
}

/// The word embeddings, followed by one row a slot.
fn embeddings(parameters: &Parameters, slots: usize, unknown: u32) -> Result<Vec<f32>> {
    let table: Tensor = parameters.get("word.weight").clone();
    let mut rows: Vec<f32> = table.flatten_all()?.to_vec1()?;
    let slot: Vec<f32> = table.get(unknown as usize)?.to_vec1()?;
    for _ in 0..slots {
        rows.extend_from_slice(&slot);
    }
    Ok(rows)
}

/// The logit of a slot that no word has taken: low enough never to be said, even by a reader that does not mask it.
const FREE_SLOT_BIAS: f32 = -1e4;

/// head.onnx: `z` f32[N, feature] -> `logits` f32[N, vocabulary + slots].
///
/// Its initializers `head.fc1.weight` [hidden, feature], `head.fc1.bias`, `head.fc2.weight` [vocabulary + slots,
/// hidden] and `head.fc2.bias` are where adaptation starts. At half precision the weights' initializers are called
/// `head.fc1.weight.f16` and `head.fc2.weight.f16`, and are cast to values of the names above.
///
/// # Errors
/// When a parameter cannot be read.
pub fn head(
    slots: usize,
    parameters: &Parameters,
    precision: Precision,
) -> std::result::Result<Vec<u8>, GraphError> {
    let mut w = Writer { graph: GraphBuilder::new("head", precision), parameters };
    let sizes = parameters.sizes;
    w.graph.input("z", &[ROWS, sizes.feature().into()]);
    let transposed = || vec![int_attribute("transB", 1)];
    let weight = w.parameter("head.fc1.weight")?;
    let bias = w.parameter("head.fc1.bias")?;
    let hidden = w.graph.node_with("Gemm", &["z", &weight, &bias], "hidden.sum", transposed());
    // silu(x) = x sigmoid(x)
    let gate = w.graph.node("Sigmoid", &[&hidden], "hidden.gate");
    let hidden = w.graph.node("Mul", &[&hidden, &gate], "hidden");
    let words = sizes.vocabulary + slots;
    let mut rows: Vec<f32> = parameters.get("head.fc2.weight").flatten_all()?.to_vec1()?;
    rows.resize(words * sizes.hidden, 0.0);
    let mut bias: Vec<f32> = parameters.get("head.fc2.bias").to_vec1()?;
    bias.resize(words, FREE_SLOT_BIAS);
    let weight = w.graph.weight("head.fc2.weight", &[words, sizes.hidden], &rows);
    let bias = w.graph.weight("head.fc2.bias", &[words], &bias);
    w.graph.node_with("Gemm", &[&hidden, &weight, &bias], "logits", transposed());
    w.graph.output("logits", &[ROWS, words.into()]);
    Ok(w.graph.finish())
}
