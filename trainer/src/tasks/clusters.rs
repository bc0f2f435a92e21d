//! Groups of similar pictures, for corpora that tell no scenes.

use std::num::NonZeroUsize;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Rounds after which the clusters are taken as they are; real pictures settle in a few dozen.
const ROUNDS: usize = 100;

/// Puts each of `vectors`, all of one length, into one of `count` clusters: k-means (Lloyd 1982) from the centres of
/// k-means++ (Arthur and Vassilvitskii 2007).
///
/// ```text
/// first centre uniform; each next one x with probability proportional to D(x)^2, D the distance to the nearest centre;
/// then in turns: cluster(x) = argmin_j |x - c_j|^2,  c_j = mean of the x with cluster(x) = j
/// ```
///
/// The same for the same seed. Where fewer than `count` vectors differ, there are as many clusters as different
/// vectors.
#[must_use]
pub fn clusters(vectors: &[Vec<f32>], count: NonZeroUsize, seed: u64) -> Vec<usize> {
    if vectors.is_empty() {
        return Vec::new();
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut centres = vec![vectors[rng.random_range(0..vectors.len())].clone()];
    let mut distances: Vec<f64> = vectors.iter().map(|vector| distance(vector, &centres[0])).collect();
    while centres.len() < count.get() {
        let Some(next) = weighted(&distances, &mut rng) else { break };
        let centre = vectors[next].clone();
        distances.iter_mut().zip(vectors).for_each(|(nearest, vector)| {
            *nearest = nearest.min(distance(vector, &centre));
        });
        centres.push(centre);
    }
    let mut cluster = nearest(vectors, &centres);
    for _ in 0..ROUNDS {
        move_to_means(&mut centres, vectors, &cluster);
        let next = nearest(vectors, &centres);
        if next == cluster {
            break;
        }
        cluster = next;
    }
    cluster
}

/// A place, drawn with a probability proportional to its weight; none where all are 0.
fn weighted(weights: &[f64], rng: &mut impl Rng) -> Option<usize> {
    let mut left = rng.random::<f64>() * weights.iter().sum::<f64>();
    let mut last = None;
    for (place, &weight) in weights.iter().enumerate().filter(|(_, weight)| **weight > 0.0) {
        last = Some(place);
        left -= weight;
        if left < 0.0 {
            break;
        }
    }
    last
}

fn nearest(vectors: &[Vec<f32>], centres: &[Vec<f32>]) -> Vec<usize> {
    let nearest = |vector: &Vec<f32>| {
        let distances = centres.iter().map(|centre| distance(vector, centre)).enumerate();
        distances.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(place, _)| place)
    };
    vectors.iter().map(nearest).collect()
}

/// A centre that nothing is nearest to stays where it is.
fn move_to_means(centres: &mut [Vec<f32>], vectors: &[Vec<f32>], cluster: &[usize]) {
    for (place, centre) in centres.iter_mut().enumerate() {
        let mut sum = vec![0.0_f64; centre.len()];
        let mut members = 0_usize;
        for (vector, _) in vectors.iter().zip(cluster).filter(|(_, of)| **of == place) {
            sum.iter_mut().zip(vector).for_each(|(sum, &value)| *sum += f64::from(value));
            members += 1;
        }
        if members > 0 {
            centre.iter_mut().zip(sum).for_each(|(value, sum)| *value = (sum / members as f64) as f32);
        }
    }
}

/// Squared Euclidean distance.
fn distance(a: &[f32], b: &[f32]) -> f64 {
    // Sixteen sums at a time let the compiler use vectors; one alone it must add in order.
    let mut sums = [0.0_f32; 16];
    let (a, a_rest) = a.as_chunks::<16>();
    let (b, b_rest) = b.as_chunks::<16>();
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += (a - b) * (a - b);
        }
    }
    let rest = a_rest.iter().zip(b_rest).map(|(a, b)| (a - b) * (a - b));
    sums.into_iter().chain(rest).map(f64::from).sum()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn count(count: usize) -> NonZeroUsize {
        NonZeroUsize::new(count).unwrap()
    }

    #[test]
    fn clouds_that_lie_apart_are_found() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let vectors: Vec<Vec<f32>> = (0..90)
            .map(|i| (0..20).map(|d| if d == i % 3 { 10.0 } else { 0.0 } + rng.random::<f32>()).collect())
            .collect();
        for seed in 0..5 {
            let cluster = clusters(&vectors, count(3), seed);
            assert!((0..90).all(|i| cluster[i] == cluster[i % 3]), "{cluster:?}");
            assert!(cluster[0] != cluster[1] && cluster[1] != cluster[2] && cluster[0] != cluster[2]);
            assert_eq!(clusters(&vectors, count(3), seed), cluster);
        }
    }

    #[test]
    fn there_are_no_more_clusters_than_different_vectors() {
        let vectors = vec![vec![1.0], vec![1.0], vec![3.0]];
        let cluster = clusters(&vectors, count(5), 0);
        assert!(cluster[0] == cluster[1] && cluster[1] != cluster[2]);
        assert!(clusters(&[], count(5), 0).is_empty());
    }
}
