//! Matrix products over slices, on the calling thread.

/// A row-major matrix in a slice, or its transpose.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// The row-major matrix `[rows, columns]` in `data`.
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns, "a matrix of {rows}x{columns}");
        Self { data, rows, columns, row_stride: columns, column_stride: 1 }
    }

    /// Its transpose, without moving anything.
    pub fn t(self) -> Self {
        Self {
            data: self.data,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }
}

/// out += a b, for row-major `out` `[a.rows, b.columns]`.
#[allow(unsafe_code)]
pub(super) fn add_product(out: &mut [f32], a: Matrix, b: Matrix) {
    assert_eq!(a.columns, b.rows, "inner sizes of a product");
    assert_eq!(out.len(), a.rows * b.columns, "size of a product");
    // SAFETY: `Matrix` views slices of exactly rows x columns elements with strides that stay inside, `out` is
    // row-major of the product's size, both checked above; the three slices do not overlap, as `out` is borrowed
    // mutably.
    unsafe {
        gemm::gemm(
            a.rows,
            b.columns,
            a.columns,
            out.as_mut_ptr(),
            1,
            b.columns as isize,
            true,
            a.data.as_ptr(),
            a.column_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.column_stride as isize,
            b.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// A matrix whose every row is `row`, flat.
pub(super) fn repeat_row(row: &[f32], rows: usize) -> Vec<f32> {
    row.repeat(rows)
}

/// The sum over the rows of a flat matrix with `columns` columns.
pub(super) fn sum_rows(data: &[f32], columns: usize) -> Vec<f32> {
    let mut sum = vec![0.0; columns];
    for row in data.chunks_exact(columns) {
        sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_add_to_what_is_there_and_read_transposes() {
        let a = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let b = [1.0, 0.0, 2.0, 1.0, 0.0, 3.0];
        let mut out = vec![10.0; 4];
        // [1 2 3; 4 5 6] [1 0; 2 1; 0 3] = [5 11; 14 23].
        add_product(&mut out, Matrix::new(&a, 2, 3), Matrix::new(&b, 3, 2));
        assert_eq!(out, [15.0, 21.0, 24.0, 33.0]);
        // Both transposed, the same product transposed: b' a' = [5 14; 11 23].
        let mut out = vec![0.0; 4];
        add_product(&mut out, Matrix::new(&b, 3, 2).t(), Matrix::new(&a, 2, 3).t());
        assert_eq!(out, [5.0, 14.0, 11.0, 23.0]);
        assert_eq!(sum_rows(&a, 3), [5.0, 7.0, 9.0]);
    }
}
