//! From evidence of three kinds to concepts.

use metalens_models::{EvidenceSettings, Sources, TokenId};

/// A word that the picture shows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Concept {
    /// The word.
    pub word: TokenId,
    /// How surely, from 0 to 1.
    pub confidence: f32,
}

/// The words that a picture shows, of most confidence first, of equal ones that with the lower id; the first K of them are what
/// the decoder takes.
///
/// `evidence` are the log-odds of [`Sources::captions`], `classes` the logits of the encoder's classes, `things` the highest
/// score of each of the detector's things. What is not there tells nothing.
#[must_use]
pub fn select(
    sources: &Sources,
    settings: &EvidenceSettings,
    evidence: Option<&[f32]>,
    classes: Option<&[f32]>,
    things: Option<&[f32]>,
) -> Vec<Concept> {
    let mut found = Vec::new();
    if let Some(evidence) = evidence {
        let words = sources.captions.iter().zip(evidence);
        let words = words.filter(|(_, odds)| odds.is_finite());
        found.extend(words.map(|(&word, &odds)| Concept { word, confidence: sigmoid(odds) }));
        sort(&mut found);
        found.truncate(settings.captions.most);
        found.retain(|concept| concept.confidence >= settings.captions.at_least);
    }
    if let Some(classes) = classes {
        let probabilities = softmax(classes);
        for (word, shown_by) in &sources.classes {
            let sum = shown_by.iter().filter_map(|&class| probabilities.get(class)).sum::<f32>();
            if sum >= settings.classes.at_least {
                // Rounding may take a sum of everything above 1.
                found.push(Concept { word: *word, confidence: settings.classes.share * sum.min(1.0) });
            }
        }
    }
    if let Some(things) = things {
        let scores = sources.things.iter().filter_map(|&(word, thing)| Some((word, *things.get(thing)?)));
        let sure = scores.filter(|&(_, score)| score >= settings.things.at_least);
        found.extend(sure.map(|(word, confidence)| Concept { word, confidence }));
    }
    // Of a word's several sources the strongest counts.
    found.sort_by(|a, b| a.word.cmp(&b.word).then(b.confidence.total_cmp(&a.confidence)));
    found.dedup_by_key(|concept| concept.word);
    sort(&mut found);
    found
}

/// Of most confidence first, of equal ones that with the lower id.
fn sort(concepts: &mut [Concept]) {
    concepts.sort_by(|a, b| b.confidence.total_cmp(&a.confidence).then(a.word.cmp(&b.word)));
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut exponentials: Vec<f32> = logits.iter().map(|x| (x - highest).exp()).collect();
    let sum: f32 = exponentials.iter().sum();
    exponentials.iter_mut().for_each(|x| *x /= sum);
    exponentials
}

#[cfg(test)]
mod tests {
    use super::*;
    use metalens_models::{CaptionEvidence, ClassEvidence, ThingEvidence};

    const SETTINGS: EvidenceSettings = EvidenceSettings {
        captions: CaptionEvidence { most: 2, at_least: 0.1 },
        classes: ClassEvidence { at_least: 0.25, share: 0.8 },
        things: ThingEvidence { at_least: 0.35 },
        required: 0.8,
    };

    fn sources() -> Sources {
        Sources {
            captions: vec![TokenId(10), TokenId(11), TokenId(12)],
            classes: vec![(TokenId(20), vec![0, 2]), (TokenId(11), vec![1])],
            things: vec![(TokenId(30), 1), (TokenId(10), 0)],
        }
    }

    fn ids(concepts: &[Concept]) -> Vec<(u32, f32)> {
        concepts.iter().map(|c| (c.word.0, (c.confidence * 1e4).round() / 1e4)).collect()
    }

    /// The log-odds of a probability.
    fn odds(p: f32) -> f32 {
        (p / (1.0 - p)).ln()
    }

    #[test]
    fn of_captions_words_the_strongest_count_from_their_threshold_on() {
        let from =
            |evidence: [f32; 3]| ids(&select(&sources(), &SETTINGS, Some(&evidence.map(odds)), None, None));
        assert_eq!(from([0.2, 0.5, 0.3]), [(11, 0.5), (12, 0.3)]);
        assert_eq!(from([0.05, 0.5, 0.08]), [(11, 0.5)]);
        // Of equal ones the one with the lower id.
        assert_eq!(from([0.3, 0.3, 0.3]), [(10, 0.3), (11, 0.3)]);
    }

    #[test]
    fn probabilities_of_classes_are_added_up_and_a_share_of_them_counts() {
        // softmax of logarithms is the numbers themselves.
        let from = |p: [f32; 3]| ids(&select(&sources(), &SETTINGS, None, Some(&p.map(f32::ln)), None));
        assert_eq!(from([0.5, 0.1, 0.4]), [(20, 0.72)]);
        assert_eq!(from([0.2, 0.7, 0.1]), [(11, 0.56), (20, 0.24)]);
        assert_eq!(from([0.1, 0.76, 0.14]), [(11, 0.608)]);
    }

    #[test]
    fn of_several_sources_the_strongest_counts() {
        let evidence = [0.3, 0.6, 0.2].map(odds);
        let classes = [0.05_f32, 0.9, 0.05].map(f32::ln);
        let found = select(&sources(), &SETTINGS, Some(&evidence), Some(&classes), Some(&[0.5, 0.34]));
        assert_eq!(ids(&found), [(11, 0.72), (10, 0.5)]);
        let found = select(&sources(), &SETTINGS, Some(&evidence), None, Some(&[0.2, 0.9]));
        assert_eq!(ids(&found), [(30, 0.9), (11, 0.6), (10, 0.3)]);
        assert_eq!(select(&sources(), &SETTINGS, None, None, None), []);
    }

    #[test]
    fn what_is_no_number_is_no_evidence() {
        let strange = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        assert_eq!(select(&sources(), &SETTINGS, Some(&strange), Some(&strange), None), []);
        assert_eq!(select(&sources(), &SETTINGS, None, None, Some(&[f32::NAN; 2])), []);
    }
}
