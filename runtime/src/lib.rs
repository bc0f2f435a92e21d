//! Captions pictures on the device.
//!
//! A frame flows through the modules in this order: [`vision`] decodes and resizes it and runs the encoder; [`evidence`] tells
//! which words the picture shows; [`language`] turns visual tokens and these concepts into words. [`Captioner`] ties them to a model bundle. [`adaptation`] computes what a handful of
//! captioned pictures changes about the head, and [`calibrator`] ties it to a bundle. [`store`] keeps what a calibration made,
//! through power cuts. [`camera`] gives frames, [`board`] a button and lights, and [`daemon`] captions for as long as there is
//! power. [`engine`] is the one module that knows which inference library runs the graphs; [`cli`] is the program.
//!
//! ```no_run
//! let mut captioner = metalens::Captioner::open("models/flickr8k-lite0".as_ref(), Default::default())?;
//! let picture = metalens::vision::decode(&std::fs::read("dog.jpg")?)?;
//! println!("{}", captioner.caption(&picture)?.text());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod adaptation;
pub mod board;
pub mod calibrator;
pub mod camera;
mod captioner;
pub mod cli;
pub mod daemon;
pub mod engine;
pub mod evidence;
pub mod language;
pub mod store;
pub mod vision;

pub use captioner::{Caption, Captioner, CaptionerError, Evident, Located, Options, Word};
