//! The host side of Metalens: prepares captioned pictures, trains the captioner and exports it as a bundle.
//!
//! The modules, in the order in which data flows: [`corpus`] reads captioned pictures; [`encoder`] turns the published
//! EfficientNet-Lite0 weights into an ONNX trunk; [`features`] caches what the trunk makes of every picture;
//! [`captioner`] is the trainable part; [`evidence`] tells which words a picture shows, [`texts`] has captions without pictures, and
//! [`pretrain`] trains it; [`tasks`] makes few-shot tasks of a corpus; [`export`] writes
//! the bundle; [`evaluate`] captions a corpus with it, [`score`] judges the captions, and [`sheet`] shows captions and tasks beside
//! their pictures.

pub mod captioner;
pub mod corpus;
pub mod encoder;
pub mod evaluate;
pub mod evidence;
pub mod export;
pub mod features;
pub mod meta;
pub mod onnx;
mod optimiser;
pub mod parallel;
pub mod pretrain;
pub mod score;
pub mod sheet;
pub mod tasks;
pub mod texts;
pub mod vocabulary;
