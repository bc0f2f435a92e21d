//! ROUGE-L (Lin 2004, section 3), as pycocoevalcap computes it.

use super::Sample;

/// Weight of recall against precision.
const BETA: f64 = 1.2;

/// F-measure of the best precision and the best recall over the references, each of the longest common subsequence.
pub(super) fn rouge_l(sample: &Sample) -> f64 {
    // Like Python's split(" "): an empty text has one empty word.
    let hypothesis: Vec<&str> = sample.hypothesis.split(' ').collect();
    let (mut precision, mut recall) = (0.0_f64, 0.0_f64);
    for reference in &sample.references {
        let reference: Vec<&str> = reference.split(' ').collect();
        let common = longest_common_subsequence(&hypothesis, &reference) as f64;
        precision = precision.max(common / hypothesis.len() as f64);
        recall = recall.max(common / reference.len() as f64);
    }
    if precision == 0.0 || recall == 0.0 {
        return 0.0;
    }
    (1.0 + BETA * BETA) * precision * recall / (recall + BETA * BETA * precision)
}

fn longest_common_subsequence(a: &[&str], b: &[&str]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for x in a {
        let mut diagonal = 0;
        for (j, y) in b.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if x == y { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    row[b.len()]
}
