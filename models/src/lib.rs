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
//! evidence.safetensors  `evidence.weight` [rows, phi], `evidence.bias` [rows]; a bundle with concepts has it, and
//! concepts.txt     the word and the source of each kind of evidence: see [`Sources`]
//! detector.onnx    finds things; a bundle may have it
//! golden.jpg       a picture whose caption the manifest tells, for the device's self-test
//! manifest.json    everything else: see [`Manifest`]
//! MODEL_CARD.md    for people
//! ```
//!
//! In a bundle with concepts the encoder also gives `phi f32[1, P]` and may give `classes f32[1, classes]`, the logits of
//! classes; the decoder also takes `concepts i64[1, K]` (0: none) and `confidence f32[1, K]`, gives `pointer f32[B, 2]`, and its
//! attention has 49 + K columns.
//!
//! [`Bundle::open`] reads the manifest; [`Bundle::read`] reads a file and refuses it when its size or hash is not the
//! manifest's, so that whoever holds a file's bytes holds checked bytes, and each file is read once.

mod bundle;
mod concepts;
mod detector;
mod disk;
mod manifest;
mod vocabulary;
mod write;

pub use bundle::{Bundle, BundleError, file, hexadecimal};
pub use concepts::{Sources, SourcesError};
pub use detector::DetectorShape;
pub use disk::{Disk, SystemDisk, folder_of, hidden_sibling, replace, replace_on, sweep};
pub use manifest::{
    BundleId, CaptionEvidence, ClassEvidence, Decoding, EvidenceSettings, FORMAT_VERSION, Familiarity,
    FileEntry, Golden, InnerLoop, MAX_CONCEPTS, Manifest, MemoryBlend, NewWordStart, Preprocessing, Shapes,
    SlotRange, SpecialTokens, ThingEvidence,
};
pub use vocabulary::{TokenId, Vocabulary, VocabularyError};
pub use write::{RecordError, WriteError, record_score, write};
