//! The decoder and head of a bundle, as the beam search wants them.

use metalens_models::{Bundle, Shapes, TokenId, Vocabulary, file};

use super::NextWord;
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

/// The graphs that say words, for beams of one width.
pub(crate) struct Graphs {
    pub decoder: Graph,
    pub head: Graph,
}

impl Graphs {
    pub fn load(bundle: &Bundle, width: usize) -> Result<Self, CaptionerError> {
        let shapes = &bundle.manifest().shapes;
        let Shapes { token, key, state, feature, vocabulary, .. } = *shapes;
        let positions = shapes.positions();
        let decoder = Graph::load(
            &bundle.read(file::DECODER)?,
            file::DECODER,
            &[
                Input::I64("word", &[width]),
                Input::F32("state", &[width, state]),
                Input::F32("tokens", &[1, positions, token]),
                Input::F32("keys", &[1, positions, key]),
            ],
            &[Output("next_state", &[width, state]), Output("z", &[width, feature])],
        )?;
        let head = Graph::load(
            &bundle.read(file::HEAD)?,
            file::HEAD,
            &[Input::F32("z", &[width, feature])],
            &[Output("logits", &[width, vocabulary])],
        )?;
        Ok(Self { decoder, head })
    }
}

/// Says the next words of up to `width` hypotheses about one picture.
pub struct Decoder {
    decoder: Session,
    head: Session,
    state_size: usize,
    vocabulary_size: usize,
    /// Words that must not be said.
    barred: Vec<usize>,
    words: Vec<i64>,
    /// State of each hypothesis, before the step.
    state: Vec<f32>,
    /// Whether the next step is the picture's first.
    fresh: bool,
    log_probabilities: Vec<f32>,
}

impl Decoder {
    pub(crate) fn new(
        graphs: &Graphs,
        width: usize,
        shapes: &Shapes,
        vocabulary: &Vocabulary,
    ) -> Result<Self, EngineError> {
        Ok(Self {
            decoder: graphs.decoder.session()?,
            head: graphs.head.session()?,
            state_size: shapes.state,
            vocabulary_size: shapes.vocabulary,
            barred: (0..shapes.vocabulary)
                .filter(|&word| !vocabulary.can_be_said(TokenId(word as u32)))
                .collect(),
            words: vec![0; width],
            state: vec![0.0; width * shapes.state],
            fresh: true,
            log_probabilities: vec![0.0; width * shapes.vocabulary],
        })
    }

    /// Turns to a new picture: hypothesis 0 starts from its initial state.
    ///
    /// # Errors
    /// When the tokens have other sizes than the decoder's.
    pub fn look_at(&mut self, picture: Tokens) -> Result<(), EngineError> {
        self.decoder.set(TOKENS, picture.tokens)?;
        self.decoder.set(KEYS, picture.keys)?;
        self.state[..self.state_size].copy_from_slice(picture.state);
        self.fresh = true;
        Ok(())
    }

    /// Runs the decoder's graph on words and states as they are.
    pub(crate) fn run_decoder(&mut self) -> Result<(), EngineError> {
        self.decoder.set_i64(WORD, &self.words)?;
        self.decoder.set(STATE, &self.state)?;
        self.decoder.run()
    }

    /// Runs the head on what the decoder made last, and turns logits into log-probabilities of words that can be said.
    pub(crate) fn run_head(&mut self, hypotheses: usize) -> Result<(), EngineError> {
        self.head.set(0, self.decoder.output(Z)?)?;
        self.head.run()?;
        let logits = self.head.output(0)?;
        let rows = self
            .log_probabilities
            .chunks_exact_mut(self.vocabulary_size)
            .zip(logits.chunks_exact(self.vocabulary_size));
        for (row, logits) in rows.take(hypotheses) {
            row.copy_from_slice(logits);
            for &word in &self.barred {
                row[word] = f32::NEG_INFINITY;
            }
            let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f32 = row.iter().map(|x| (x - highest).exp()).sum();
            let log_sum = highest + sum.ln();
            row.iter_mut().for_each(|x| *x -= log_sum);
        }
        Ok(())
    }
}

impl NextWord for Decoder {
    type Error = EngineError;

    fn step(&mut self, parents: &[usize], words: &[TokenId]) -> Result<(), EngineError> {
        for (slot, word) in self.words.iter_mut().zip(words) {
            *slot = i64::from(word.0);
        }
        if !std::mem::take(&mut self.fresh) {
            let states = self.decoder.output(NEXT_STATE)?;
            let size = self.state_size;
            for (slot, &parent) in self.state.chunks_exact_mut(size).zip(parents) {
                slot.copy_from_slice(&states[parent * size..][..size]);
            }
        }
        self.run_decoder()?;
        self.run_head(parents.len())
    }

    fn log_probabilities(&self, hypothesis: usize) -> &[f32] {
        &self.log_probabilities[hypothesis * self.vocabulary_size..][..self.vocabulary_size]
    }
}
