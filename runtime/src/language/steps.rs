//! The decoder's graph, one step of several hypotheses at a time.

use metalens_models::{Bundle, Shapes, TokenId, file};
use ndarray::ArrayView2;

use super::Scene;
use crate::CaptionerError;
use crate::engine::{EngineError, Graph, Input, Output, Session};

/// Where the decoder's inputs and outputs stand; the last ones only where it takes concepts.
const WORD: usize = 0;
const STATE: usize = 1;
const TOKENS: usize = 2;
const KEYS: usize = 3;
const CONCEPTS: usize = 4;
const CONFIDENCE: usize = 5;
const NEXT_STATE: usize = 0;
const Z: usize = 1;
const ATTENTION: usize = 2;
const POINTER: usize = 3;

/// Numbers of `pointer` for each hypothesis.
const POINTERS: usize = 2;

/// Loads the decoder's graph for `width` hypotheses.
pub(super) fn load(bundle: &Bundle, width: usize) -> Result<Graph, CaptionerError> {
    let shapes = &bundle.manifest().shapes;
    let Shapes { token, key, state, feature, concepts, .. } = *shapes;
    let positions = shapes.positions();
    let visual = [1, positions, token];
    let (word, before, keys) = ([width], [width, state], [1, positions, key]);
    let (shown, z, looked) = ([1, concepts], [width, feature], [width, positions + concepts]);
    let pointer = [width, POINTERS];
    let mut inputs = vec![
        Input::I64("word", &word),
        Input::F32("state", &before),
        Input::F32("tokens", &visual),
        Input::F32("keys", &keys),
    ];
    let mut outputs = vec![Output("next_state", &before), Output("z", &z), Output("attention", &looked)];
    if concepts > 0 {
        inputs.extend([Input::I64("concepts", &shown), Input::F32("confidence", &shown)]);
        outputs.push(Output("pointer", &pointer));
    }
    Ok(Graph::load(&bundle.read(file::DECODER)?, file::DECODER, &inputs, &outputs)?)
}

/// Reads the words of hypotheses about one picture: as many as the graph takes, or more in several runs.
pub(crate) struct Steps {
    session: Session,
    width: usize,
    /// Concepts that the graph takes.
    concepts: usize,
    words: Vec<i64>,
    /// State of each hypothesis, before the step.
    state: Rows,
    /// What the last step made; rows behind those of its hypotheses mean nothing.
    next_state: Rows,
    z: Rows,
    attention: Rows,
    pointer: Rows,
    /// Whether the next step is the picture's first.
    fresh: bool,
}

/// A row of numbers for each hypothesis.
struct Rows {
    size: usize,
    data: Vec<f32>,
}

impl Rows {
    fn new(size: usize) -> Self {
        Self { size, data: Vec::new() }
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.data[row * self.size..][..self.size]
    }

    fn resize(&mut self, rows: usize) {
        self.data.resize(rows * self.size, 0.0);
    }
}

impl Steps {
    pub fn new(graph: &Graph, width: usize, shapes: &Shapes) -> Result<Self, EngineError> {
        Ok(Self {
            session: graph.session()?,
            width,
            concepts: shapes.concepts,
            words: vec![0; width],
            state: Rows::new(shapes.state),
            next_state: Rows::new(shapes.state),
            z: Rows::new(shapes.feature),
            attention: Rows::new(shapes.positions() + shapes.concepts),
            pointer: Rows::new(POINTERS),
            fresh: true,
        })
    }

    /// Hypotheses that a run of the graph takes.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Turns to a new picture: every hypothesis starts from its initial state.
    pub fn look_at(&mut self, scene: Scene) -> Result<(), EngineError> {
        self.session.set(TOKENS, scene.seen.tokens)?;
        self.session.set(KEYS, scene.seen.keys)?;
        if self.concepts > 0 {
            let (mut words, mut confidence) = (vec![0; self.concepts], vec![0.0; self.concepts]);
            for (place, concept) in scene.concepts.iter().take(self.concepts).enumerate() {
                words[place] = i64::from(concept.word.0);
                confidence[place] = concept.confidence;
            }
            self.session.set_i64(CONCEPTS, &words)?;
            self.session.set(CONFIDENCE, &confidence)?;
        }
        self.state.data.clear();
        for _ in 0..self.width {
            self.state.data.extend_from_slice(scene.seen.state);
        }
        self.words.resize(self.width, 0);
        self.fresh = true;
        Ok(())
    }

    /// Hypothesis i continues the one that stood at `parents[i]` in the previous step and reads `words[i]`; in a
    /// picture's first step all are alike, and no more than one run takes.
    pub fn step(&mut self, parents: &[usize], words: &[TokenId]) -> Result<(), EngineError> {
        let rows = words.len().div_ceil(self.width) * self.width;
        self.words.resize(rows, 0);
        for (slot, word) in self.words.iter_mut().zip(words) {
            *slot = i64::from(word.0);
        }
        if !std::mem::take(&mut self.fresh) {
            self.state.resize(rows);
            for (slot, &parent) in self.state.data.chunks_exact_mut(self.state.size).zip(parents) {
                slot.copy_from_slice(self.next_state.row(parent));
            }
        }
        self.run()
    }

    /// Runs the graph on words and states as they are.
    pub fn run(&mut self) -> Result<(), EngineError> {
        let mut made = [
            (NEXT_STATE, &mut self.next_state),
            (Z, &mut self.z),
            (ATTENTION, &mut self.attention),
            (POINTER, &mut self.pointer),
        ];
        made.iter_mut().for_each(|(_, rows)| rows.data.clear());
        let states = self.state.data.chunks_exact(self.width * self.state.size);
        for (words, states) in self.words.chunks_exact(self.width).zip(states) {
            self.session.set_i64(WORD, words)?;
            self.session.set(STATE, states)?;
            self.session.run()?;
            for (output, rows) in &mut made {
                if *output != POINTER || self.concepts > 0 {
                    rows.data.extend_from_slice(self.session.output(*output)?);
                }
            }
        }
        Ok(())
    }

    /// z of all hypotheses of the last step, row-major, filled up to whole runs of the graph.
    pub fn z(&self) -> &[f32] {
        &self.z.data
    }

    /// Where the first hypotheses of the last step looked, `[hypotheses, positions + concepts]`, row-major; each row's sum is 1.
    pub fn attention(&self, hypotheses: usize) -> &[f32] {
        &self.attention.data[..hypotheses * self.attention.size]
    }

    /// How much a hypothesis of the last step points, and how much more for each confidence; none without concepts.
    pub fn pointer(&self, hypothesis: usize) -> Option<[f32; POINTERS]> {
        (self.concepts > 0).then(|| {
            let row = self.pointer.row(hypothesis);
            [row[0], row[1]]
        })
    }

    /// z `[hypotheses, feature]` of the first ones of the last step.
    pub fn z_of(&self, hypotheses: usize) -> ArrayView2<'_, f32> {
        let z = &self.z.data[..hypotheses * self.z.size];
        ArrayView2::from_shape((hypotheses, self.z.size), z).expect("a row is as long as z is wide")
    }
}
