//! What a YOLOX detector's output says.
//!
//! Its rows are the cells of its grids `[cells, 5 + things]`: (x, y, log w, log h) of a box, its middle relative to the cell's corner
//! and all in strides; the probability o that there is anything, and p_c that it is of class c.

use metalens_models::DetectorShape;

use super::BOX;

/// Boxes of one class that share more than this of what both cover are of one thing.
const SAME: f32 = 0.45;

/// A thing, and its box.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Thing {
    /// Its class, from 0.
    pub class: usize,
    /// How sure the detector is, 0 … 1.
    pub score: f32,
    /// Left edge.
    pub x: f32,
    /// Upper edge.
    pub y: f32,
    /// From left to right.
    pub width: f32,
    /// From top to bottom.
    pub height: f32,
}

impl Thing {
    /// Intersection over union.
    fn overlap(&self, other: &Self) -> f32 {
        let shared = |at: f32, size: f32, other_at: f32, other_size: f32| {
            ((at + size).min(other_at + other_size) - at.max(other_at)).max(0.0)
        };
        let both = shared(self.x, self.width, other.x, other.width)
            * shared(self.y, self.height, other.y, other.height);
        both / (self.width * self.height + other.width * other.height - both)
    }
}

/// score_c = max over cells of o p_c.
pub(super) fn scores(output: &[f32], scores: &mut [f32]) {
    scores.fill(0.0);
    for cell in output.chunks_exact(BOX + scores.len()) {
        let anything = cell[BOX - 1];
        for (score, class) in scores.iter_mut().zip(&cell[BOX..]) {
            // No number at all is no score.
            *score = score.max((anything * class).clamp(0.0, 1.0));
        }
    }
}

/// The boxes of the likeliest class of each cell, where that scores `threshold` or more, in pixels of the input, surest first; of
/// several of one class that overlap only the surest.
pub(super) fn found(output: &[f32], shape: &DetectorShape, threshold: f32) -> Vec<Thing> {
    let corners = shape.grids().flat_map(|(stride, [columns, rows])| {
        (0..rows).flat_map(move |row| (0..columns).map(move |column| (stride as f32, column, row)))
    });
    let cells = output.chunks_exact(BOX + shape.things).zip(corners);
    let mut things: Vec<Thing> = cells
        .filter_map(|(cell, (stride, column, row))| {
            let classes = cell[BOX..].iter().copied().enumerate();
            let (class, probability) = classes.max_by(|a, b| a.1.total_cmp(&b.1))?;
            let score = cell[BOX - 1] * probability;
            let (width, height) = (cell[2].exp() * stride, cell[3].exp() * stride);
            let (x, y) = ((cell[0] + column as f32) * stride, (cell[1] + row as f32) * stride);
            let thing = Thing { class, score, x: x - width / 2.0, y: y - height / 2.0, width, height };
            (score >= threshold).then_some(thing)
        })
        .collect();
    things.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<Thing> = Vec::new();
    for thing in things {
        if !kept.iter().any(|surer| surer.class == thing.class && surer.overlap(&thing) > SAME) {
            kept.push(thing);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two classes on a grid of 2 x 2 cells of stride 16 and one cell of stride 32.
    fn shape() -> DetectorShape {
        DetectorShape { width: 32, height: 32, strides: vec![16, 32], things: 2 }
    }

    /// All cells empty, but for those given.
    fn output(cells: &[(usize, [f32; 7])]) -> Vec<f32> {
        let mut output = vec![0.0; shape().cells() * 7];
        for (cell, row) in cells {
            output[cell * 7..][..7].copy_from_slice(row);
        }
        output
    }

    #[test]
    fn a_score_is_the_highest_product_of_objectness_and_class() {
        let output =
            output(&[(1, [0.0, 0.0, 0.0, 0.0, 0.5, 0.5, 0.25]), (4, [0.0, 0.0, 0.0, 0.0, 0.25, 0.5, 1.0])]);
        let mut found = [9.0, 9.0];
        scores(&output, &mut found);
        assert_eq!(found, [0.25, 0.25]);
    }

    #[test]
    fn boxes_are_read_by_their_cells_corner_and_stride() {
        let two = 2.0_f32.ln();
        let output = output(&[
            (3, [0.5, 0.25, 0.0, two, 0.5, 0.5, 0.25]),
            (4, [0.5, 0.5, 0.0, 0.0, 1.0, 0.0, 0.5]),
            (0, [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.125]),
        ]);
        // Cell 3 is column 1, row 1 of the first grid: its middle is at (1.5, 1.25) x 16, it is 16 wide and 32 high.
        let expected = [
            Thing { class: 1, score: 0.5, x: 0.0, y: 0.0, width: 32.0, height: 32.0 },
            Thing { class: 0, score: 0.25, x: 16.0, y: 4.0, width: 16.0, height: 32.0 },
        ];
        assert_eq!(found(&output, &shape(), 0.25), expected);
    }

    #[test]
    fn of_boxes_that_overlap_the_surest_is_kept_in_each_class() {
        let output = output(&[
            (0, [1.0, 1.0, 0.0, 0.0, 1.0, 0.5, 0.0]),
            // A pixel further: the same thing. In the other class: another one.
            (1, [0.0625, 1.0, 0.0, 0.0, 1.0, 0.75, 0.0]),
            (2, [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.25]),
            // Half of it is shared, a third of what both cover.
            (3, [0.5, 0.0, 0.0, 0.0, 1.0, 0.125, 0.0]),
        ]);
        let found = found(&output, &shape(), 0.1);
        let told: Vec<(usize, f32)> = found.iter().map(|thing| (thing.class, thing.score)).collect();
        assert_eq!(told, [(0, 0.75), (1, 0.25), (0, 0.125)]);
    }
}
