//! Pictures as a body sees them: encoded, captioned before calibration, and observed.

use metalens::adaptation::{Head, Initialization, Observation, Read, References, Shown, said};
use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate};

use super::body::{Body, Encodings};
use super::say::{Length, Said, Scores};
use crate::vocabulary::END;

/// Encoded pictures and their captions before calibration.
pub struct Gallery {
    /// What the encoder made of them.
    pub encodings: Encodings,
    /// Greedy captions before calibration by the head alone, along which a device observes pictures; what it says points at concepts
    /// too, where there are any.
    pub base: Vec<Said>,
}

impl Encodings {
    /// Some of the pictures.
    #[must_use]
    pub fn select(&self, pictures: &[usize]) -> Self {
        let some = |all: &[Vec<f32>]| pictures.iter().map(|&picture| all[picture].clone()).collect();
        Self {
            tokens: some(&self.tokens),
            keys: some(&self.keys),
            states: some(&self.states),
            concepts: pictures.iter().map(|&picture| self.concepts[picture].clone()).collect(),
        }
    }

    /// Visual tokens `[positions, width]` of a picture.
    #[must_use]
    pub fn view(&self, picture: usize, width: usize) -> ArrayView2<'_, f32> {
        let tokens = &self.tokens[picture];
        ArrayView2::from_shape((tokens.len() / width, width), tokens).expect("tokens have one width")
    }

    /// Mean of a picture's visual tokens `[width]`.
    #[must_use]
    pub fn pooled(&self, picture: usize, width: usize) -> Array1<f32> {
        self.view(picture, width).mean_axis(Axis(0)).expect("a picture has positions")
    }
}

/// The word with the highest probability of each row; captions have one word at least.
pub fn most_probable(scores: &ArrayView2<f32>, length: Length) -> Vec<u32> {
    let choose = |row: ndarray::ArrayView1<f32>| {
        let mut best = (0, f32::NEG_INFINITY);
        for (word, &score) in row.iter().enumerate() {
            let barred = length == Length(0) && word == END as usize;
            if score > best.1 && !barred {
                best = (word, score);
            }
        }
        best.0 as u32
    };
    scores.rows().into_iter().map(choose).collect()
}

impl Gallery {
    /// Captions encoded pictures with the head `head`.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn new(body: &Body, head: &Head<f32>, encodings: Encodings) -> anyhow::Result<Self> {
        let all: Vec<usize> = (0..encodings.tokens.len()).collect();
        let max_words = body.bundle().manifest().decoding.max_words;
        let base = body.say(&encodings, &all, &encodings.shown(&all), max_words, |asked| {
            most_probable(&head.logits(&asked.z).view(), asked.length)
        })?;
        Ok(Self { encodings, base })
    }

    /// The words that are said of pictures before calibration, concepts pointed at where there are any; `head` is the one that the
    /// gallery was made with.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn captions(
        &self,
        body: &Body,
        head: &Head<f32>,
        pictures: &[usize],
    ) -> anyhow::Result<Vec<Vec<u32>>> {
        if !body.parameters().sizes.concepts {
            return Ok(pictures.iter().map(|&picture| self.base[picture].words.clone()).collect());
        }
        let max_words = body.bundle().manifest().decoding.max_words;
        let shown = self.encodings.shown(pictures);
        let said = body.say(&self.encodings, pictures, &shown, max_words, |asked| {
            let logits = asked.pointed(Scores::Logits(head.logits(&asked.z)));
            most_probable(&logits.view(), asked.length)
        })?;
        Ok(said.into_iter().map(|said| said.words).collect())
    }

    /// How probably each known word is said of a picture.
    #[must_use]
    pub fn said(&self, head: &Head<f32>, picture: usize) -> ndarray::Array1<f32> {
        said(&head.probabilities(&z_of(&self.base[picture]).view()).view())
    }

    /// Observes a picture.
    #[must_use]
    pub fn observe(
        &self,
        head: &Head<f32>,
        references: &References<f32>,
        picture: usize,
    ) -> Observation<f32> {
        let tokens = self.encodings.view(picture, references.width());
        let z = z_of(&self.base[picture]);
        references.observe(&tokens, &head.probabilities(&z.view()).view(), z)
    }
}

/// z `[steps, feature]` along a caption.
fn z_of(said: &Said) -> Array2<f32> {
    let rows: Vec<_> = said.z.iter().map(|z| z.view().insert_axis(Axis(0))).collect();
    concatenate(Axis(0), &rows).expect("a caption has a step, and all z one width")
}

/// A picture of a support set, with captions as ids of words.
pub fn shown(
    body: &Body,
    gallery: &Gallery,
    initialization: &Initialization<f32>,
    samples: &[(usize, Vec<Vec<u32>>)],
) -> anyhow::Result<Vec<Shown<f32>>> {
    let flat: Vec<(usize, Vec<u32>)> = samples
        .iter()
        .flat_map(|(picture, captions)| captions.iter().map(|caption| (*picture, caption.clone())))
        .collect();
    let mut taught = body.teach(&gallery.encodings, &flat)?.into_iter();
    Ok(samples
        .iter()
        .map(|(picture, captions)| Shown {
            observation: gallery.observe(&initialization.head, &initialization.references, *picture),
            captions: taught
                .by_ref()
                .take(captions.len())
                .map(|taught| Read::new(&initialization.head, taught.z, taught.targets))
                .collect(),
        })
        .collect())
}
