//! What the body makes of a picture's visual tokens: a caption, an observation, or z along captions that it has to read.

use metalens_models::{Bundle, Shapes, SpecialTokens, TokenId, Vocabulary};
use ndarray::{Array2, ArrayView2};

use super::beam::Hypothesis;
use super::decoder::{Applied, Decoder, Graphs};
use super::{Beam, BeamSettings, MAX_REQUIRED, MAX_WORDS, Required, Scene};
use crate::adaptation::{Choice, Initialization, Observation, Read};
use crate::engine::EngineError;
use crate::evidence::{Concept, Evidence};
use crate::vision::Encoder;
use crate::{CaptionerError, Evident, Word};

/// Says and reads captions of one picture after another.
pub(crate) struct Speaker {
    pub decoder: Decoder,
    beam: Beam,
    greedy: Beam,
    evidence: Option<Evidence>,
    vocabulary: Vocabulary,
    shapes: Shapes,
    max_words: usize,
}

/// Words, the natural logarithm of the whole caption's probability, and where each word looked.
pub(crate) struct Said {
    pub words: Vec<Word>,
    pub log_probability: f32,
    /// Where each word looked, `[words, positions]`.
    pub attention: Array2<f32>,
    /// What the caption was made of beside the picture, of most evidence first.
    pub concepts: Vec<Evident>,
    /// A known word that has another name now.
    pub renamed: Option<(TokenId, String)>,
    /// How much each word looked at each concept, `[words, concepts]`.
    pub concept_attention: Array2<f32>,
}

impl Speaker {
    /// Loads the graphs for a beam of `width` hypotheses.
    pub fn load(bundle: &Bundle, width: usize) -> Result<Self, CaptionerError> {
        let manifest = bundle.manifest();
        let (graphs, vocabulary) = (Graphs::load(bundle, width)?, bundle.vocabulary()?);
        let max_words = manifest.decoding.max_words.min(MAX_WORDS);
        let settings = BeamSettings {
            width,
            length_normalisation: manifest.decoding.length_normalisation,
            max_words,
            end: manifest.special.end,
        };
        Ok(Self {
            decoder: Decoder::new(&graphs, width, &manifest.shapes, &vocabulary)?,
            beam: Beam::new(settings),
            greedy: Beam::new(BeamSettings { width: 1, ..settings }),
            evidence: Evidence::load(bundle, &vocabulary)?,
            vocabulary,
            shapes: manifest.shapes,
            max_words,
        })
    }

    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// What tells concepts; none of a bundle without.
    pub fn evidence(&self) -> Option<&Evidence> {
        self.evidence.as_ref()
    }

    /// What the picture shows that was encoded last, and in which the detector found `things`; nothing without evidence.
    pub fn concepts(&self, encoder: &Encoder, things: Option<&[f32]>) -> Result<Vec<Concept>, EngineError> {
        let Some(evidence) = &self.evidence else { return Ok(Vec::new()) };
        Ok(evidence.concepts(encoder.phi()?, encoder.classes()?, things))
    }

    /// The longest caption that is said or read.
    pub fn max_words(&self) -> usize {
        self.max_words
    }

    /// Says what the picture shows, with a calibration where there is one. A new word for which there is evidence is said, if not
    /// in the best caption then in the best that holds it, or in the greedy one: `adaptation::familiarity` lifts it just so
    /// that this one does. Of a place of its own that is said which the support's captions agree on most. Otherwise, where none of
    /// the captions found says a concept of much evidence, it is required of a second search, by its odds.
    pub fn say(&mut self, scene: Scene, applied: Option<Applied>) -> Result<Said, EngineError> {
        let learned = applied.as_ref().map(|applied| applied.learned.clone());
        let wanted = applied.as_ref().and_then(|applied| applied.learned.wanted(&applied.gate));
        // What is called anew is no longer called what it was.
        let concepts = match (wanted, &self.evidence) {
            (Some((new, known)), Some(evidence)) => evidence.with_new_word(scene.concepts, new, known),
            _ => scene.concepts.to_vec(),
        };
        let scene = Scene { concepts: &concepts, ..scene };
        let renamed = wanted.map(|(new, known)| (known, new.word));
        let wanted = wanted.map(|(new, _)| new.word);
        let start = self.vocabulary.special().start;
        let look = |decoder: &mut Decoder| {
            decoder.look_at(scene)?;
            decoder.apply(applied.clone());
            Ok::<(), EngineError>(())
        };
        let mut search = |beam: &mut Beam, required: &[Required]| {
            look(&mut self.decoder)?;
            beam.search_for(&mut self.decoder, start, required).cloned()
        };
        let mut best = search(&mut self.beam, &[])?;
        if wanted.is_none()
            && let Some(evidence) = &self.evidence
        {
            let found = self.beam.found().iter().map(|found| found.words.as_slice());
            let required: heapless::Vec<Required, MAX_REQUIRED> =
                evidence.required(scene.concepts, found).take(MAX_REQUIRED).collect();
            if !required.is_empty() {
                best = search(&mut self.beam, &required)?;
            }
        }
        if let Some(word) = wanted.filter(|word| !best.words.contains(word)) {
            best = match self.beam.best_with(word) {
                Some(with) => with.clone(),
                None => {
                    let greedy = search(&mut self.greedy, &[])?;
                    if greedy.words.contains(&word) { greedy } else { search(&mut self.beam, &[])? }
                }
            };
        }
        let consensus =
            applied.as_ref().and_then(|applied| Some((applied.learned.consensus()?, &applied.gate)));
        if let Some((consensus, gate)) = consensus {
            let ids = |found: &Hypothesis| found.words.iter().map(|id| id.index()).collect();
            let found: Vec<Vec<usize>> = self.beam.found().iter().map(ids).collect();
            match consensus.choose(gate, &found) {
                // The best one, or the one that holds the new word.
                Choice::Found(0) => {}
                Choice::Found(other) => best = self.beam.found()[other].clone(),
                Choice::Support(words) => {
                    let words: Vec<TokenId> = words.iter().map(|&word| TokenId(word as u32)).collect();
                    look(&mut self.decoder)?;
                    best = self.beam.follow(&mut self.decoder, start, &words)?;
                }
            }
        }
        let word = |id: TokenId| {
            let new = learned.as_ref().and_then(|learned| learned.written(id));
            new.or_else(|| self.vocabulary.word(id)).unwrap_or_default().to_owned()
        };
        let words = best.words.iter().zip(&best.word_log_probabilities);
        let (positions, concepts) = (self.shapes.positions(), scene.concepts.len().min(self.shapes.concepts));
        let looked = |first: usize, count: usize| {
            let steps = best.places.iter().enumerate();
            let rows =
                steps.flat_map(|(step, &place)| &self.decoder.attention(step, place)[first..][..count]);
            Array2::from_shape_vec((best.words.len(), count), rows.copied().collect())
                .expect("every word has a place")
        };
        let (attention, concept_attention) = (looked(0, positions), looked(positions, concepts));
        Ok(Said {
            words: words
                .map(|(&id, log_probability)| Word { word: word(id), probability: log_probability.exp() })
                .collect(),
            log_probability: best.log_probability,
            attention,
            concepts: scene
                .concepts
                .iter()
                .map(|concept| Evident { word: word(concept.word), evidence: concept.confidence })
                .collect(),
            renamed: renamed.map(|(known, new)| (known, word(new))),
            concept_attention,
        })
    }

    /// Looks at a picture as calibration does: along the likeliest words before it.
    pub fn observe(
        &mut self,
        initialization: &Initialization<f32>,
        scene: Scene,
    ) -> Result<Observation<f32>, EngineError> {
        let SpecialTokens { start, end, .. } = *self.vocabulary.special();
        let steps = &mut self.decoder.steps;
        steps.look_at(scene)?;
        let (mut z, mut probabilities, mut length) = (Vec::new(), Vec::new(), 0);
        let mut word = start;
        while length < self.max_words && (length == 0 || word != end) {
            steps.step(&[0], &[word])?;
            let row = steps.z_of(1);
            let next = initialization.head.probabilities(&row);
            // A caption has one word at least, as in the beam search.
            let allowed = next.iter().enumerate().filter(|(id, _)| length > 0 || *id != end.index());
            let best = allowed.fold((0, 0.0), |best, (id, &p)| if p > best.1 { (id, p) } else { best });
            word = TokenId(best.0 as u32);
            z.extend(row.iter());
            probabilities.extend(next);
            length += 1;
        }
        let shape = "every step adds a row";
        let z = Array2::from_shape_vec((length, self.shapes.feature), z).expect(shape);
        let probabilities =
            Array2::from_shape_vec((length, initialization.head.words()), probabilities).expect(shape);
        let tokens = ArrayView2::from_shape((self.shapes.positions(), self.shapes.token), scene.seen.tokens)
            .expect("the encoder's graph was loaded with this shape");
        Ok(initialization.references.observe(&tokens, &probabilities.view(), z))
    }

    /// Makes the decoder read captions of a picture, each of at most [`Self::max_words`] words.
    pub fn read(
        &mut self,
        initialization: &Initialization<f32>,
        scene: Scene,
        captions: &[Reading],
    ) -> Result<Vec<Read<f32>>, EngineError> {
        let SpecialTokens { start, .. } = *self.vocabulary.special();
        let steps = &mut self.decoder.steps;
        let places: Vec<usize> = (0..steps.width()).collect();
        let mut reads = Vec::with_capacity(captions.len());
        for captions in captions.chunks(steps.width()) {
            steps.look_at(scene)?;
            let longest = captions.iter().map(|caption| caption.targets.len()).max().unwrap_or_default();
            let mut z = vec![Vec::new(); captions.len()];
            for place in 0..longest {
                let before = |caption: &Reading| match place.checked_sub(1) {
                    Some(before) => caption.targets.get(before).copied().unwrap_or(start),
                    None => start,
                };
                let words: Vec<TokenId> = captions.iter().map(before).collect();
                steps.step(&places[..captions.len()], &words)?;
                let rows = steps.z_of(captions.len());
                for ((z, row), caption) in z.iter_mut().zip(rows.rows()).zip(captions) {
                    if place < caption.targets.len() {
                        z.extend(row);
                    }
                }
            }
            for (z, caption) in z.into_iter().zip(captions) {
                let targets: Vec<usize> = caption.targets.iter().map(|id| id.index()).collect();
                let z = Array2::from_shape_vec((targets.len(), self.shapes.feature), z)
                    .expect("every target adds a row");
                reads.push(Read::new(&initialization.head, z, targets));
            }
        }
        Ok(reads)
    }
}

/// A caption to read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Reading {
    /// Its words, and the end unless it was cut.
    pub targets: Vec<TokenId>,
}
