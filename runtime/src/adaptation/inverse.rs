//! The inverse of a symmetric positive definite matrix.

use ndarray::Array2;

/// M^-1 of a symmetric positive definite M, by its Cholesky factor L: M = L L^T, M^-1 = L^-T L^-1 (Golub and Van Loan
/// 2013, algorithm 4.2.1). `None` where M is not positive definite.
///
/// A library would bring a second kind of matrix for these lines, and rebuild what multiplies the first.
#[must_use]
pub fn positive_inverse(matrix: &Array2<f64>) -> Option<Array2<f64>> {
    let n = matrix.nrows();
    let mut factor = vec![0.0; n * n];
    for row in 0..n {
        for column in 0..=row {
            let (a, b) = (&factor[row * n..][..column], &factor[column * n..][..column]);
            let rest = matrix[[row, column]] - dot(a, b);
            factor[row * n + column] = if row == column {
                if rest <= 0.0 || !rest.is_finite() {
                    return None;
                }
                rest.sqrt()
            } else {
                rest / factor[column * n + column]
            };
        }
    }
    // Row i holds column i of L^-1, from the diagonal on.
    let mut inverse = vec![0.0; n * n];
    for column in 0..n {
        for row in column..n {
            let known = dot(
                &factor[row * n + column..][..row - column],
                &inverse[column * n + column..][..row - column],
            );
            let one = if row == column { 1.0 } else { 0.0 };
            inverse[column * n + row] = (one - known) / factor[row * n + row];
        }
    }
    Some(Array2::from_shape_fn((n, n), |(i, j)| {
        let from = i.max(j);
        dot(&inverse[i * n + from..][..n - from], &inverse[j * n + from..][..n - from])
    }))
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_times_its_inverse_is_one() {
        let root = Array2::from_shape_fn((6, 6), |(i, j)| ((i * 7 + j * 3) as f64).sin());
        let matrix = root.dot(&root.t()) + Array2::<f64>::eye(6) * 0.1;
        let gap = matrix.dot(&positive_inverse(&matrix).unwrap()) - Array2::<f64>::eye(6);
        assert!(gap.iter().all(|gap| gap.abs() < 1e-9), "{gap}");
    }

    #[test]
    fn a_matrix_that_is_not_positive_definite_has_none() {
        let matrix = Array2::from_shape_vec((2, 2), vec![1.0, 2.0, 2.0, 1.0]).unwrap();
        assert_eq!(positive_inverse(&matrix), None);
    }
}
