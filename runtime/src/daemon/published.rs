//! A caption, as it is published.

use std::time::SystemTime;

use ndarray::Array2;
use serde::Serialize;

use crate::store::Generation;
use crate::{Caption, Evident, Located, Word};

/// A caption of a frame: one line on standard output, and what every other output makes of it.
#[derive(Clone, Debug, Serialize)]
pub struct Published {
    /// When the frame was there, by the clock on the wall (RFC 3339).
    pub time: String,
    /// The frame's number.
    pub sequence: u64,
    /// The frame's file; none for cameras.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What is said.
    pub caption: String,
    /// The same, word by word.
    pub words: Vec<Word>,
    /// How much the frame is like what was calibrated on; none without a calibration.
    pub familiarity: Option<f32>,
    /// The calibration that was used; none for the bundle's own head.
    pub generation: Option<Generation>,
    /// Milliseconds from the frame to the caption.
    pub latency_ms: f64,
    /// What the caption was made of beside the picture, of most evidence first.
    pub concepts: Vec<Evident>,
    /// Where each word looked, `[words, positions]`.
    #[serde(skip)]
    pub attention: Array2<f32>,
    /// How much each word looked at each concept, `[words, concepts]`.
    #[serde(skip)]
    pub concept_attention: Array2<f32>,
    /// Where the detector found things.
    #[serde(skip)]
    pub boxes: Vec<Located>,
}

/// A caption, with where its words looked and where the detector found things.
#[derive(Serialize)]
struct Event<'a> {
    #[serde(flatten)]
    published: &'a Published,
    /// A row for each word, in thousandths, row by row over the encoder's grid.
    attention: Vec<Vec<u16>>,
    /// The same over `concepts`.
    concept_attention: Vec<Vec<u16>>,
    boxes: &'a [Located],
}

impl Published {
    /// What is published of a caption.
    #[must_use]
    pub fn new(caption: Caption, frame: &FrameOf, generation: Option<Generation>, latency_ms: f64) -> Self {
        Self {
            time: rfc3339(frame.time),
            sequence: frame.sequence,
            file: frame.file.clone(),
            caption: caption.text(),
            words: caption.words,
            familiarity: caption.familiarity,
            generation,
            latency_ms,
            concepts: caption.concepts,
            attention: caption.attention,
            concept_attention: caption.concept_attention,
            boxes: caption.boxes,
        }
    }

    /// The line on standard output.
    #[must_use]
    pub fn line(&self) -> String {
        json(self)
    }

    /// The same with `attention`, `concept_attention` and `boxes`.
    #[must_use]
    pub fn event(&self) -> String {
        json(&Event {
            published: self,
            attention: thousandths(&self.attention),
            concept_attention: thousandths(&self.concept_attention),
            boxes: &self.boxes,
        })
    }
}

fn thousandths(weights: &Array2<f32>) -> Vec<Vec<u16>> {
    let of = |&weight: &f32| (1000.0 * weight).round() as u16;
    weights.rows().into_iter().map(|row| row.iter().map(of).collect()).collect()
}

/// What of a frame is published.
#[derive(Clone, Debug)]
pub struct FrameOf {
    /// Its number.
    pub sequence: u64,
    /// When it was there.
    pub time: SystemTime,
    /// Its file.
    pub file: Option<String>,
}

/// A time as it is written everywhere.
#[must_use]
pub fn rfc3339(time: SystemTime) -> String {
    // A clock before 1970 is none.
    humantime::format_rfc3339_millis(time.max(SystemTime::UNIX_EPOCH)).to_string()
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("text, numbers and lists of them can be written as JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_what_scripts_rely_on_and_an_event_the_attention_as_well() {
        let caption = Caption {
            words: vec![Word { word: "dog".to_owned(), probability: 0.5 }],
            log_probability: -1.0,
            attention: Array2::from_elem((1, 2), 0.25),
            concepts: vec![Evident { word: "dog".to_owned(), evidence: 0.5 }],
            concept_attention: Array2::from_elem((1, 1), 0.5),
            boxes: vec![Located {
                word: "dog".to_owned(),
                evidence: 0.5,
                left: 0.25,
                top: 0.0,
                width: 0.5,
                height: 1.0,
            }],
            familiarity: None,
            encoder_ms: 0.0,
            decoder_ms: 0.0,
        };
        let frame = FrameOf { sequence: 7, time: SystemTime::UNIX_EPOCH, file: Some("a.jpg".to_owned()) };
        let published = Published::new(caption, &frame, None, 1.5);
        assert_eq!(
            published.line(),
            "{\"time\":\"1970-01-01T00:00:00.000Z\",\"sequence\":7,\"file\":\"a.jpg\",\"caption\":\"dog\",\
             \"words\":[{\"word\":\"dog\",\"probability\":0.5}],\"familiarity\":null,\"generation\":null,\"latency_ms\":1.5,\
             \"concepts\":[{\"word\":\"dog\",\"evidence\":0.5}]}"
        );
        let event = published.event();
        let end = ",\"attention\":[[250,250]],\"concept_attention\":[[500]],\
                   \"boxes\":[{\"word\":\"dog\",\"evidence\":0.5,\"left\":0.25,\"top\":0.0,\"width\":0.5,\"height\":1.0}]}";
        assert!(event.ends_with(end), "{event}");
    }
}
