//! Made-up words.

use rand::Rng;
use rand::seq::IndexedRandom;

/// Syllables of a nonce: long enough that it is hardly ever a word of some language.
const SYLLABLES: usize = 3;
const CONSONANTS: &[u8] = b"bdfgklmnprstvz";
const VOWELS: &[u8] = b"aeiou";

/// A word that can be pronounced and that nobody has `taken`, such as `lumovak`.
pub(super) fn nonce(rng: &mut impl Rng, taken: impl Fn(&str) -> bool) -> String {
    loop {
        let mut word = String::new();
        let mut letter = |letters: &[u8]| {
            let &letter = letters.choose(rng).expect("both lists have letters");
            word.push(char::from(letter));
        };
        for _ in 0..SYLLABLES {
            letter(CONSONANTS);
            letter(VOWELS);
        }
        letter(CONSONANTS);
        if !taken(&word) {
            return word;
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn a_nonce_is_one_word_that_is_not_taken_and_the_same_for_the_same_seed() {
        let make = |taken: &str| nonce(&mut ChaCha8Rng::seed_from_u64(3), |word| word == taken);
        let first = make("");
        assert_eq!(first.len(), 7);
        assert_eq!(metalens::language::words(&first), [first.as_str()]);
        assert_eq!(make("other"), first);
        assert_ne!(make(&first), first);
    }
}
