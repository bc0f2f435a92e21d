//! What a Metalens model bundle is, and the checks that a device runs before it trusts one.
//!
//! A bundle is a folder:
//!
//! ```text
//! encoder.onnx     image f32[1, 3, height, width] -> tokens f32[1, 49, token], keys f32[1, 49, key], state f32[1, state]
//! decoder.onnx     word i64[B], state f32[B, state], tokens, keys -> next_state f32[B, state], z f32[B, feature], attention f32[B, 49]
//! head.onnx        z f32[N, feature] -> logits f32[N, vocabulary]
//! vocabulary.txt   one word a line; the line number, from 0, is the id; the last ones are slots
//! adaptation.safetensors  ordinary pictures to compare with, and detectors of words; a bundle that adapts has it
//! golden.jpg       a picture whose caption the manifest tells, for the device's self-test
//! manifest.json    everything else: see [`Manifest`]
//! MODEL_CARD.md    for people
//! ```
//!
//! [`Bundle::open`] reads the manifest; [`Bundle::read`] reads a file and refuses it when its size or hash is not the
//! manifest's, so that whoever holds a file's bytes holds checked bytes, and each file is read once.

mod bundle;
mod disk;
mod manifest;
mod vocabulary;
mod write;

pub use bundle::{Bundle, BundleError, file, hexadecimal};
pub use disk::{Disk, SystemDisk, folder_of, hidden_sibling, replace, replace_on, sweep};
pub use manifest::{
    BundleId, Decoding, FORMAT_VERSION, Familiarity, FileEntry, Golden, InnerLoop, Manifest, MemoryBlend,
    NewWordStart, Preprocessing, Shapes, SlotRange, SpecialTokens,
};
pub use vocabulary::{TokenId, Vocabulary, VocabularyError};
pub use write::{RecordError, WriteError, record_score, write};
