//! Captions the pictures of a corpus with a bundle, as a device would, and scores the captions.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use metalens::language::words;
use metalens::{Captioner, Options, vision};
use metalens_models::Bundle;
use serde::Serialize;

use crate::corpus::Picture;
use crate::parallel;
use crate::score::{self, Sample, Scores};

/// A picture's caption beside what people said.
#[derive(Clone, Debug, Serialize)]
pub struct Captioned {
    /// The picture's name in its corpus.
    pub id: String,
    /// What the bundle says.
    pub caption: String,
    /// The references, as they were scored: lower-case words.
    pub captions: Vec<String>,
    /// CIDEr-D of this caption, with the document frequencies of all references.
    pub cider: f64,
    /// The picture's file.
    #[serde(skip)]
    pub path: PathBuf,
}

/// What came of it.
#[derive(Clone, Debug, Serialize)]
pub struct Evaluation {
    /// Hypotheses kept while searching.
    pub beam: usize,
    /// Over all pictures that could be decoded.
    pub scores: Scores,
    /// One a picture, in the corpus' order.
    pub captions: Vec<Captioned>,
    /// Names of pictures that could not be decoded, and why.
    pub rejected: Vec<(String, String)>,
}

/// Captions `pictures` with the bundle in `folder` on `threads` threads; `beam` is the bundle's own where not given.
///
/// # Errors
/// When the bundle is refused, no picture can be decoded, or `stop` is set.
pub fn evaluate(
    folder: &Path,
    beam: Option<usize>,
    pictures: &[&Picture],
    threads: usize,
    stop: &AtomicBool,
) -> anyhow::Result<Evaluation> {
    let bundle = Bundle::open(folder)?;
    let beam = beam.unwrap_or(bundle.manifest().decoding.beam);
    let said = parallel::map(pictures, threads, "pictures", stop, || {
        let mut captioner = Captioner::from_bundle(&bundle, Options { beam: Some(beam) })?;
        Ok(move |picture: &&Picture| {
            let decoded = std::fs::read(&picture.path)
                .map_err(|error| error.to_string())
                .and_then(|bytes| vision::decode(&bytes).map_err(|error| error.to_string()));
            match decoded {
                Ok(decoded) => Ok(Ok(captioner.caption(&decoded)?.text())),
                Err(reason) => Ok(Err(reason)),
            }
        })
    })?;

    let (mut captions, mut rejected) = (Vec::new(), Vec::new());
    for (picture, caption) in pictures.iter().zip(said) {
        match caption {
            Ok(caption) => captions.push(Captioned {
                id: picture.name.clone(),
                caption,
                captions: picture.captions.iter().map(|text| words(text).join(" ")).collect(),
                cider: 0.0,
                path: picture.path.clone(),
            }),
            Err(reason) => rejected.push((picture.name.clone(), reason)),
        }
    }
    let samples: Vec<Sample> = captions
        .iter()
        .map(|c| Sample { hypothesis: c.caption.clone(), references: c.captions.clone() })
        .collect();
    let scores = score::score(&samples).context("no picture could be captioned")?;
    for (caption, cider) in captions.iter_mut().zip(score::cider_of_each(&samples)) {
        caption.cider = cider;
    }
    Ok(Evaluation { beam, scores, captions, rejected })
}
