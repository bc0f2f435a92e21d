//! One vector a picture: mean and maximum of the trunk's map, standardised, in as few directions as carry most of what differs.

use candle_core::{DType, Device, Result, Tensor};

/// From a pooled map to phi: standardised, and projected on the directions of most variance.
#[derive(Clone, Debug)]
pub struct Phi {
    /// R `[2 channels, phi]`.
    pub projection: Tensor,
    /// m `[phi]`.
    pub offset: Tensor,
}

/// Rounds of orthogonal iteration (Golub and Van Loan 2013, section 8.2.4); the directions need not be exact, only the same for all.
const ROUNDS: usize = 12;
/// What does not vary is not blown up.
const LEAST_SPREAD: f64 = 1e-3;

/// Mean and maximum over the positions of a map `[pictures, positions, channels]`, side by side: `[pictures, 2 channels]`.
///
/// # Errors
/// When shapes do not fit.
pub fn pool(map: &Tensor) -> Result<Tensor> {
    Tensor::cat(&[&map.mean(1)?, &map.max(1)?], 1)
}

impl Phi {
    /// The phi of `width` numbers that suits pooled maps `[pictures, 2 channels]`, principal components (Pearson 1901) of them.
    ///
    /// # Errors
    /// When there are not more channels than `width`.
    pub fn fit(pooled: &Tensor, width: usize) -> Result<Self> {
        let (pictures, channels) = pooled.dims2()?;
        if width > channels || pictures < 2 {
            candle_core::bail!(
                "concepts.phi = {width}: the trunk's mean and maximum have {channels} numbers, of {pictures} pictures; lower it"
            );
        }
        let mean = pooled.mean(0)?;
        let centred = pooled.broadcast_sub(&mean)?;
        let spread = (centred.sqr()?.mean(0)?.sqrt()? + LEAST_SPREAD)?;
        let standard = centred.broadcast_div(&spread)?;
        let covariance = (standard.t()?.matmul(&standard)? / pictures as f64)?;
        // Columns of the identity, as good a start as any that is no eigenvector.
        let start: Vec<f32> = (0..channels * width)
            .map(|i| {
                let (row, column) = (i / width, i % width);
                if row % width == column { 1.0 } else { 0.01 * ((i * 2_654_435_761) % 1009) as f32 / 1009.0 }
            })
            .collect();
        let mut directions = Tensor::from_vec(start, (channels, width), &Device::Cpu)?;
        for _ in 0..ROUNDS {
            directions = orthonormal(&covariance.matmul(&directions)?)?;
        }
        let projection = directions.broadcast_div(&spread.unsqueeze(1)?)?;
        let offset = mean.unsqueeze(0)?.matmul(&projection)?.squeeze(0)?;
        Ok(Self { projection, offset })
    }

    /// phi `[pictures, phi]` of pooled maps `[pictures, 2 channels]`.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn of(&self, pooled: &Tensor) -> Result<Tensor> {
        pooled.matmul(&self.projection)?.broadcast_sub(&self.offset)
    }
}

/// The columns of `x` `[rows, columns]` made orthonormal by modified Gram-Schmidt, twice, in f64.
fn orthonormal(x: &Tensor) -> Result<Tensor> {
    let (rows, columns) = x.dims2()?;
    let mut basis: Vec<Vec<f64>> = x.to_dtype(DType::F64)?.t()?.to_vec2()?;
    for _ in 0..2 {
        for column in 0..columns {
            let (before, rest) = basis.split_at_mut(column);
            let here = &mut rest[0];
            for other in before.iter() {
                let along: f64 = other.iter().zip(here.iter()).map(|(a, b)| a * b).sum();
                here.iter_mut().zip(other).for_each(|(x, o)| *x -= along * o);
            }
            let norm = here.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
            here.iter_mut().for_each(|x| *x /= norm);
        }
    }
    let flat: Vec<f32> = basis.into_iter().flatten().map(|x| x as f32).collect();
    Tensor::from_vec(flat, (columns, rows), x.device())?.t()?.contiguous()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn phi_keeps_the_directions_of_most_variance() {
        // Two strong sources and a weak one behind six channels.
        let pictures = 400;
        let wave = |i: usize, k: f64| (i as f64 * k).sin() as f32;
        let rows: Vec<f32> = (0..pictures)
            .flat_map(|i| {
                let (a, b, c) = (wave(i, 1.3), wave(i, 2.1), 0.05 * wave(i, 3.7));
                [3.0 + a, a + c, b, b - c, a + b, 2.0 * a - b]
            })
            .collect();
        let pooled = Tensor::from_vec(rows, (pictures, 6), &Device::Cpu).unwrap();
        let made = Phi::fit(&pooled, 2).unwrap().of(&pooled).unwrap();
        let mean: Vec<f32> = made.mean(0).unwrap().to_vec1().unwrap();
        assert!(mean.iter().all(|mean| mean.abs() < 1e-3), "{mean:?}");
        // Standardised, the six channels have a variance of six; two numbers carry nearly all of it.
        let variance: f32 = made.sqr().unwrap().mean(0).unwrap().sum_all().unwrap().to_scalar().unwrap();
        assert!(variance > 5.95 && variance < 6.0, "{variance}");
        assert!(Phi::fit(&pooled, 7).unwrap_err().to_string().contains("concepts.phi = 7"));
    }
}
