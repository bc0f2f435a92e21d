//! The image encoder of a bundle.

use metalens_models::{Bundle, Preprocessing, Shapes, file};

use super::{Picture, Preprocessor};
use crate::engine::{EngineError, Graph, Input, Output, Session};

/// Where the encoder's outputs stand.
const TOKENS: usize = 0;
const KEYS: usize = 1;
const STATE: usize = 2;

/// Turns pictures into visual tokens.
pub struct Encoder {
    preprocessor: Preprocessor,
    session: Session,
}

/// What the encoder makes of a picture; row-major.
#[derive(Clone, Copy, Debug)]
pub struct Tokens<'a> {
    /// Visual tokens `[positions, token]`.
    pub tokens: &'a [f32],
    /// Their attention keys `[positions, key]`.
    pub keys: &'a [f32],
    /// The decoder's initial state `[state]`.
    pub state: &'a [f32],
}

/// Loads the encoder's graph; encoders on several threads may share it.
///
/// # Errors
/// When the bundle's file is refused, or its graph is not what the manifest says.
pub fn load(bundle: &Bundle) -> Result<Graph, crate::CaptionerError> {
    let Preprocessing { width, height, .. } = bundle.manifest().preprocessing;
    let shapes: &Shapes = &bundle.manifest().shapes;
    let bytes = bundle.read(file::ENCODER)?;
    Ok(Graph::load(
        &bytes,
        file::ENCODER,
        &[Input::F32("image", &[1, 3, height, width])],
        &[
            Output("tokens", &[1, shapes.positions(), shapes.token]),
            Output("keys", &[1, shapes.positions(), shapes.key]),
            Output("state", &[1, shapes.state]),
        ],
    )?)
}

impl Encoder {
    /// An encoder that runs the graph of [`load`].
    ///
    /// # Errors
    /// When the graph cannot be run.
    pub fn new(graph: &Graph, preprocessing: Preprocessing) -> Result<Self, EngineError> {
        Ok(Self { preprocessor: Preprocessor::new(preprocessing), session: graph.session()? })
    }

    /// Resizes and normalises the picture for [`Self::encode`].
    ///
    /// # Errors
    /// When the graph's input has another size.
    pub fn preprocess(&mut self, picture: &Picture) -> Result<(), EngineError> {
        self.session.set(0, self.preprocessor.run(picture))
    }

    /// Encodes the picture that was preprocessed last.
    ///
    /// # Errors
    /// When the graph fails.
    pub fn encode(&mut self) -> Result<(), EngineError> {
        self.session.run()
    }

    /// What [`Self::encode`] made last.
    ///
    /// # Errors
    /// When nothing was encoded yet.
    pub fn tokens(&self) -> Result<Tokens<'_>, EngineError> {
        Ok(Tokens {
            tokens: self.session.output(TOKENS)?,
            keys: self.session.output(KEYS)?,
            state: self.session.output(STATE)?,
        })
    }
}
