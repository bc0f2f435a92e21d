//! The gate by which the decoder points at concepts that were not said yet (Li et al. 2019, section 3.2, added to the logits
//! instead of blended in).
//!
//! ```text
//! logit of concept k + softplus(a + b confidence_k)     where (a, b) is the decoder's `pointer`
//! ```

use metalens_models::{MAX_CONCEPTS, TokenId};

use super::MAX_HYPOTHESES;
use crate::evidence::Concept;

/// A picture's concepts, and which of them each hypothesis has said. The trainer points with it too, so that its trials say what a
/// device would.
#[derive(Clone, Debug, Default)]
pub struct Pointing {
    concepts: heapless::Vec<Concept, MAX_CONCEPTS>,
    /// Of each hypothesis, a bit for each concept.
    said: heapless::Vec<Said, MAX_HYPOTHESES>,
}

/// A bit for each concept.
type Said = u16;

impl Pointing {
    /// Turns to a new picture, of which nothing has been said.
    pub fn look_at(&mut self, concepts: &[Concept]) {
        self.concepts.clear();
        self.concepts.extend(concepts.iter().copied().take(MAX_CONCEPTS));
        self.said.clear();
    }

    /// Hypothesis i continues the one that stood at `parents[i]` and says `words[i]`; the first ones have said nothing.
    pub fn follow(&mut self, parents: &[usize], words: &[TokenId]) {
        let of = |(&parent, &word): (&usize, &TokenId)| {
            let place = self.concepts.iter().position(|concept| concept.word == word);
            self.said.get(parent).copied().unwrap_or(0) | place.map_or(0, |place| 1 << place)
        };
        self.said = parents.iter().zip(words).take(MAX_HYPOTHESES).map(of).collect();
    }

    /// What a hypothesis' `pointer` adds to the logits of the concepts that it has not said: of each its id, and by how much.
    pub fn bonuses(&self, hypothesis: usize, pointer: [f32; 2]) -> impl Iterator<Item = (usize, f32)> {
        let said = self.said.get(hypothesis).copied().unwrap_or(0);
        let [constant, slope] = pointer;
        let open = self.concepts.iter().enumerate().filter(move |(place, _)| said & (1 << place) == 0);
        open.map(move |(_, concept)| (concept.word.index(), softplus(constant + slope * concept.confidence)))
    }

    /// Adds them to the logits `row` of a hypothesis.
    pub(super) fn point(&self, hypothesis: usize, pointer: [f32; 2], row: &mut [f32]) {
        self.bonuses(hypothesis, pointer).for_each(|(word, bonus)| row[word] += bonus);
    }
}

/// ln(1 + e^x), without overflow.
fn softplus(x: f32) -> f32 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_hypothesis_has_not_said_is_pointed_at() {
        let concept = |word, confidence| Concept { word: TokenId(word), confidence };
        let mut pointing = Pointing::default();
        pointing.look_at(&[concept(3, 0.9), concept(1, 0.5)]);
        let row = |pointing: &Pointing, hypothesis| {
            let mut row = [0.0; 4];
            pointing.point(hypothesis, [-1.0, 2.0], &mut row);
            row.map(|x: f32| (x * 1e4).round() / 1e4)
        };
        // ln(1 + e^0.8) and ln(1 + e^0).
        let (first, second) = (1.1711, (1e4 * std::f32::consts::LN_2).round() / 1e4);
        pointing.follow(&[0], &[TokenId(0)]);
        assert_eq!(row(&pointing, 0), [0.0, second, 0.0, first]);
        pointing.follow(&[0, 0], &[TokenId(3), TokenId(2)]);
        assert_eq!(row(&pointing, 0), [0.0, second, 0.0, 0.0]);
        assert_eq!(row(&pointing, 1), [0.0, second, 0.0, first]);
        // Parents change places.
        pointing.follow(&[1, 0], &[TokenId(1), TokenId(1)]);
        assert_eq!(row(&pointing, 0), [0.0, 0.0, 0.0, first]);
        assert_eq!(row(&pointing, 1), [0.0; 4]);
        pointing.look_at(&[]);
        pointing.follow(&[0], &[TokenId(0)]);
        assert_eq!(row(&pointing, 0), [0.0; 4]);
    }

    #[test]
    fn softplus_neither_overflows_nor_vanishes() {
        assert_eq!(softplus(1e4), 1e4);
        assert_eq!(softplus(-1e4), 0.0);
        assert!((softplus(0.0) - 2.0_f32.ln()).abs() < 1e-6);
    }
}
