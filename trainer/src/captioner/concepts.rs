//! Concepts beside pictures: the words of most evidence, as tokens that the decoder looks at and points at.

use std::ops::Range;

use candle_core::Tensor;
use metalens::evidence::Concept;

use super::PackedCaptions;
use super::ops::Pointing;

/// The concepts of some rows, one row's after the other's; no word stands twice in a row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConceptRows {
    /// All of them.
    pub concepts: Vec<Concept>,
    /// Which of them each row has.
    pub of_row: Vec<Range<usize>>,
}

impl ConceptRows {
    /// Rows with these concepts.
    pub fn new<'a>(rows: impl IntoIterator<Item = &'a [Concept]>) -> Self {
        let mut all = Self::default();
        for row in rows {
            let start = all.concepts.len();
            all.concepts.extend_from_slice(row);
            all.of_row.push(start..all.concepts.len());
        }
        all
    }

    /// The same concepts for other rows: row i has those that row `rows[i]` had.
    #[must_use]
    pub fn of(&self, rows: &[u32]) -> Vec<Range<usize>> {
        rows.iter().map(|&row| self.of_row[row as usize].clone()).collect()
    }

    /// Where captions of these rows point: at every word that is to be said, each concept of the row that was not read yet.
    #[must_use]
    pub fn pointings(&self, captions: &PackedCaptions) -> Vec<Pointing> {
        let mut said = vec![false; self.concepts.len()];
        let mut pointings = Vec::new();
        let mut place = 0;
        for &rows in &captions.rows_at {
            for of_row in &self.of_row[..rows] {
                self.point_at(
                    captions.inputs[place],
                    place,
                    of_row,
                    &mut said[of_row.clone()],
                    &mut pointings,
                );
                place += 1;
            }
        }
        pointings
    }

    /// Adds where row `place` points, whose concepts are `of_row`, after it has read `word`; marks that word as said.
    pub fn point_at(
        &self,
        word: u32,
        place: usize,
        of_row: &Range<usize>,
        said: &mut [bool],
        pointings: &mut Vec<Pointing>,
    ) {
        for (concept, said) in self.concepts[of_row.clone()].iter().zip(said) {
            *said |= concept.word.0 == word;
            if !*said {
                let Concept { word, confidence } = *concept;
                pointings.push(Pointing { row: place, word: word.0, confidence });
            }
        }
    }
}

/// Concepts, encoded.
pub struct EncodedConcepts {
    /// c `[concepts, token]`.
    pub tokens: Tensor,
    /// Their attention keys `[concepts, key]`.
    pub keys: Tensor,
    /// The concepts, by the row or the picture that has them.
    pub rows: ConceptRows,
}

impl EncodedConcepts {
    /// The same numbers, through which no gradient flows.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self { tokens: self.tokens.detach(), keys: self.keys.detach(), rows: self.rows.clone() }
    }
}

#[cfg(test)]
mod tests {
    use metalens_models::TokenId;

    use super::*;

    #[test]
    fn a_concept_is_pointed_at_until_it_is_read() {
        let concept = |word, confidence| Concept { word: TokenId(word), confidence };
        let long: &[Concept] = &[concept(9, 0.9), concept(7, 0.5)];
        let rows = ConceptRows::new([long, &[concept(5, 0.2)]]);
        assert_eq!(rows.of(&[1, 0]), [2..3, 0..2]);
        // The rows say 9, and nothing; start is 1.
        let packed = PackedCaptions::new(&[&[9], &[]], 1, 2);
        let at = |row, word, confidence| Pointing { row, word, confidence };
        assert_eq!(rows.pointings(&packed), [at(0, 9, 0.9), at(0, 7, 0.5), at(1, 5, 0.2), at(2, 7, 0.5)]);
    }
}
