//! Captions as the decoder reads them: sorted by length, so that no step computes on padding.

use candle_core::Tensor;
use metalens::evidence::Concept;

use super::ConceptRows;

/// Captions of a batch, packed: rows are sorted by falling length, and step t holds the rows still speaking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedCaptions {
    /// The row in the caller's order of each sorted row.
    pub order: Vec<usize>,
    /// How many rows step t has; never rises.
    pub rows_at: Vec<usize>,
    /// The word read, for every (step, row), steps first.
    pub inputs: Vec<u32>,
    /// The word to be said next, likewise.
    pub targets: Vec<u32>,
}

impl PackedCaptions {
    /// Packs captions given as token ids without start and end, such as `[[5, 9], [7]]`.
    #[must_use]
    pub fn new(captions: &[&[u32]], start: u32, end: u32) -> Self {
        let mut order: Vec<usize> = (0..captions.len()).collect();
        order.sort_by_key(|&row| std::cmp::Reverse(captions[row].len()));
        let steps = order.first().map_or(0, |&row| captions[row].len() + 1);
        let mut packed = Self { order, rows_at: Vec::new(), inputs: Vec::new(), targets: Vec::new() };
        for t in 0..steps {
            let speaking = packed.order.iter().take_while(|&&row| captions[row].len() >= t);
            let mut rows = 0;
            for &row in speaking {
                let words = captions[row];
                packed.inputs.push(if t == 0 { start } else { words[t - 1] });
                packed.targets.push(words.get(t).copied().unwrap_or(end));
                rows += 1;
            }
            packed.rows_at.push(rows);
        }
        packed
    }

    /// Where the words of each of the caller's rows stand, the end last.
    #[must_use]
    pub fn places(&self) -> Vec<Vec<usize>> {
        let mut places = vec![Vec::new(); self.order.len()];
        let rows = self.rows_at.iter().flat_map(|&rows| &self.order[..rows]);
        rows.enumerate().for_each(|(place, &row)| places[row].push(place));
        places
    }
}

/// One batch, or one shard of it.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The trunk's features `[pictures, 49, trunk]`; none where the captions are of no picture.
    pub features: Option<Tensor>,
    /// Pictures that are not shown, though there are features: each of their tokens is that of no picture.
    pub hidden: Vec<u32>,
    /// The concepts of each sorted row, where the captioner knows concepts.
    pub concepts: Option<ConceptRows>,
    /// The picture of each sorted row.
    pub picture_of_row: Vec<u32>,
    /// The captions.
    pub captions: PackedCaptions,
}

impl Batch {
    /// Puts features and captions together; `picture_of_row` is in the caller's order of rows.
    #[must_use]
    pub fn new(features: Tensor, picture_of_row: &[u32], captions: PackedCaptions) -> Self {
        let picture_of_row = captions.order.iter().map(|&row| picture_of_row[row]).collect();
        Self { features: Some(features), hidden: Vec::new(), concepts: None, picture_of_row, captions }
    }

    /// Captions of no picture.
    #[must_use]
    pub fn without_pictures(captions: PackedCaptions) -> Self {
        let picture_of_row = vec![0; captions.order.len()];
        Self { features: None, hidden: Vec::new(), concepts: None, picture_of_row, captions }
    }

    /// The same with concepts, row by row in the caller's order.
    #[must_use]
    pub fn with_concepts(self, rows: &[Vec<Concept>]) -> Self {
        let sorted = self.captions.order.iter().map(|&row| rows[row].as_slice());
        Self { concepts: Some(ConceptRows::new(sorted)), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_drops_finished_rows_and_shifts_targets_by_one() {
        let packed = PackedCaptions::new(&[&[7], &[5, 9, 6], &[8, 4]], 1, 2);
        assert_eq!(packed.order, [1, 2, 0]);
        assert_eq!(packed.rows_at, [3, 3, 2, 1]);
        assert_eq!(packed.inputs, [1, 1, 1, 5, 8, 7, 9, 4, 6]);
        assert_eq!(packed.targets, [5, 8, 7, 9, 4, 2, 6, 2, 2]);
        assert_eq!(packed.places(), [vec![2, 5], vec![0, 3, 6, 8], vec![1, 4, 7]]);
    }
}
