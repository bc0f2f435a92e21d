//! Ways to adapt to a support set: what meta-test compares.

use std::fmt;

use metalens::adaptation::{
    BARRED, Calibrated, Choice, Consensus, Gate, Gradient, Head, Initialization, Logits, Memory, Row, Tokens,
};
use metalens::evidence::Concept;
use metalens_models::MemoryBlend;
use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate, s};

use super::Body;
use super::episode::Episode;
use super::gallery::{Gallery, most_probable};
use super::outer::Learned;
use super::places::support;
use super::say::{Asked, Scores};
use crate::vocabulary::END;

/// A way to adapt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Method {
    /// No adaptation.
    Before,
    /// The same, the concept's own name counting as its new one: how well the captioner knew it.
    OwnNames,
    /// The caption of the support picture that is most alike.
    Nearest,
    /// The caption of the support that its captions agree on, those of alike pictures counting most.
    Consensus {
        /// How fast unlike pictures count less.
        temperature: f64,
    },
    /// The initialization blended with the memory, for every picture and without a step.
    Memory(MemoryBlend),
    /// Adam on all of the head's numbers (Kingma and Ba 2015), new rows starting as calibration starts them.
    FineTuned {
        /// Steps.
        steps: usize,
        /// Learning rate.
        rate: f32,
    },
    /// Calibration, as the device does it.
    Calibrated,
    /// Calibration with so many steps in the place of the bundle's own; further ones repeat the last step's sizes.
    Steps(usize),
    /// The same without the choice of what the support agrees on, and without the memory.
    HeadSteps(usize),
    /// Calibration on the first so many pictures of the support, of each scene where there are several.
    Shots(usize),
    /// Calibration without one of its parts.
    Without(Part),
    /// Calibration that is told which known word the new one was put for: what it would reach if it were never mistaken about
    /// what a new word means.
    Told,
    /// Calibration whose steps are this share of the bundle's where the support is no place of its own.
    ThingSteps(f64),
}

/// A part of calibration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Where the rows of new words start: at the mean of all rows instead.
    RowStart,
    /// The gradient steps.
    Steps,
    /// The memory.
    Memory,
    /// The shift of new words by a picture's evidence.
    Shift,
    /// The blend with the head before calibration.
    Blend,
    /// The choice of what the support's captions agree on.
    Consensus,
    /// The detectors, in what a new word is like and in the evidence.
    Detectors,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RowStart => "row start",
            Self::Steps => "steps",
            Self::Memory => "memory",
            Self::Shift => "shift",
            Self::Blend => "blend",
            Self::Consensus => "consensus",
            Self::Detectors => "detectors",
        })
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before => f.write_str("before"),
            Self::OwnNames => f.write_str("before, by its own names"),
            Self::Nearest => f.write_str("nearest"),
            Self::Consensus { temperature } => write!(f, "consensus of the support ({temperature})"),
            Self::Memory(blend) => {
                write!(f, "memory (share {}, temperature {})", blend.share, blend.temperature)
            }
            Self::FineTuned { steps, rate } => write!(f, "pretrained, Adam {rate}, {steps} steps"),
            Self::Calibrated => f.write_str("calibrated"),
            Self::Steps(steps) => write!(f, "calibrated, {steps} steps"),
            Self::HeadSteps(steps) => write!(f, "head alone, {steps} steps"),
            Self::Shots(shots) => write!(f, "calibrated, {shots} shots"),
            Self::Without(part) => write!(f, "calibrated, without {part}"),
            Self::Told => f.write_str("calibrated, told the old name"),
            Self::ThingSteps(share) => write!(f, "calibrated, steps times {share} for new things"),
        }
    }
}

/// What a method is tried with.
pub struct Trial<'a> {
    /// The body.
    pub body: &'a Body,
    /// All pictures.
    pub gallery: &'a Gallery,
    /// The bundle's.
    pub initialization: &'a Initialization<f32>,
    /// What it knows.
    pub words: &'a [String],
    /// An inner loop in the place of the schedule's.
    pub inner_loop: Option<&'a Learned>,
}

impl Trial<'_> {
    /// Whether a device would refuse to learn from an episode's support, since held-out pictures are captioned worse.
    pub fn is_refused(&self, episode: &Episode) -> bool {
        let held_out = self.initialization.held_out(&episode.support, episode.new_words.len());
        held_out.is_some_and(|losses| losses.is_worse())
    }

    /// Captions `pictures` after adapting to an episode's support.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn say(&self, method: Method, episode: &Episode, pictures: &[usize]) -> anyhow::Result<Vec<String>> {
        let new_words = episode.new_words.len();
        let initialization = self.initialization;
        match method {
            Method::Before => {
                let said = self.before(pictures)?;
                Ok(said.iter().map(|words| self.text(words, &episode.new_words)).collect())
            }
            Method::OwnNames => {
                let known = self.initialization.head.words();
                let own = self.own_name(episode);
                let rename =
                    |word| own.filter(|(_, name)| *name == word).map_or(word, |(new, _)| known + new);
                let renamed = |words: Vec<usize>| words.into_iter().map(rename).collect::<Vec<_>>();
                let said = self.before(pictures)?.into_iter();
                Ok(said.map(|words| self.text(&renamed(words), &episode.new_words)).collect())
            }
            Method::Nearest => Ok(self.nearest(episode, pictures)),
            Method::Consensus { temperature } => {
                let calibrated = still(initialization).calibrate(&episode.support, new_words);
                let consensus = Consensus::new(&calibrated.memory, initialization.end, temperature);
                let gates = self.gates(initialization, &calibrated, pictures);
                Ok(gates
                    .iter()
                    .map(|gate| self.text(consensus.of_support(gate), &episode.new_words))
                    .collect())
            }
            Method::Memory(blend) => {
                let calibrated = still(initialization).calibrate(&episode.support, new_words);
                let head = &initialization.head;
                let cosines: Vec<Array1<f32>> = self.cosines(&calibrated, pictures);
                let said = self.speak(pictures, &self.shown(pictures), |Asked { z, places, .. }, _| {
                    let memory = &calibrated.memory;
                    Scores::Probabilities(remembered(head, memory, blend, z, places, &cosines, new_words))
                })?;
                Ok(self.texts(&said, episode))
            }
            Method::FineTuned { steps, rate } => {
                let start = still(initialization).calibrate(&episode.support, new_words).head.into_head();
                let tuned = fine_tune(start, &tokens(episode), steps, rate);
                let shown = self.shown(pictures);
                let said = self.speak(pictures, &shown, |asked, _| Scores::Logits(tuned.logits(&asked.z)))?;
                Ok(self.texts(&said, episode))
            }
            Method::Calibrated => self.calibrated(initialization, episode, pictures),
            Method::Shots(shots) => {
                let some = shots * episode.scenes;
                let support = episode.support.iter().take(some).cloned().collect();
                let fewer = Episode { support, ..episode.clone() };
                self.calibrated(initialization, &fewer, pictures)
            }
            Method::Told => {
                let mut calibrated = self.adapt(initialization, episode)?;
                if let Some((word, id)) = self.own_name(episode) {
                    call(&mut calibrated.head, initialization.head.words() + word, id);
                    let mixture = &mut calibrated.familiarity.words[word].mixture;
                    mixture.fill(0.0);
                    mixture[id] = 1.0;
                }
                self.say_calibrated(initialization, &calibrated, episode, pictures, |_| ())
            }
            Method::ThingSteps(share) => {
                let mut other = initialization.clone();
                other.schedule.new_words.steps = share;
                self.calibrated(&other, episode, pictures)
            }
            Method::Without(part) => {
                let mut other = initialization.clone();
                let schedule = &mut other.schedule;
                match part {
                    Part::Steps => schedule.steps = 0,
                    Part::Memory => schedule.memory.share = 0.0,
                    Part::Detectors => {
                        schedule.new_words.detectors = 0.0;
                        schedule.familiarity.known[1] = 0.0;
                        schedule.familiarity.unknown[1] = 0.0;
                    }
                    Part::Consensus => schedule.consensus = None,
                    Part::RowStart | Part::Shift | Part::Blend => {}
                }
                let mut calibrated = self.adapt(&other, episode)?;
                if part == Part::RowStart {
                    start_at_the_mean(&mut calibrated.head, initialization.head.words());
                }
                self.say_calibrated(&other, &calibrated, episode, pictures, |gate| match part {
                    Part::Shift => {
                        gate.shifts.clear();
                        gate.lifted = None;
                    }
                    Part::Blend => gate.share = 1.0,
                    Part::RowStart | Part::Steps | Part::Memory | Part::Consensus | Part::Detectors => {}
                })
            }
            Method::Steps(steps) | Method::HeadSteps(steps) => {
                let mut other = initialization.clone();
                if matches!(method, Method::HeadSteps(_)) {
                    other.schedule.memory.share = 0.0;
                    other.schedule.consensus = None;
                }
                let last = other.schedule.alpha.last().copied().unwrap_or_default();
                other.schedule.alpha.resize(steps.max(other.schedule.alpha.len()), last);
                other.schedule.steps = steps;
                self.calibrated(&other, episode, pictures)
            }
        }
    }

    /// The gates of pictures after calibration.
    #[must_use]
    pub fn gates<H: Logits<f32>>(
        &self,
        initialization: &Initialization<f32>,
        calibrated: &Calibrated<f32, H>,
        pictures: &[usize],
    ) -> Vec<Gate<f32>> {
        let of = |&picture: &usize| {
            let Initialization { head, references, .. } = self.initialization;
            initialization.gate(calibrated, &self.gallery.observe(head, references, picture))
        };
        pictures.iter().map(of).collect()
    }

    fn adapt(
        &self,
        initialization: &Initialization<f32>,
        episode: &Episode,
    ) -> anyhow::Result<Calibrated<f32, Head<f32>>> {
        let calibrate = |initialization: &Initialization<f32>| {
            initialization.calibrate(&episode.support, episode.new_words.len()).finish()
        };
        let Some(inner_loop) = self.inner_loop else { return Ok(calibrate(initialization)) };
        let still = still(initialization);
        let calibrated = calibrate(&still);
        if initialization.schedule.steps == 0 || !calibrated.familiarity.is_place() {
            return Ok(calibrate(initialization));
        }
        let head = inner_loop.adapted(&support(&still, episode, &calibrated.familiarity)?)?;
        Ok(Calibrated { head, ..calibrated })
    }

    fn calibrated(
        &self,
        initialization: &Initialization<f32>,
        episode: &Episode,
        pictures: &[usize],
    ) -> anyhow::Result<Vec<String>> {
        self.say_calibrated(initialization, &self.adapt(initialization, episode)?, episode, pictures, |_| ())
    }

    /// Captions `pictures` with a calibration whose gates are changed.
    fn say_calibrated(
        &self,
        initialization: &Initialization<f32>,
        calibrated: &Calibrated<f32, Head<f32>>,
        episode: &Episode,
        pictures: &[usize],
        change: impl Fn(&mut Gate<f32>),
    ) -> anyhow::Result<Vec<String>> {
        let mut gates = self.gates(initialization, calibrated, pictures);
        gates.iter_mut().for_each(change);
        let shown: Vec<Vec<Concept>> = self
            .shown(pictures)
            .into_iter()
            .zip(&gates)
            .map(|(concepts, gate)| match calibrated.familiarity.lifted(gate) {
                Some(lifted) => self.body.with_new_word(concepts, lifted),
                None => concepts.to_vec(),
            })
            .collect();
        let shown: Vec<&[Concept]> = shown.iter().map(Vec::as_slice).collect();
        let mut said = self.speak(pictures, &shown, |Asked { z, places, .. }, already| {
            let rows: Vec<Row<f32>> =
                places.iter().map(|&place| Row { gate: &gates[place], already: &already[place] }).collect();
            Scores::Probabilities(initialization.probabilities(calibrated, z, &rows))
        })?;
        if let Some(consensus) = initialization.consensus(calibrated) {
            for (gate, said) in gates.iter().zip(&mut said) {
                if let Choice::Support(words) = consensus.choose(gate, std::slice::from_ref(said)) {
                    *said = words.to_vec();
                }
            }
        }
        Ok(self.texts(&said, episode))
    }

    fn cosines<H>(&self, calibrated: &Calibrated<f32, H>, pictures: &[usize]) -> Vec<Array1<f32>> {
        let references = &self.initialization.references;
        let of = |&picture: &usize| {
            let pooled = self.gallery.encodings.pooled(picture, references.width());
            calibrated.familiarity.support.dot(&references.direction(&pooled.view()))
        };
        pictures.iter().map(of).collect()
    }

    fn nearest(&self, episode: &Episode, pictures: &[usize]) -> Vec<String> {
        let references = &self.initialization.references;
        let direction = |picture: usize| {
            references.direction(&self.gallery.encodings.pooled(picture, references.width()).view())
        };
        let support: Vec<Array1<f32>> =
            episode.support_pictures.iter().map(|&picture| direction(picture)).collect();
        let said = |&picture: &usize| {
            let own = direction(picture);
            let best = (0..support.len())
                .max_by(|&a, &b| own.dot(&support[a]).total_cmp(&own.dot(&support[b])))
                .unwrap_or_default();
            self.text(&episode.support[best].captions[0].targets, &episode.new_words)
        };
        pictures.iter().map(said).collect()
    }

    /// What is said of pictures without adaptation.
    fn before(&self, pictures: &[usize]) -> anyhow::Result<Vec<Vec<usize>>> {
        let said = self.gallery.captions(self.body, &self.initialization.head, pictures)?;
        Ok(said.iter().map(|words| indices(words)).collect())
    }

    fn shown(&self, pictures: &[usize]) -> Vec<&[Concept]> {
        self.gallery.encodings.shown(pictures)
    }

    /// Greedy captions of pictures as if they showed these concepts, which are pointed at as a device does. `score` is given what is asked, and by place the new words that
    /// stand in the caption so far.
    fn speak(
        &self,
        pictures: &[usize],
        shown: &[&[Concept]],
        mut score: impl FnMut(&Asked, &[Vec<usize>]) -> Scores,
    ) -> anyhow::Result<Vec<Vec<usize>>> {
        let known = self.initialization.head.words();
        let mut already = vec![Vec::new(); pictures.len()];
        let max_words = self.body.bundle().manifest().decoding.max_words;
        let said = self.body.say(&self.gallery.encodings, pictures, shown, max_words, |asked| {
            let scores = asked.pointed(score(asked, &already));
            let chosen = most_probable(&scores.view(), asked.length);
            for (&word, &place) in chosen.iter().zip(asked.places) {
                if word as usize >= known {
                    already[place].push(word as usize - known);
                }
            }
            chosen
        })?;
        Ok(said.iter().map(|said| indices(&said.words)).collect())
    }

    fn texts(&self, said: &[Vec<usize>], episode: &Episode) -> Vec<String> {
        said.iter().map(|words| self.text(words, &episode.new_words)).collect()
    }

    /// Which new word of an episode has a known name, and the name's id.
    fn own_name(&self, episode: &Episode) -> Option<(usize, usize)> {
        let (word, name) = episode.renamed.as_ref()?;
        Some((*word, self.body.vocabulary().id(name)?.index()))
    }

    fn text(&self, words: &[usize], new_words: &[String]) -> String {
        let known = self.initialization.head.words();
        let spell = |&word: &usize| match word.checked_sub(known) {
            None => self.words[word].as_str(),
            Some(new) => new_words.get(new).map_or("", String::as_str),
        };
        words.iter().filter(|word| **word != END as usize).map(spell).collect::<Vec<_>>().join(" ")
    }
}

/// Rows of new words, those from `known` on, that are no more like one word than like another.
fn start_at_the_mean(head: &mut Head<f32>, known: usize) {
    let row = head.weight_2.slice(s![..known, ..]).mean_axis(Axis(0)).expect("a head knows words");
    head.weight_2.slice_mut(s![known.., ..]).assign(&row);
    let said: Vec<f32> =
        head.bias_2.iter().take(known).copied().filter(|&bias| bias > BARRED as f32).collect();
    let bias = said.iter().sum::<f32>() / said.len().max(1) as f32;
    head.bias_2.slice_mut(s![known..]).fill(bias);
}

/// Puts one word's row in the place of another's.
fn call(head: &mut Head<f32>, word: usize, like: usize) {
    let row = head.weight_2.row(like).to_owned();
    head.weight_2.row_mut(word).assign(&row);
    head.bias_2[word] = head.bias_2[like];
}

/// A bundle's without any step.
fn still(initialization: &Initialization<f32>) -> Initialization<f32> {
    let mut still = initialization.clone();
    still.schedule.steps = 0;
    still
}

/// Words that said an end, without it.
fn indices(words: &[u32]) -> Vec<usize> {
    words.iter().filter(|word| **word != END).map(|&word| word as usize).collect()
}

fn remembered(
    head: &Head<f32>,
    memory: &Memory<f32>,
    blend: MemoryBlend,
    z: &ArrayView2<f32>,
    places: &[usize],
    cosines: &[Array1<f32>],
    new_words: usize,
) -> Array2<f32> {
    let share = blend.share as f32;
    let mut all = Array2::zeros((z.nrows(), head.words() + new_words));
    all.slice_mut(s![.., ..head.words()]).assign(&(head.probabilities(z) * (1.0 - share)));
    let cosines: Vec<_> = places.iter().map(|&place| cosines[place].view()).collect();
    for (mut row, recalled) in all.rows_mut().into_iter().zip(memory.recall(z, &cosines, blend).rows()) {
        for (&word, p) in memory.words.iter().zip(recalled) {
            row[word] += share * p;
        }
    }
    all
}

/// All tokens of a support set, weighing the same.
fn tokens(episode: &Episode) -> Tokens<f32> {
    let captions = || episode.support.iter().flat_map(|shown| &shown.captions);
    let views: Vec<ArrayView2<f32>> = captions().map(|caption| caption.z.view()).collect();
    let targets: Vec<usize> = captions().flat_map(|caption| caption.targets.iter().copied()).collect();
    let weights = Array1::from_elem(targets.len(), 1.0 / targets.len() as f32);
    Tokens { z: concatenate(Axis(0), &views).expect("z have one width"), targets, weights }
}

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.999;
const EPSILON: f32 = 1e-8;

/// Adam (Kingma and Ba 2015, algorithm 1) on the whole support.
fn fine_tune(mut head: Head<f32>, support: &Tokens<f32>, steps: usize, rate: f32) -> Head<f32> {
    let mut moments: Vec<[Vec<f32>; 2]> = Vec::new();
    for step in 1..=steps as i32 {
        let (_, Gradient { weight_1, bias_1, weight_2, bias_2 }) = head.gradient(support);
        let gradients = [
            weight_1.iter().copied().collect::<Vec<f32>>(),
            bias_1.to_vec(),
            weight_2.iter().copied().collect(),
            bias_2.to_vec(),
        ];
        let scale = rate * (1.0 - BETA_2.powi(step)).sqrt() / (1.0 - BETA_1.powi(step));
        let slots = [
            head.weight_1.as_slice_mut(),
            head.bias_1.as_slice_mut(),
            head.weight_2.as_slice_mut(),
            head.bias_2.as_slice_mut(),
        ];
        for (place, (slot, gradient)) in slots.into_iter().zip(gradients).enumerate() {
            let slot = slot.expect("a head's arrays are row-major");
            if moments.len() <= place {
                moments.push([vec![0.0; slot.len()], vec![0.0; slot.len()]]);
            }
            let [first, second] = &mut moments[place];
            for (((x, m), v), g) in slot.iter_mut().zip(first).zip(second).zip(gradient) {
                *m = BETA_1 * *m + (1.0 - BETA_1) * g;
                *v = BETA_2 * *v + (1.0 - BETA_2) * g * g;
                *x -= scale * *m / (v.sqrt() + EPSILON);
            }
        }
    }
    head
}
