//! Counting runs of one to four words.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, DefaultHasher};

/// The longest run counted.
pub(super) const MOST: usize = 4;

/// A run of words, by their numbers; unused places hold [`NONE`].
pub(super) type NGram = [u32; MOST];

/// Stands behind a run's last word.
const NONE: u32 = u32::MAX;

/// What is known of each run. Unlike the standard library's own, the hasher has no random keys: sums over the runs are
/// taken in the same order in every process, so that a resumed run's rewards are the same bit for bit.
pub(super) type Runs<V> = HashMap<NGram, V, BuildHasherDefault<DefaultHasher>>;

/// Numbers words, so that runs are small keys.
#[derive(Debug, Default)]
pub(super) struct Numbering(HashMap<String, u32>);

impl Numbering {
    /// The numbers of a text's words.
    pub fn words(&mut self, text: &str) -> Vec<u32> {
        text.split_whitespace()
            .map(|word| {
                let next = self.0.len() as u32;
                match self.0.get(word) {
                    Some(&number) => number,
                    None => *self.0.entry(word.to_owned()).or_insert(next),
                }
            })
            .collect()
    }
}

/// How often each run of up to four words stands in a text.
pub(super) fn count(words: &[u32]) -> Runs<u32> {
    let mut counts = Runs::default();
    for length in 1..=MOST {
        for run in words.windows(length) {
            let mut key = [NONE; MOST];
            key[..length].copy_from_slice(run);
            *counts.entry(key).or_default() += 1;
        }
    }
    counts
}

/// How many words a run has, 1 to 4.
pub(super) fn length(run: &NGram) -> usize {
    run.iter().take_while(|&&word| word != NONE).count()
}
