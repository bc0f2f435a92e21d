//! Runs ONNX graphs: the one module that knows tract.
//!
//! A [`Graph`] is translated and optimised once, for inputs of fixed sizes; a [`Session`] runs it again and again on one
//! thread. Several sessions may share a graph.

use std::collections::HashMap;
use std::sync::Arc;

use tract_onnx::pb::{ModelProto, tensor_proto::DataType};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::plan::SimpleState;

type Plan = TypedRunnableModel;
type State = SimpleState<TypedFact, Box<dyn TypedOp>>;

/// Why a graph could not be loaded or run.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The bytes are no ONNX graph that tract can translate.
    #[error("{graph}: cannot be loaded: {reason}")]
    Load {
        /// Which graph.
        graph: String,
        /// What tract said.
        reason: String,
    },
    /// The graph has no such input or output.
    #[error("{graph}: has no {what} called {name}")]
    Missing {
        /// Which graph.
        graph: String,
        /// `input` or `output`.
        what: &'static str,
        /// The name that was looked for.
        name: String,
    },
    /// An output has another size than the manifest says.
    #[error("{graph}: output {name} has shape {found}, the manifest says {expected:?}")]
    Shape {
        /// Which graph.
        graph: String,
        /// Which output.
        name: String,
        /// Its shape in the graph.
        found: String,
        /// The shape that was asked for.
        expected: Vec<usize>,
    },
    /// Running failed.
    #[error("{graph}: {reason}")]
    Run {
        /// Which graph.
        graph: String,
        /// What tract said.
        reason: String,
    },
}

/// Name, type and shape of an input.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// 32-bit floats.
    F32(&'a str, &'a [usize]),
    /// 64-bit integers.
    I64(&'a str, &'a [usize]),
}

/// Name and shape of an output of 32-bit floats.
#[derive(Clone, Copy, Debug)]
pub struct Output<'a>(pub &'a str, pub &'a [usize]);

/// A graph, ready to run.
#[derive(Clone)]
pub struct Graph {
    name: Arc<str>,
    plan: Arc<Plan>,
    shapes: Vec<Vec<usize>>,
}

impl Graph {
    /// Translates the ONNX file `bytes`; `name` is for messages. Sizes that the graph leaves open are fixed to those of
    /// `inputs`. A session takes inputs and gives outputs in the order of these lists.
    ///
    /// # Errors
    /// When the bytes are no graph, or its inputs and outputs are not as asked for.
    pub fn load(bytes: &[u8], name: &str, inputs: &[Input], outputs: &[Output]) -> Result<Self, EngineError> {
        let load = |error: TractError| EngineError::Load { graph: name.to_owned(), reason: one_line(&error) };
        let missing = |what, wanted: &str| EngineError::Missing {
            graph: name.to_owned(),
            what,
            name: wanted.to_owned(),
        };
        let onnx = tract_onnx::onnx();
        let mut reader = bytes;
        let mut proto = onnx.proto_model_for_read(&mut reader).map_err(load)?;
        widen_weights(&mut proto);
        let mut model = onnx.model_for_proto_model(&proto).map_err(load)?;
        drop(proto);

        let mut order = Vec::with_capacity(inputs.len());
        let mut shapes = Vec::with_capacity(inputs.len());
        for input in inputs {
            let (wanted, fact, shape) = match *input {
                Input::F32(name, shape) => (name, f32::fact(shape), shape),
                Input::I64(name, shape) => (name, i64::fact(shape), shape),
            };
            let place = model
                .inputs
                .iter()
                .position(|outlet| model.node(outlet.node).name == wanted)
                .ok_or_else(|| missing("input", wanted))?;
            model.set_input_fact(place, fact.into()).map_err(load)?;
            order.push(model.inputs[place]);
            shapes.push(shape.to_vec());
        }
        model.inputs = order;

        let mut order = Vec::with_capacity(outputs.len());
        for Output(wanted, _) in outputs {
            let outlet = model.outputs.iter().find(|outlet| {
                model.outlet_label(**outlet) == Some(wanted) || model.node(outlet.node).name == *wanted
            });
            order.push(*outlet.ok_or_else(|| missing("output", wanted))?);
        }
        model.outputs = order;

        let model = model.into_optimized().map_err(load)?;
        for (place, Output(wanted, expected)) in outputs.iter().enumerate() {
            let fact = model.output_fact(place).map_err(load)?;
            if fact.shape.as_concrete() != Some(*expected) {
                return Err(EngineError::Shape {
                    graph: name.to_owned(),
                    name: (*wanted).to_owned(),
                    found: format!("{:?}", fact.shape),
                    expected: expected.to_vec(),
                });
            }
        }
        let plan = model.into_runnable().map_err(load)?;
        Ok(Self { name: name.into(), plan, shapes })
    }

    /// A session of its own for the calling thread.
    ///
    /// # Errors
    /// When tract cannot set it up.
    pub fn session(&self) -> Result<Session, EngineError> {
        let state = self
            .plan
            .spawn()
            .map_err(|error| EngineError::Run { graph: self.name.to_string(), reason: one_line(&error) })?;
        let inputs = vec![None; self.shapes.len()];
        Ok(Session { graph: self.clone(), state, inputs, outputs: TVec::new() })
    }
}

/// Runs a graph, over and over.
pub struct Session {
    graph: Graph,
    state: State,
    inputs: Vec<Option<TValue>>,
    outputs: TVec<TValue>,
}

impl Session {
    /// Sets an input of floats, row-major; it stays set for later runs.
    ///
    /// # Errors
    /// When there are more or fewer than the input's shape has.
    pub fn set(&mut self, input: usize, data: &[f32]) -> Result<(), EngineError> {
        self.set_tensor(input, Tensor::from_shape(&self.graph.shapes[input], data))
    }

    /// Sets an input of integers; it stays set for later runs.
    ///
    /// # Errors
    /// When there are more or fewer than the input's shape has.
    pub fn set_i64(&mut self, input: usize, data: &[i64]) -> Result<(), EngineError> {
        self.set_tensor(input, Tensor::from_shape(&self.graph.shapes[input], data))
    }

    fn set_tensor(&mut self, input: usize, tensor: TractResult<Tensor>) -> Result<(), EngineError> {
        self.inputs[input] = Some(tensor.map_err(|error| self.error(&error))?.into_tvalue());
        Ok(())
    }

    /// Runs the graph on the inputs that were set last.
    ///
    /// # Errors
    /// When an input was never set, or tract fails.
    pub fn run(&mut self) -> Result<(), EngineError> {
        let Some(inputs) = self.inputs.iter().cloned().collect::<Option<TVec<TValue>>>() else {
            return Err(EngineError::Run {
                graph: self.graph.name.to_string(),
                reason: "an input was not set".to_owned(),
            });
        };
        // Letting go of the last results first lets tract use their memory again.
        self.outputs.clear();
        self.outputs = self.state.run(inputs).map_err(|error| self.error(&error))?;
        Ok(())
    }

    /// An output of the last run, row-major.
    ///
    /// # Errors
    /// When nothing was run yet.
    pub fn output(&self, place: usize) -> Result<&[f32], EngineError> {
        let value = self.outputs.get(place).ok_or_else(|| EngineError::Run {
            graph: self.graph.name.to_string(),
            reason: format!("output {place} was asked for before a run"),
        })?;
        let view = value.try_as_plain_ram().map_err(|error| self.error(&error))?;
        view.as_slice::<f32>().map_err(|error| self.error(&error))
    }

    fn error(&self, error: &TractError) -> EngineError {
        EngineError::Run { graph: self.graph.name.to_string(), reason: one_line(error) }
    }
}

/// Turns f16 initializers that are only cast to f32 into f32 initializers. tract would cast, and pack for its matrix
/// kernels, in every run: it folds no cast that makes a constant larger.
fn widen_weights(model: &mut ModelProto) {
    let Some(graph) = &mut model.graph else { return };
    let (half, single) = (DataType::Float16 as i32, DataType::Float as i32);
    let mut widened = HashMap::new();
    graph.node.retain(|node| {
        let to_f32 = node.attribute.iter().any(|a| a.name == "to" && a.i == i64::from(single));
        let stored =
            graph.initializer.iter().any(|t| node.input.first() == Some(&t.name) && t.data_type == half);
        let folds = node.op_type == "Cast" && to_f32 && stored && node.output.len() == 1;
        if folds {
            widened.insert(node.input[0].clone(), node.output[0].clone());
        }
        !folds
    });
    for tensor in &mut graph.initializer {
        if let Some(name) = widened.remove(&tensor.name) {
            let raw = std::mem::take(&mut tensor.raw_data);
            tensor.raw_data = raw
                .as_chunks::<2>()
                .0
                .iter()
                .flat_map(|&bytes| half::f16::from_le_bytes(bytes).to_f32().to_le_bytes())
                .collect();
            tensor.data_type = single;
            tensor.name = name;
        }
    }
}

/// tract's errors are chains of several lines each.
fn one_line(error: &TractError) -> String {
    let causes: Vec<String> =
        error.chain().filter_map(|cause| cause.to_string().lines().next().map(str::to_owned)).collect();
    causes.join(": ")
}

/// Runs `f` with graphs using so many threads; one is the default.
pub fn with_threads<R>(threads: usize, f: impl FnOnce() -> R) -> R {
    use tract_linalg::multithread::{Executor, multithread_tract_scope};
    if threads > 1 { multithread_tract_scope(Executor::multithread(threads), f) } else { f() }
}

/// A constant of a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Constant {
    /// Its sizes.
    pub shape: Vec<usize>,
    /// Its numbers, row-major.
    pub values: Vec<f32>,
}

/// The floating-point constants of the ONNX file `bytes` by name; those stored at half precision under the name of the
/// value that they are cast to.
///
/// # Errors
/// When the bytes are no graph.
pub fn constants(bytes: &[u8], name: &str) -> Result<HashMap<String, Constant>, EngineError> {
    let mut reader = bytes;
    let mut proto = tract_onnx::onnx()
        .proto_model_for_read(&mut reader)
        .map_err(|error| EngineError::Load { graph: name.to_owned(), reason: one_line(&error) })?;
    widen_weights(&mut proto);
    let graph = proto.graph.unwrap_or_default();
    let floats = graph.initializer.into_iter().filter(|tensor| tensor.data_type == DataType::Float as i32);
    Ok(floats
        .map(|tensor| {
            let values = if tensor.raw_data.is_empty() {
                tensor.float_data
            } else {
                tensor.raw_data.as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
            };
            let shape = tensor.dims.iter().map(|&size| size as usize).collect();
            (tensor.name, Constant { shape, values })
        })
        .collect())
}
