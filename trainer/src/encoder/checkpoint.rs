//! Reads PyTorch checkpoints: the zip container of PyTorch 1.6 and later, and the older stream of pickles.
//!
//! The published EfficientNet-Lite0 weights are in the older format, which candle's own reader refuses; its pickle
//! interpreter reads the pieces. Layout of the stream (torch/serialization.py, `_legacy_save`): a magic number, the
//! protocol version, the system's properties, the state dictionary and the list of storage keys, each a pickle; then,
//! in the order of the keys, every storage as its length (little-endian 64-bit) and its elements.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use candle_core::pickle::{Object, PthTensors, Stack, TensorInfo};
use candle_core::{DType, Tensor};

/// A checkpoint's floating-point tensors, by their PyTorch names.
pub type Weights = BTreeMap<String, Weight>;

/// One tensor of a checkpoint, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    /// Sizes of the axes, outermost first.
    pub shape: Vec<usize>,
    /// The elements.
    pub data: Vec<f32>,
}

/// Why a checkpoint could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file could not be opened or ended early.
    #[error("{path}: {source}; give the .pth file of a PyTorch checkpoint", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no checkpoint, or one that holds something unexpected.
    #[error("{path}: not a readable PyTorch checkpoint: {reason}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was wrong.
        reason: String,
    },
}

/// The first pickle of a legacy checkpoint: protocol 2, the 80-bit magic number 0x1950a86a20f9469cfc6c, stop.
const LEGACY_MAGIC: [u8; 15] =
    [0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e];

/// Reads every 32-bit float tensor of the checkpoint at `path`; integer tensors (counters) are left out.
///
/// # Errors
/// When the file cannot be read, is no checkpoint, or holds tensors that are not contiguous or not finite.
pub fn read(path: &Path) -> Result<Weights, CheckpointError> {
    let weights = read_any(path)?;
    match weights.iter().find(|(_, weight)| weight.data.iter().any(|x| !x.is_finite())) {
        Some((name, _)) => {
            let reason = format!("{name} holds what is no number; download it again");
            Err(CheckpointError::Malformed { path: path.to_owned(), reason })
        }
        None => Ok(weights),
    }
}

fn read_any(path: &Path) -> Result<Weights, CheckpointError> {
    let io = |source| CheckpointError::Io { path: path.to_owned(), source };
    let malformed = |reason: String| CheckpointError::Malformed { path: path.to_owned(), reason };
    let mut reader = BufReader::new(File::open(path).map_err(io)?);
    let start = reader.fill_buf().map_err(io)?;
    if start.starts_with(b"PK") {
        return read_zip(path).map_err(|error| malformed(first_line(&error)));
    }
    if !start.starts_with(&LEGACY_MAGIC) {
        return Err(malformed(
            "it starts neither like a zip archive nor like a legacy checkpoint".to_owned(),
        ));
    }
    reader.consume(LEGACY_MAGIC.len());
    read_legacy(&mut reader).map_err(|error| malformed(first_line(&error)))
}

/// candle's errors carry a backtrace behind their first line.
fn first_line(error: &candle_core::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}

fn read_zip(path: &Path) -> candle_core::Result<Weights> {
    let tensors = PthTensors::new(path, None)?;
    let mut weights = Weights::new();
    for name in tensors.tensor_infos().keys() {
        if let Some(tensor) = tensors.get(name)?
            && tensor.dtype() == DType::F32
        {
            weights.insert(name.clone(), weight(&tensor)?);
        }
    }
    Ok(weights)
}

fn weight(tensor: &Tensor) -> candle_core::Result<Weight> {
    Ok(Weight { shape: tensor.dims().to_vec(), data: tensor.flatten_all()?.to_vec1()? })
}

fn read_legacy(reader: &mut impl BufRead) -> candle_core::Result<Weights> {
    let _protocol = pickle(reader)?;
    let _system = pickle(reader)?;
    let Object::Dict(entries) = pickle(reader)? else {
        candle_core::bail!("the state dictionary is missing");
    };
    let mut tensors: Vec<TensorInfo> = Vec::with_capacity(entries.len());
    for (name, value) in entries {
        tensors.extend(value.into_tensor_info(name, Path::new(""))?);
    }
    let storages = read_storages(reader, &tensors)?;
    tensors
        .iter()
        .filter(|info| info.dtype == DType::F32)
        .map(|info| Ok((info.name.clone(), view(info, &storages)?)))
        .collect()
}

fn pickle(reader: &mut impl BufRead) -> candle_core::Result<Object> {
    let mut stack = Stack::empty();
    stack.read_loop(reader)?;
    stack.finalize()
}

/// The name under which a tensor's storage stands in the list of keys.
fn storage_key(info: &TensorInfo) -> &str {
    info.path.trim_start_matches('/')
}

/// Every storage as raw bytes. A storage tells its length in elements; their size follows from the tensors in it.
fn read_storages(
    reader: &mut impl BufRead,
    tensors: &[TensorInfo],
) -> candle_core::Result<HashMap<String, Vec<u8>>> {
    let Object::List(keys) = pickle(reader)? else {
        candle_core::bail!("the list of storages is missing");
    };
    let element: HashMap<&str, usize> =
        tensors.iter().map(|info| (storage_key(info), info.dtype.size_in_bytes())).collect();
    let mut storages = HashMap::new();
    for key in keys {
        let key = key.unicode()?;
        let Some(&size) = element.get(key.as_str()) else {
            candle_core::bail!("storage {key} belongs to no tensor");
        };
        let mut length = [0; 8];
        reader.read_exact(&mut length)?;
        let bytes = u64::from_le_bytes(length).saturating_mul(size as u64);
        // `take` bounds the allocation by what the file really holds, whatever length it claims.
        let mut raw = Vec::new();
        reader.take(bytes).read_to_end(&mut raw)?;
        if raw.len() as u64 != bytes {
            candle_core::bail!("storage {key} ends after {} of {bytes} bytes", raw.len());
        }
        storages.insert(key, raw);
    }
    Ok(storages)
}

/// The tensor's elements in row-major order, whatever order the storage has (converted models are transposed).
fn view(info: &TensorInfo, storages: &HashMap<String, Vec<u8>>) -> candle_core::Result<Weight> {
    let (shape, strides) = (info.layout.dims(), info.layout.stride());
    let storage: &[[u8; 4]] = storages.get(storage_key(info)).map_or(&[], |storage| storage.as_chunks().0);
    // `TensorInfo` gives the offset in bytes.
    let offset = info.layout.start_offset() / size_of::<f32>();
    let count = info.layout.shape().elem_count();
    let mut data = Vec::new();
    for row_major in 0..count {
        let mut rest = row_major;
        let mut position = offset;
        for (size, stride) in shape.iter().zip(strides).rev() {
            position += rest % size * stride;
            rest /= size;
        }
        let Some(&bytes) = storage.get(position) else {
            candle_core::bail!("tensor {} lies outside its storage", info.name);
        };
        data.push(f32::from_le_bytes(bytes));
    }
    Ok(Weight { shape: shape.to_vec(), data })
}
