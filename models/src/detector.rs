//! What a detector takes and makes.

use serde::{Deserialize, Serialize};

/// The sizes of a detector of the YOLOX family (Ge et al. 2021): `images` f32[1, 3, height, width] -> `output`
/// f32[1, cells, 5 + things].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetectorShape {
    /// Pixels of its input.
    pub width: usize,
    /// Pixels of its input.
    pub height: usize,
    /// Pixels from one cell to the next, of each grid, in the order of the output's rows.
    pub strides: Vec<usize>,
    /// Classes that it tells apart.
    pub things: usize,
}

impl DetectorShape {
    /// YOLOX-Nano, as it is published for COCO's eighty things.
    #[must_use]
    pub fn yolox_nano() -> Self {
        Self { width: 416, height: 416, strides: vec![8, 16, 32], things: 80 }
    }

    /// Cells of all grids, which are the output's rows; none where a stride is 0 or does not divide the input.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.grids().map(|(_, [columns, rows])| columns * rows).sum()
    }

    /// Stride, columns and rows of each grid.
    pub fn grids(&self) -> impl Iterator<Item = (usize, [usize; 2])> {
        let divides =
            |stride: &&usize| self.width.is_multiple_of(**stride) && self.height.is_multiple_of(**stride);
        self.strides
            .iter()
            .filter(|stride| **stride > 0)
            .filter(divides)
            .map(|&stride| (stride, [self.width / stride, self.height / stride]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_of_all_strides_are_rows_of_one_output() {
        // 52 x 52 + 26 x 26 + 13 x 13, as the published file has it.
        assert_eq!(DetectorShape::yolox_nano().cells(), 3549);
        let odd = DetectorShape { width: 64, height: 32, strides: vec![0, 16, 24], things: 2 };
        assert_eq!(odd.grids().collect::<Vec<_>>(), [(16, [4, 2])]);
    }
}
