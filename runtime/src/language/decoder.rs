//! The decoder and head of a bundle, as the beam search wants them.

use std::sync::Arc;

use metalens_models::{Bundle, Shapes, TokenId, Vocabulary, file};

use super::NextWord;
use super::steps::{self, Steps};
use crate::CaptionerError;
use crate::adaptation::{Gate, Learned, Row};
use crate::engine::{EngineError, Graph, Input, Output, Session};
use crate::vision::Tokens;

/// The graphs that say words, for beams of one width.
pub(crate) struct Graphs {
    pub decoder: Graph,
    pub head: Graph,
}

impl Graphs {
    pub fn load(bundle: &Bundle, width: usize) -> Result<Self, CaptionerError> {
        let Shapes { feature, vocabulary, .. } = bundle.manifest().shapes;
        let head = Graph::load(
            &bundle.read(file::HEAD)?,
            file::HEAD,
            &[Input::F32("z", &[width, feature])],
            &[Output("logits", &[width, vocabulary])],
        )?;
        Ok(Self { decoder: steps::load(bundle, width)?, head })
    }
}

/// Says the next words of up to `width` hypotheses about one picture.
pub struct Decoder {
    pub(crate) steps: Steps,
    head: Session,
    vocabulary_size: usize,
    /// Words that must not be said.
    barred: Vec<usize>,
    applied: Option<Applied>,
    log_probabilities: Vec<f32>,
    attention: Attention,
}

/// Where the decoder looked in each step of a caption.
struct Attention {
    positions: usize,
    /// `[steps, width, positions]`; as long as the longest caption so far.
    weights: Vec<f32>,
    steps: usize,
}

impl Attention {
    /// `weights` are those of one more step, `[width, positions]`.
    fn push(&mut self, weights: &[f32]) {
        let place = self.steps * weights.len();
        self.weights.resize(self.weights.len().max(place + weights.len()), 0.0);
        self.weights[place..][..weights.len()].copy_from_slice(weights);
        self.steps += 1;
    }
}

/// A calibration, as it applies to one picture.
#[derive(Clone)]
pub(crate) struct Applied {
    pub learned: Arc<Learned>,
    pub gate: Gate<f32>,
    /// The new words that each hypothesis of the last step has, counted from the first one.
    already: Vec<Vec<usize>>,
}

impl Applied {
    pub fn new(learned: Arc<Learned>, gate: Gate<f32>) -> Self {
        Self { learned, gate, already: vec![Vec::new()] }
    }

    fn follow(&mut self, parents: &[usize], words: &[TokenId]) {
        let follow = |(&parent, &word): (&usize, &TokenId)| {
            let mut already = self.already[parent].clone();
            already.extend(self.learned.new_word(word));
            already
        };
        self.already = parents.iter().zip(words).map(follow).collect();
    }
}

impl Decoder {
    pub(crate) fn new(
        graphs: &Graphs,
        width: usize,
        shapes: &Shapes,
        vocabulary: &Vocabulary,
    ) -> Result<Self, EngineError> {
        Ok(Self {
            steps: Steps::new(&graphs.decoder, width, shapes)?,
            head: graphs.head.session()?,
            vocabulary_size: shapes.vocabulary,
            barred: (0..shapes.vocabulary)
                .filter(|&word| !vocabulary.can_be_said(TokenId(word as u32)))
                .collect(),
            applied: None,
            log_probabilities: vec![0.0; width * shapes.vocabulary],
            attention: Attention { positions: shapes.positions(), weights: Vec::new(), steps: 0 },
        })
    }

    /// Turns to a new picture: hypothesis 0 starts from its initial state.
    ///
    /// # Errors
    /// When the tokens have other sizes than the decoder's.
    pub fn look_at(&mut self, picture: Tokens) -> Result<(), EngineError> {
        self.applied = None;
        self.attention.steps = 0;
        self.steps.look_at(picture)
    }

    /// Says of this picture what was learned; none is the bundle's own head.
    pub(crate) fn apply(&mut self, applied: Option<Applied>) {
        self.applied = applied;
    }

    /// Where the hypothesis at `place` looked in a step of this picture's caption, counted from 0: `[positions]`.
    pub(crate) fn attention(&self, step: usize, place: usize) -> &[f32] {
        let row = step * self.steps.width() + place;
        &self.attention.weights[row * self.attention.positions..][..self.attention.positions]
    }

    /// Runs the head on what the decoder made last, and turns logits into log-probabilities of words that can be said.
    pub(crate) fn run_head(&mut self, hypotheses: usize) -> Result<(), EngineError> {
        if let Some(Applied { learned, gate, already }) = &self.applied {
            let asked: Vec<Row<f32>> = already.iter().map(|already| Row { gate, already }).collect();
            let probabilities = learned.probabilities(&self.steps.z_of(hypotheses)?, &asked);
            let rows = self.log_probabilities.chunks_exact_mut(self.vocabulary_size);
            for (row, probabilities) in rows.zip(probabilities.rows()) {
                // Slots that no word has taken stand behind the words that have a probability.
                row.fill(f32::NEG_INFINITY);
                row.iter_mut().zip(probabilities).for_each(|(to, p)| *to = p.ln());
            }
            return Ok(());
        }
        self.head.set(0, self.steps.z()?)?;
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
        self.steps.step(parents, words)?;
        self.attention.push(self.steps.attention()?);
        if let Some(applied) = &mut self.applied {
            applied.follow(parents, words);
        }
        self.run_head(parents.len())
    }

    fn log_probabilities(&self, hypothesis: usize) -> &[f32] {
        &self.log_probabilities[hypothesis * self.vocabulary_size..][..self.vocabulary_size]
    }
}
