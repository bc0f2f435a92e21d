//! The captioner's equations as three ONNX graphs: encoder, decoder step and head.

use candle_core::{Device, Result, Tensor};
use metalens::engine;
use ndarray::{Array1, Array2, ArrayView2, concatenate};

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

/// Numbers of `pointer` for each hypothesis.
const POINTERS: usize = 2;

/// The type of 32-bit floats, as `Cast` names it.
const ONNX_FLOAT: i64 = 1;

/// The size of one picture's feature map.
#[derive(Clone, Copy, Debug)]
pub struct Positions(pub usize);

/// Phi, the vector of a picture from which evidence is computed.
///
/// ```text
/// phi = ([mean_i f_i ; max_i f_i] R - m) / s      where f [49, trunk] is the trunk's map; without R as it is
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Phi {
    /// R `[2 trunk, phi]`.
    pub projection: Option<Array2<f32>>,
    /// m `[phi]`.
    pub mean: Array1<f32>,
    /// s `[phi]`.
    pub spread: Array1<f32>,
}

impl Phi {
    /// Its width.
    #[must_use]
    pub fn width(&self) -> usize {
        self.mean.len()
    }

    /// That of a trunk's map `[positions, trunk]`.
    ///
    /// # Panics
    /// When the map is of another trunk than R.
    #[must_use]
    pub fn of(&self, map: &ArrayView2<f32>) -> Array1<f32> {
        let over_positions = ndarray::Axis(0);
        let average = map.sum_axis(over_positions) / map.nrows().max(1) as f32;
        let highest = map.fold_axis(over_positions, f32::NEG_INFINITY, |highest, x| highest.max(*x));
        let pooled = concatenate![over_positions, average, highest];
        let projected = self.projection.as_ref().map_or_else(|| pooled.clone(), |r| pooled.dot(r));
        (projected - &self.mean) / &self.spread
    }

    /// That of an encoder's graph; none where it makes no phi.
    ///
    /// # Errors
    /// When the bytes are no graph.
    pub fn of_encoder(bytes: &[u8]) -> anyhow::Result<Option<Self>> {
        let mut constants = engine::constants(bytes, "encoder")?;
        let mut vector = |name| constants.remove(name).map(|constant| Array1::from_vec(constant.values));
        let (Some(mean), Some(spread)) = (vector(PHI_MEAN), vector(PHI_SPREAD)) else { return Ok(None) };
        let projection = constants.remove(PHI_PROJECTION).map(|constant| {
            Array2::from_shape_vec((constant.values.len() / mean.len(), mean.len()), constant.values)
        });
        Ok(Some(Self { projection: projection.transpose()?, mean, spread }))
    }
}

/// Names of the constants of phi.
const PHI_PROJECTION: &str = "phi.projection";
const PHI_MEAN: &str = "phi.mean";
const PHI_SPREAD: &str = "phi.spread";

/// What an encoder makes beside what every decoder needs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside<'a> {
    /// Phi.
    pub phi: Option<&'a Phi>,
    /// The logits of so many classes, which the trunk tells beside its features; 0 where they are not wanted.
    pub classes: usize,
}

impl Beside<'_> {
    /// The values of the trunk that an encoder needs.
    fn values(&self) -> &'static [&'static str] {
        if self.classes > 0 { &["features", "classes"] } else { &["features"] }
    }
}

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

    /// LayerNorm over the last axis, with the scale and shift called `layer`.
    fn normal(&mut self, x: &str, layer: &str, output: &str) -> Result<String> {
        let scale = self.parameter(&format!("{layer}.weight"))?;
        let shift = self.parameter(&format!("{layer}.bias"))?;
        let attributes =
            vec![int_attribute("axis", -1), float_attribute("epsilon", LAYER_NORM_EPSILON as f32)];
        Ok(self.graph.node_with("LayerNormalization", &[x, &scale, &shift], output, attributes))
    }

    /// The output `phi` of the trunk's `features`.
    fn phi(&mut self, phi: &Phi, trunk: usize) {
        let over_positions = || vec![ints_attribute("axes", &[1]), int_attribute("keepdims", 0)];
        let graph = &mut self.graph;
        graph.node_with("ReduceMean", &["features"], "phi.average", over_positions());
        graph.node_with("ReduceMax", &["features"], "phi.highest", over_positions());
        let joined = vec![int_attribute("axis", 1)];
        let mut value = graph.node_with("Concat", &["phi.average", "phi.highest"], "phi.pooled", joined);
        if let Some(projection) = &phi.projection {
            let data: Vec<f32> = projection.iter().copied().collect();
            let weight = graph.weight(PHI_PROJECTION, &[2 * trunk, phi.width()], &data);
            value = graph.node("MatMul", &[&value, &weight], "phi.projected");
        }
        let mean = graph.weight(PHI_MEAN, &[phi.width()], &phi.mean.to_vec());
        let spread = graph.weight(PHI_SPREAD, &[phi.width()], &phi.spread.to_vec());
        value = graph.node("Sub", &[&value, &mean], "phi.centred");
        graph.node("Div", &[&value, &spread], "phi");
        graph.output("phi", &[1.into(), phi.width().into()]);
    }
}

/// encoder.onnx: `image` f32[1, 3, height, width] -> `tokens` f32[1, 49, token], `keys` f32[1, 49, key], `state`
/// f32[1, state], the decoder's initial state; and `phi` f32[1, phi] and `classes` f32[1, classes] where they are asked for.
///
/// `trunk` makes the value `features` f32[1, 49, trunk], and may make `classes`.
///
/// # Errors
/// When the trunk is no ONNX model, or does not make what it should.
pub fn encoder(
    trunk: &[u8],
    positions: Positions,
    parameters: &Parameters,
    beside: Beside,
    precision: Precision,
) -> std::result::Result<Vec<u8>, GraphError> {
    let trunk = GraphBuilder::extend_behind(trunk, beside.values(), "encoder", precision)?;
    projected(trunk, positions, parameters, beside)
}

fn projected(
    graph: GraphBuilder,
    positions: Positions,
    parameters: &Parameters,
    beside: Beside,
) -> std::result::Result<Vec<u8>, GraphError> {
    let mut w = Writer { graph, parameters };
    let sizes = parameters.sizes;
    let projected = w.linear("features", "projection", "projected")?;
    w.normal(&projected, "norm", "tokens")?;
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
    if let Some(phi) = beside.phi {
        w.phi(phi, sizes.trunk);
    }
    if beside.classes > 0 {
        w.graph.output("classes", &[1.into(), beside.classes.into()]);
    }
    Ok(w.graph.finish())
}

/// decoder.onnx: `word i64[B]`, `state f32[B, state]`, `tokens f32[1, 49, token]`, `keys f32[1, 49, key]` ->
/// `next_state f32[B, state]`, `z f32[B, feature]`, `attention f32[B, 49 + concepts]`.
///
/// A captioner with concepts takes so many of them, `concepts i64[1, concepts]` (0: none) and `confidence f32[1, concepts]`, looks at
/// them behind the positions, and makes `pointer f32[B, 2]`.
///
/// Word ids from the vocabulary's size on are slots; all of them read one embedding, the slot's own or the unknown word's.
///
/// # Errors
/// When a parameter cannot be read.
pub fn decoder(
    positions: Positions,
    slots: usize,
    unknown: u32,
    concepts: usize,
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

    let (mut keys, mut tokens, mut barred) = ("keys".to_owned(), "tokens".to_owned(), None);
    if concepts > 0 {
        let seen = w.concepts(&table, positions, concepts)?;
        (keys, tokens, barred) = (seen.keys, seen.tokens, Some(seen.barred));
    }
    let places = positions + concepts;
    // a = softmax(w . tanh(k + W_q h)), c = a v
    let query = w.linear("state", "query", "query")?;
    let middle = w.graph.integers("axis.1", &[1]);
    let query = w.graph.node("Unsqueeze", &[&query, &middle], "query.row");
    let sum = w.graph.node("Add", &[&keys, &query], "energy.sum");
    let energy = w.graph.node("Tanh", &[&sum], "energy.tanh");
    let vector = w.parameters.get("energy.weight").to_vec1::<f32>()?;
    let vector = w.graph.weight("energy.weight", &[sizes.key, 1], &vector);
    let scores = w.graph.node("MatMul", &[&energy, &vector], "scores.column");
    let last = w.graph.integers("axis.2", &[2]);
    let mut scores = w.graph.node("Squeeze", &[&scores, &last], "scores");
    if let Some(barred) = barred {
        scores = w.graph.node("Add", &[&scores, &barred], "scores.barred");
    }
    w.graph.node_with("Softmax", &[&scores], "attention", vec![int_attribute("axis", -1)]);
    let flat = w.graph.integers("tokens.flat", &[places as i64, sizes.token as i64]);
    let tokens = w.graph.node("Reshape", &[&tokens, &flat], "tokens.matrix");
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
    w.graph.output("attention", &[BATCH, places.into()]);
    if concepts > 0 {
        w.linear("z", "pointer", "pointer")?;
        w.graph.output("pointer", &[BATCH, POINTERS.into()]);
    }
    Ok(w.graph.finish())
}

/// What the decoder looks at where there are concepts: those behind the positions.
struct Seen {
    /// f32[1, 49 + concepts, key].
    keys: String,
    /// f32[1, 49 + concepts, token].
    tokens: String,
    /// f32[1, 49 + concepts]: what is added to the scores of places, so that empty ones have no weight.
    barred: String,
}

/// What is added to the score of an empty place.
const EMPTY: f32 = -1e4;

impl Writer<'_> {
    /// c_k = LayerNorm(W_c [embedding(word_k) ; confidence_k] + b_c) behind the visual tokens, and their keys W_k c_k.
    fn concepts(&mut self, table: &str, positions: usize, concepts: usize) -> Result<Seen> {
        let graph = &mut self.graph;
        graph.input_i64("concepts", &[1.into(), concepts.into()]);
        graph.input("confidence", &[1.into(), concepts.into()]);
        let word =
            graph.node_with("Gather", &[table, "concepts"], "concept.word", vec![int_attribute("axis", 0)]);
        let column = graph.integers("concept.column", &[2]);
        let confidence = graph.node("Unsqueeze", &["confidence", &column], "concept.confidence");
        let joined = vec![int_attribute("axis", 2)];
        let joined = graph.node_with("Concat", &[&word, &confidence], "concept.in", joined);
        let none = graph.integers("concept.none", &[0]);
        let is_empty = graph.node("Equal", &["concepts", &none], "concept.is_empty");
        let to = vec![int_attribute("to", ONNX_FLOAT)];
        let is_empty = graph.node_with("Cast", &[&is_empty], "concept.empty", to);
        let bar = graph.scalar("concept.bar", EMPTY);
        let barred = graph.node("Mul", &[&is_empty, &bar], "concept.barred");
        let free = graph.weight("position.free", &[1, positions], &vec![0.0; positions]);
        let behind = || vec![int_attribute("axis", 1)];
        let barred = graph.node_with("Concat", &[&free, &barred], "barred", behind());

        let projected = self.linear(&joined, "concept", "concept.projected")?;
        let token = self.normal(&projected, "concept.norm", "concept.token")?;
        let weight = self.parameter("key.weight")?;
        let graph = &mut self.graph;
        let key = graph.node("MatMul", &[&token, &weight], "concept.key");
        let keys = graph.node_with("Concat", &["keys", &key], "keys.all", behind());
        let tokens = graph.node_with("Concat", &["tokens", &token], "tokens.all", behind());
        Ok(Seen { keys, tokens, barred })
    }
}

/// The word embeddings, followed by one row a slot.
fn embeddings(parameters: &Parameters, slots: usize, unknown: u32) -> Result<Vec<f32>> {
    let table: Tensor = parameters.get("word.weight").clone();
    let sizes = parameters.sizes;
    let mut rows: Vec<f32> = table.narrow(0, 0, sizes.vocabulary)?.flatten_all()?.to_vec1()?;
    let slot = if sizes.concepts { sizes.vocabulary } else { unknown as usize };
    let slot: Vec<f32> = table.get(slot)?.to_vec1()?;
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
    // Where slots were learned, the row behind the words is the one of all of them.
    let slot = rows.split_off(sizes.vocabulary * sizes.hidden);
    let slot = if slot.is_empty() { vec![0.0; sizes.hidden] } else { slot };
    rows.extend((0..slots).flat_map(|_| slot.iter()));
    let mut bias: Vec<f32> = parameters.get("head.fc2.bias").to_vec1()?;
    bias.truncate(sizes.vocabulary);
    bias.resize(words, FREE_SLOT_BIAS);
    let weight = w.graph.weight("head.fc2.weight", &[words, sizes.hidden], &rows);
    let bias = w.graph.weight("head.fc2.bias", &[words], &bias);
    w.graph.node_with("Gemm", &[&hidden, &weight, &bias], "logits", transposed());
    w.graph.output("logits", &[ROWS, words.into()]);
    Ok(w.graph.finish())
}
