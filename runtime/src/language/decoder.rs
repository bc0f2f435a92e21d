//! The decoder and head of a bundle, as the beam search wants them.

use std::sync::Arc;

use metalens_models::{Bundle, Shapes, TokenId, Vocabulary, file};

use super::pointing::Pointing;
use super::steps::{self, Steps};
use super::{NextWord, Scene};
use crate::CaptionerError;
use crate::adaptation::{Gate, Learned, Row};
use crate::engine::{EngineError, Graph, Input, Output, Session};

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

/// Says the next words of hypotheses about one picture: `width` of them at a time.
pub struct Decoder {
    pub(crate) steps: Steps,
    head: Session,
    vocabulary_size: usize,
    /// Words that must not be said.
    barred: Vec<usize>,
    applied: Option<Applied>,
    pointing: Pointing,
    log_probabilities: Vec<f32>,
    attention: Attention,
}

/// Where the decoder looked in each step of a caption.
struct Attention {
    /// Positions, and concepts behind them.
    columns: usize,
    /// The rows of all steps' hypotheses; as long as the longest caption so far.
    weights: Vec<f32>,
    /// Where each step's begin.
    steps: Vec<usize>,
    end: usize,
}

impl Attention {
    fn clear(&mut self) {
        self.steps.clear();
        self.end = 0;
    }

    /// `weights` are those of one more step, `[hypotheses, columns]`.
    fn push(&mut self, weights: &[f32]) {
        self.steps.push(self.end);
        let end = self.end + weights.len();
        self.weights.resize(self.weights.len().max(end), 0.0);
        self.weights[self.end..end].copy_from_slice(weights);
        self.end = end;
    }

    fn row(&self, step: usize, place: usize) -> &[f32] {
        &self.weights[self.steps[step] + place * self.columns..][..self.columns]
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
            pointing: Pointing::default(),
            log_probabilities: vec![0.0; width * shapes.vocabulary],
            attention: Attention {
                columns: shapes.positions() + shapes.concepts,
                weights: Vec::new(),
                steps: Vec::new(),
                end: 0,
            },
        })
    }

    /// Turns to a new picture: hypothesis 0 starts from its initial state.
    ///
    /// # Errors
    /// When the tokens have other sizes than the decoder's.
    pub fn look_at(&mut self, scene: Scene) -> Result<(), EngineError> {
        self.applied = None;
        self.attention.clear();
        self.pointing.look_at(scene.concepts);
        self.steps.look_at(scene)
    }

    /// Says of this picture what was learned; none is the bundle's own head.
    pub(crate) fn apply(&mut self, applied: Option<Applied>) {
        self.applied = applied;
    }

    /// Where the hypothesis at `place` looked in a step of this picture's caption, counted from 0: `[positions + concepts]`.
    pub(crate) fn attention(&self, step: usize, place: usize) -> &[f32] {
        self.attention.row(step, place)
    }

    /// Runs the head on what the decoder made last, points at concepts, and turns logits into log-probabilities of words that can
    /// be said.
    pub(crate) fn run_head(&mut self, hypotheses: usize) -> Result<(), EngineError> {
        let size = self.vocabulary_size;
        let runs = hypotheses.div_ceil(self.steps.width());
        self.log_probabilities.resize(runs * self.steps.width() * size, 0.0);
        if let Some(Applied { learned, gate, already }) = &self.applied {
            let asked: Vec<Row<f32>> = already.iter().map(|already| Row { gate, already }).collect();
            let probabilities = learned.probabilities(&self.steps.z_of(hypotheses), &asked);
            let rows = self.log_probabilities.chunks_exact_mut(size);
            for (hypothesis, (row, probabilities)) in rows.zip(probabilities.rows()).enumerate() {
                // Slots that no word has taken stand behind the words that have a probability.
                row.fill(f32::NEG_INFINITY);
                row.iter_mut().zip(probabilities).for_each(|(to, p)| *to = p.ln());
                if let Some(pointer) = self.steps.pointer(hypothesis) {
                    self.pointing.point(hypothesis, pointer, row);
                    log_softmax(row);
                }
            }
            return Ok(());
        }
        let z = self.steps.z().chunks_exact(self.steps.z().len() / runs);
        let runs = self.log_probabilities.chunks_exact_mut(self.steps.width() * size).zip(z);
        for (logits, z) in runs {
            self.head.set(0, z)?;
            self.head.run()?;
            logits.copy_from_slice(self.head.output(0)?);
        }
        for (hypothesis, row) in self.log_probabilities.chunks_exact_mut(size).take(hypotheses).enumerate() {
            if let Some(pointer) = self.steps.pointer(hypothesis) {
                self.pointing.point(hypothesis, pointer, row);
            }
            for &word in &self.barred {
                row[word] = f32::NEG_INFINITY;
            }
            log_softmax(row);
        }
        Ok(())
    }
}

/// Turns logits into log-probabilities.
fn log_softmax(row: &mut [f32]) {
    let highest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = row.iter().map(|x| (x - highest).exp()).sum();
    let log_sum = highest + sum.ln();
    row.iter_mut().for_each(|x| *x -= log_sum);
}

impl NextWord for Decoder {
    type Error = EngineError;

    fn step(&mut self, parents: &[usize], words: &[TokenId]) -> Result<(), EngineError> {
        self.steps.step(parents, words)?;
        self.attention.push(self.steps.attention(words.len()));
        self.pointing.follow(parents, words);
        if let Some(applied) = &mut self.applied {
            applied.follow(parents, words);
        }
        self.run_head(parents.len())
    }

    fn log_probabilities(&self, hypothesis: usize) -> &[f32] {
        &self.log_probabilities[hypothesis * self.vocabulary_size..][..self.vocabulary_size]
    }
}
