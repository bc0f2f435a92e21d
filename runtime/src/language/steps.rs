//! The decoder's graph, one step of several hypotheses at a time.

use metalens_models::{Bundle, Shapes, TokenId, file};
use ndarray::ArrayView2;

use crate::CaptionerError;
use crate::engine::{EngineError, Graph, Input, Output, Session};
use crate::vision::Tokens;

/// Where the decoder's inputs and outputs stand.
const WORD: usize = 0;
const STATE: usize = 1;
const TOKENS: usize = 2;
const KEYS: usize = 3;
const NEXT_STATE: usize = 0;
const Z: usize = 1;
const ATTENTION: usize = 2;

/// Loads the decoder's graph for `width` hypotheses.
pub(super) fn load(bundle: &Bundle, width: usize) -> Result<Graph, CaptionerError> {
    let shapes = &bundle.manifest().shapes;
    let Shapes { token, key, state, feature, .. } = *shapes;
    let positions = shapes.positions();
    Ok(Graph::load(
        &bundle.read(file::DECODER)?,
        file::DECODER,
        &[
            Input::I64("word", &[width]),
            Input::F32("state", &[width, state]),
            Input::F32("tokens", &[1, positions, token]),
            Input::F32("keys", &[1, positions, key]),
        ],
        &[
            Output("next_state", &[width, state]),
            Output("z", &[width, feature]),
            Output("attention", &[width, positions]),
        ],
    )?)
}

/// Reads the words of up to `width` hypotheses about one picture.
pub(crate) struct Steps {
    session: Session,
    state_size: usize,
    feature: usize,
    words: Vec<i64>,
    /// State of each hypothesis, before the step.
    state: Vec<f32>,
    /// Whether the next step is the picture's first.
    fresh: bool,
}

impl Steps {
    pub fn new(graph: &Graph, width: usize, shapes: &Shapes) -> Result<Self, EngineError> {
        Ok(Self {
            session: graph.session()?,
            state_size: shapes.state,
            feature: shapes.feature,
            words: vec![0; width],
            state: vec![0.0; width * shapes.state],
            fresh: true,
        })
    }

    /// Hypotheses that a step may have.
    pub fn width(&self) -> usize {
        self.words.len()
    }

    /// Turns to a new picture: every hypothesis starts from its initial state.
    pub fn look_at(&mut self, picture: Tokens) -> Result<(), EngineError> {
        self.session.set(TOKENS, picture.tokens)?;
        self.session.set(KEYS, picture.keys)?;
        for state in self.state.chunks_exact_mut(self.state_size) {
            state.copy_from_slice(picture.state);
        }
        self.fresh = true;
        Ok(())
    }

    /// Hypothesis i continues the one that stood at `parents[i]` in the previous step and reads `words[i]`; in a
    /// picture's first step all are alike.
    pub fn step(&mut self, parents: &[usize], words: &[TokenId]) -> Result<(), EngineError> {
        for (slot, word) in self.words.iter_mut().zip(words) {
            *slot = i64::from(word.0);
        }
        if !std::mem::take(&mut self.fresh) {
            let states = self.session.output(NEXT_STATE)?;
            let size = self.state_size;
            for (slot, &parent) in self.state.chunks_exact_mut(size).zip(parents) {
                slot.copy_from_slice(&states[parent * size..][..size]);
            }
        }
        self.run()
    }

    /// Runs the graph on words and states as they are.
    pub fn run(&mut self) -> Result<(), EngineError> {
        self.session.set_i64(WORD, &self.words)?;
        self.session.set(STATE, &self.state)?;
        self.session.run()
    }

    /// z of all hypotheses of the last step, row-major.
    pub fn z(&self) -> Result<&[f32], EngineError> {
        self.session.output(Z)
    }

    /// Where all hypotheses of the last step looked, `[width, positions]`, row-major; each row's sum is 1.
    pub fn attention(&self) -> Result<&[f32], EngineError> {
        self.session.output(ATTENTION)
    }

    /// z `[hypotheses, feature]` of the first ones of the last step.
    pub fn z_of(&self, hypotheses: usize) -> Result<ArrayView2<'_, f32>, EngineError> {
        let z = &self.z()?[..hypotheses * self.feature];
        Ok(ArrayView2::from_shape((hypotheses, self.feature), z)
            .expect("the graph was loaded with this width of z"))
    }
}
