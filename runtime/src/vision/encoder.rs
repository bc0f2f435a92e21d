//! The image encoder of a bundle.

use metalens_models::{Bundle, Manifest, Preprocessing, Shapes, file};

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
    /// Where phi stands among the outputs.
    phi: Option<usize>,
    /// Where the logits of classes do.
    classes: Option<usize>,
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
    let (tokens, keys) = ([1, shapes.positions(), shapes.token], [1, shapes.positions(), shapes.key]);
    let (state, phi, classes) = ([1, shapes.state], [1, shapes.phi], [1, shapes.classes]);
    let mut outputs = vec![Output("tokens", &tokens), Output("keys", &keys), Output("state", &state)];
    // In this order `Encoder::new` counts them.
    outputs.extend((shapes.phi > 0).then_some(Output("phi", &phi)));
    outputs.extend((shapes.classes > 0).then_some(Output("classes", &classes)));
    Ok(Graph::load(&bytes, file::ENCODER, &[Input::F32("image", &[1, 3, height, width])], &outputs)?)
}

impl Encoder {
    /// An encoder that runs the graph of [`load`].
    ///
    /// # Errors
    /// When the graph cannot be run.
    pub fn new(graph: &Graph, manifest: &Manifest) -> Result<Self, EngineError> {
        let Shapes { phi, classes, .. } = manifest.shapes;
        let mut places = STATE + 1..;
        Ok(Self {
            preprocessor: Preprocessor::new(manifest.preprocessing.clone()),
            session: graph.session()?,
            phi: (phi > 0).then(|| places.next()).flatten(),
            classes: (classes > 0).then(|| places.next()).flatten(),
        })
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

    /// Phi of the picture that was encoded last, `[phi]`, from which evidence is computed; none in a bundle without.
    ///
    /// # Errors
    /// When nothing was encoded yet.
    pub fn phi(&self) -> Result<Option<&[f32]>, EngineError> {
        self.phi.map(|place| self.session.output(place)).transpose()
    }

    /// The logits of its classes, `[classes]`; none where the encoder tells none.
    ///
    /// # Errors
    /// When nothing was encoded yet.
    pub fn classes(&self) -> Result<Option<&[f32]>, EngineError> {
        self.classes.map(|place| self.session.output(place)).transpose()
    }
}
