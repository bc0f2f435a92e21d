//! Captions the pictures of a corpus with a bundle, as a device would, scores the captions, and compares them with another's.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use metalens::language::words;
use metalens::{Captioner, Options, vision};
use metalens_models::Bundle;
use serde::{Deserialize, Serialize};

use crate::corpus::Picture;
use crate::parallel;
use crate::score::{self, PairedDifference, Sample, Scores, ThingScores, ThingsSaid};

/// A picture's caption beside what people said.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Captioned {
    /// The picture's name in its corpus.
    pub id: String,
    /// What the bundle says.
    pub caption: String,
    /// The references, as they were scored: lower-case words.
    pub captions: Vec<String>,
    /// CIDEr-D of this caption, with the document frequencies of all references.
    pub cider: f64,
    /// COCO's things that it says, and misses; none where one person said something of the picture.
    #[serde(default)]
    pub things: Option<ThingsSaid>,
    /// The picture's file.
    #[serde(skip)]
    pub path: PathBuf,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Evaluation {
    /// Hypotheses kept while searching.
    pub beam: usize,
    /// Over all pictures that could be decoded.
    pub scores: Scores,
    /// Over those of which several people said something.
    #[serde(flatten)]
    pub things: ThingScores,
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
        let mut captioner =
            Captioner::from_bundle(&bundle, Options { beam: Some(beam), ..Options::default() })?;
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
                things: ThingsSaid::of(&caption, &picture.captions),
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
    let things = ThingScores::new(captions.iter().filter_map(|captioned| captioned.things.as_ref()));
    Ok(Evaluation { beam, scores, things, captions, rejected })
}

impl Evaluation {
    /// What `--json` wrote of another call.
    ///
    /// # Errors
    /// When the file cannot be read or is no such file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read(path).with_context(|| path.display().to_string())?;
        serde_json::from_slice(&text).with_context(|| format!("{}: not what --json writes", path.display()))
    }

    /// This one's CIDEr less the other's, picture by picture.
    ///
    /// # Errors
    /// When the two are not of the same pictures with the same references, as CIDEr depends on all of them.
    pub fn against(&self, other: &Self) -> anyhow::Result<PairedDifference> {
        let others: HashMap<&str, &Captioned> =
            other.captions.iter().map(|captioned| (captioned.id.as_str(), captioned)).collect();
        let pairs: Option<Vec<(f64, f64)>> = self
            .captions
            .iter()
            .map(|captioned| {
                let other = others.get(captioned.id.as_str())?;
                (other.captions == captioned.captions).then_some((captioned.cider, other.cider))
            })
            .collect();
        let pairs = pairs.filter(|pairs| pairs.len() == others.len());
        let difference = pairs.and_then(|pairs| PairedDifference::of(&pairs));
        difference.context("not of the same pictures and references")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn evaluation(ciders: &[(&str, f64)]) -> Evaluation {
        let captioned = |&(id, cider): &(&str, f64)| Captioned {
            id: id.to_owned(),
            caption: "a dog".to_owned(),
            captions: vec!["a cat".to_owned(), "a dog".to_owned()],
            cider,
            things: ThingsSaid::of("a dog", &["a cat".to_owned(), "a dog".to_owned()]),
            path: PathBuf::new(),
        };
        let captions: Vec<Captioned> = ciders.iter().map(captioned).collect();
        let samples = [Sample { hypothesis: "a".into(), references: vec!["a".into()] }];
        let things = ThingScores::new(captions.iter().filter_map(|captioned| captioned.things.as_ref()));
        Evaluation {
            beam: 3,
            scores: score::score(&samples).unwrap(),
            things,
            captions,
            rejected: Vec::new(),
        }
    }

    #[test]
    fn two_evaluations_are_compared_picture_by_picture_in_any_order() {
        let first = evaluation(&[("a", 1.0), ("b", 0.5)]);
        let difference = first.against(&evaluation(&[("b", 0.0), ("a", 0.5)])).unwrap();
        assert_eq!((difference.mean, difference.interval), (0.5, [0.5, 0.5]));
        for others in [&[("a", 1.0)][..], &[("a", 1.0), ("c", 1.0)], &[("a", 1.0), ("b", 1.0), ("c", 1.0)]] {
            let error = first.against(&evaluation(others)).unwrap_err().to_string();
            assert_eq!(error, "not of the same pictures and references");
        }
        let mut other = first.clone();
        other.captions[0].captions.pop();
        assert!(first.against(&other).is_err());
    }

    #[test]
    fn what_was_written_is_read_again_and_anything_else_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scores.json");
        let written = evaluation(&[("a", 1.0)]);
        std::fs::write(&path, serde_json::to_vec(&written).unwrap()).unwrap();
        let read = Evaluation::read(&path).unwrap();
        assert_eq!(
            (read.things, read.captions[0].things.clone()),
            (written.things, written.captions[0].things.clone())
        );
        std::fs::write(&path, "{}").unwrap();
        assert!(
            Evaluation::read(&path).unwrap_err().to_string().ends_with("scores.json: not what --json writes")
        );
    }
}
