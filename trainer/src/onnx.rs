//! Writes ONNX graphs with the protobuf types that tract re-exports.
//!
//! A [`GraphBuilder`] collects nodes in order; every method returns the name of the value it made, to be used as an
//! input of later nodes. Large weights may be stored as f16 followed by a `Cast` to f32, which every ONNX runtime
//! folds when it loads the graph: half the file, the same arithmetic.

use prost::Message;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto, attribute_proto::AttributeType, tensor_proto::DataType, tensor_shape_proto,
    type_proto,
};

/// The opset of every graph that Metalens writes; the first with `LayerNormalization`.
pub const OPSET: i64 = 17;

/// The intermediate representation that belongs to [`OPSET`].
const IR_VERSION: i64 = 8;

/// Tensors with fewer elements stay f32: biases and scales weigh nothing and are where rounding would show.
const SMALL: usize = 4096;

/// How large weights are stored in a graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Precision {
    /// As they are.
    F32,
    /// Rounded to half precision; the graph casts them back, so that arithmetic stays f32.
    F16,
}

/// One axis of a graph's input or output.
#[derive(Clone, Copy, Debug)]
pub enum Axis {
    /// A fixed size.
    Fixed(usize),
    /// A size that the caller chooses, by name.
    Named(&'static str),
}

impl From<usize> for Axis {
    fn from(size: usize) -> Self {
        Self::Fixed(size)
    }
}

/// Builds one ONNX graph, node by node, in execution order.
#[derive(Clone, Debug)]
pub struct GraphBuilder {
    graph: GraphProto,
    precision: Precision,
}

impl GraphBuilder {
    /// An empty graph called `name`, whose large weights are stored with `precision`.
    #[must_use]
    pub fn new(name: &str, precision: Precision) -> Self {
        let graph = GraphProto { name: name.to_owned(), ..GraphProto::default() };
        Self { graph, precision }
    }

    /// Continues a graph that was read from a file: its outputs become ordinary values.
    ///
    /// # Errors
    /// When the bytes are no ONNX model with a graph.
    pub fn extend(bytes: &[u8], name: &str, precision: Precision) -> Result<Self, NotAGraph> {
        let model = ModelProto::decode(bytes).map_err(|error| NotAGraph(error.to_string()))?;
        let mut graph = model.graph.ok_or_else(|| NotAGraph("it holds no graph".to_owned()))?;
        graph.name = name.to_owned();
        graph.output.clear();
        Ok(Self { graph, precision })
    }

    /// Continues a graph that was read from a file after the node that makes `value`: what comes behind it is dropped.
    ///
    /// # Errors
    /// When the bytes are no ONNX model with a graph that makes such a value.
    pub fn extend_at(bytes: &[u8], value: &str, name: &str, precision: Precision) -> Result<Self, NotAGraph> {
        Self::extend_behind(bytes, &[value], name, precision)
    }

    /// The same after the last of the nodes that make `values`.
    ///
    /// # Errors
    /// When the bytes are no ONNX model with a graph that makes such values.
    pub fn extend_behind(
        bytes: &[u8],
        values: &[&str],
        name: &str,
        precision: Precision,
    ) -> Result<Self, NotAGraph> {
        let mut this = Self::extend(bytes, name, precision)?;
        let graph = &mut this.graph;
        let mut last = 0;
        for value in values {
            let makes = |node: &NodeProto| node.output.iter().any(|output| output == value);
            let place = graph.node.iter().position(makes);
            last = last.max(place.ok_or_else(|| NotAGraph(format!("no node of it makes {value}")))?);
        }
        graph.node.truncate(last + 1);
        let nodes = &graph.node;
        let is_used = |tensor: &TensorProto| nodes.iter().any(|node| node.input.contains(&tensor.name));
        graph.initializer.retain(is_used);
        Ok(this)
    }

    /// Declares an input of 32-bit floats.
    pub fn input(&mut self, name: &str, shape: &[Axis]) -> String {
        self.graph.input.push(value_info(name, DataType::Float, shape));
        name.to_owned()
    }

    /// Declares an input of 64-bit integers.
    pub fn input_i64(&mut self, name: &str, shape: &[Axis]) -> String {
        self.graph.input.push(value_info(name, DataType::Int64, shape));
        name.to_owned()
    }

    /// Declares the value `name` as an output of 32-bit floats.
    pub fn output(&mut self, name: &str, shape: &[Axis]) {
        self.graph.output.push(value_info(name, DataType::Float, shape));
    }

    /// Stores a weight; `data` is row-major. Returns the name of the f32 value.
    pub fn weight(&mut self, name: &str, shape: &[usize], data: &[f32]) -> String {
        debug_assert_eq!(shape.iter().product::<usize>(), data.len(), "{name}");
        if self.precision == Precision::F32 || data.len() < SMALL {
            self.initializer(name, shape, DataType::Float, le_bytes(data, f32::to_le_bytes));
            return name.to_owned();
        }
        let stored = format!("{name}.f16");
        let raw = le_bytes(data, |x| half::f16::from_f32(x).to_le_bytes());
        self.initializer(&stored, shape, DataType::Float16, raw);
        let to = int_attribute("to", DataType::Float as i64);
        self.node_with("Cast", &[&stored], name, vec![to])
    }

    /// Stores a small vector of integers, such as a shape.
    pub fn integers(&mut self, name: &str, values: &[i64]) -> String {
        let raw = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.initializer(name, &[values.len()], DataType::Int64, raw);
        name.to_owned()
    }

    /// Stores one number as a scalar.
    pub fn scalar(&mut self, name: &str, value: f32) -> String {
        self.initializer(name, &[], DataType::Float, value.to_le_bytes().to_vec());
        name.to_owned()
    }

    /// Adds the node `op(inputs) -> output` without attributes; returns `output`.
    pub fn node(&mut self, op: &str, inputs: &[&str], output: &str) -> String {
        self.node_with(op, inputs, output, Vec::new())
    }

    /// Adds the node `op(inputs) -> output`; returns `output`.
    pub fn node_with(
        &mut self,
        op: &str,
        inputs: &[&str],
        output: &str,
        attribute: Vec<AttributeProto>,
    ) -> String {
        self.node_many(op, inputs, &[output], attribute);
        output.to_owned()
    }

    /// Adds a node with several outputs.
    pub fn node_many(&mut self, op: &str, inputs: &[&str], outputs: &[&str], attribute: Vec<AttributeProto>) {
        self.graph.node.push(NodeProto {
            name: format!("{}/{op}", outputs[0]),
            op_type: op.to_owned(),
            input: inputs.iter().map(|&s| s.to_owned()).collect(),
            output: outputs.iter().map(|&s| s.to_owned()).collect(),
            attribute,
            ..NodeProto::default()
        });
    }

    /// The finished model, as the bytes of an `.onnx` file.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        ModelProto {
            ir_version: IR_VERSION,
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
            producer_name: env!("CARGO_PKG_NAME").to_owned(),
            producer_version: env!("CARGO_PKG_VERSION").to_owned(),
            graph: Some(self.graph),
            ..ModelProto::default()
        }
        .encode_to_vec()
    }

    fn initializer(&mut self, name: &str, shape: &[usize], kind: DataType, raw_data: Vec<u8>) {
        self.graph.initializer.push(TensorProto {
            name: name.to_owned(),
            dims: shape.iter().map(|&d| d as i64).collect(),
            data_type: kind as i32,
            raw_data,
            ..TensorProto::default()
        });
    }
}

/// Bytes that were taken for an ONNX model and are none.
#[derive(Debug, thiserror::Error)]
#[error("not an ONNX model: {0}")]
pub struct NotAGraph(String);

/// An attribute that holds one integer.
#[must_use]
pub fn int_attribute(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Int as i32,
        i: value,
        ..AttributeProto::default()
    }
}

/// An attribute that holds a list of integers.
#[must_use]
pub fn ints_attribute(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Ints as i32,
        ints: values.to_vec(),
        ..AttributeProto::default()
    }
}

/// An attribute that holds one 32-bit float.
#[must_use]
pub fn float_attribute(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: name.to_owned(),
        r#type: AttributeType::Float as i32,
        f: value,
        ..AttributeProto::default()
    }
}

fn value_info(name: &str, kind: DataType, shape: &[Axis]) -> ValueInfoProto {
    let dim = shape
        .iter()
        .map(|axis| tensor_shape_proto::Dimension {
            value: Some(match axis {
                Axis::Fixed(size) => tensor_shape_proto::dimension::Value::DimValue(*size as i64),
                Axis::Named(name) => tensor_shape_proto::dimension::Value::DimParam((*name).to_owned()),
            }),
            ..tensor_shape_proto::Dimension::default()
        })
        .collect();
    ValueInfoProto {
        name: name.to_owned(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                elem_type: kind as i32,
                shape: Some(TensorShapeProto { dim }),
            })),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

fn le_bytes<const N: usize>(data: &[f32], bytes: impl Fn(f32) -> [u8; N]) -> Vec<u8> {
    data.iter().flat_map(|&x| bytes(x)).collect()
}
