//! Which caption agrees best with what was said of pictures like the one at hand: consensus among nearest neighbours (Devlin et
//! al. 2015, "Exploring Nearest Neighbor Approaches for Image Captioning", section 3), here among captions that the adapted
//! captioner found itself and those of the support.
//!
//! ```text
//! w(q)     = softmax_s(cos(q, s) / temperature)                              s: the support's pictures
//! agree(c) = sum_s w_s(q) mean over captions d of s of alike(c, d)
//! alike    = exp(- (|c| - |d|)^2 / 72) mean over n = 1 ... 4 of the cosine of the counts of n-grams of c and d
//! ```
//!
//! `alike` is CIDEr-D (Vedantam et al. 2015, section 8) without document frequencies, for which a support set is too small.

use ndarray::{Array1, Array2, s};

use super::familiarity::Gate;
use super::head::softmax;
use super::memory::Memory;
use super::real::{Real, real};

/// The longest run of words that is compared.
const ORDER: usize = 4;
/// The share of what was learned from which on it decides.
const HALF: f64 = 0.5;
/// Twice the square of CIDEr-D's deviation of lengths.
const LENGTHS: f64 = 72.0;

/// The captions of a support set, and how far they agree.
#[derive(Clone, Debug)]
pub struct Consensus<T> {
    sayings: Vec<Saying>,
    /// The picture of each.
    pictures: Vec<usize>,
    /// How many captions each picture has.
    counts: Vec<usize>,
    /// Agreement of each caption with the captions of each picture `[captions, pictures]`.
    agreement: Array2<T>,
    temperature: T,
}

/// A caption that was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice<'a> {
    /// One of those that the captioner found, by its place.
    Found(usize),
    /// One of the support, its words without the end.
    Support(&'a [usize]),
}

/// A caption and its n-grams.
#[derive(Clone, Debug)]
struct Saying {
    words: Vec<usize>,
    /// Of each length the n-grams in their order, each with its count, and the root of the sum of squared counts.
    grams: [(Vec<(u64, f64)>, f64); ORDER],
}

impl Saying {
    fn new(words: &[usize]) -> Self {
        let grams = std::array::from_fn(|shorter| {
            // 16 bits hold every word of a vocabulary and every slot.
            let key = |run: &[usize]| run.iter().fold(0, |key, &word| key << 16 | (word as u64 & 0xffff));
            let mut keys: Vec<u64> = words.windows(shorter + 1).map(key).collect();
            keys.sort_unstable();
            let counted: Vec<(u64, f64)> =
                keys.chunk_by(|a, b| a == b).map(|same| (same[0], same.len() as f64)).collect();
            let length = counted.iter().map(|(_, count)| count * count).sum::<f64>().sqrt();
            (counted, length)
        });
        Self { words: words.to_vec(), grams }
    }

    fn alike(&self, other: &Self) -> f64 {
        let cosines = self.grams.iter().zip(&other.grams).map(|((a, long_a), (b, long_b))| {
            let product = long_a * long_b;
            if product > 0.0 { common(a, b) / product } else { 0.0 }
        });
        let longer = self.words.len() as f64 - other.words.len() as f64;
        cosines.sum::<f64>() / ORDER as f64 * (-longer * longer / LENGTHS).exp()
    }
}

/// The inner product of two sorted lists of counts.
fn common(a: &[(u64, f64)], b: &[(u64, f64)]) -> f64 {
    let count = |key: &u64| b.binary_search_by_key(key, |(key, _)| *key).map_or(0.0, |place| b[place].1);
    a.iter().map(|(key, times)| times * count(key)).sum()
}

impl<T: Real> Consensus<T> {
    /// Among the captions that a memory holds; `end` is the word that ends them.
    #[must_use]
    pub fn new(memory: &Memory<T>, end: usize, temperature: f64) -> Self {
        let mut sayings: Vec<Saying> = Vec::new();
        let mut pictures = Vec::new();
        for (words, picture) in memory.captions(end) {
            sayings.push(Saying::new(words));
            pictures.push(picture);
        }
        let mut counts = vec![0; pictures.iter().max().map_or(0, |last| last + 1)];
        pictures.iter().for_each(|&picture| counts[picture] += 1);
        let agreement = Array2::zeros((sayings.len(), counts.len()));
        let mut consensus = Self { sayings, pictures, counts, agreement, temperature: real(temperature) };
        for place in 0..consensus.sayings.len() {
            let row = consensus.agreement_of(&consensus.sayings[place]);
            consensus.agreement.row_mut(place).assign(&row);
        }
        consensus
    }

    /// Agreement `[pictures]` of a caption with the captions of each picture.
    fn agreement_of(&self, saying: &Saying) -> Array1<T> {
        let mut sums = Array1::zeros(self.counts.len());
        for (other, &picture) in self.sayings.iter().zip(&self.pictures) {
            sums[picture] += real::<T>(saying.alike(other) / self.counts[picture] as f64);
        }
        sums
    }

    /// The best of the captions that the captioner `found`, the most probable one first, and of the support's, for a picture
    /// with this gate. Of equally good ones, the first found, then the first of the support; a picture that is hardly of the
    /// support's kind is captioned as it was found.
    #[must_use]
    pub fn choose(&self, gate: &Gate<T>, found: &[Vec<usize>]) -> Choice<'_> {
        if gate.share < real(HALF) {
            return Choice::Found(0);
        }
        let weights = self.weights(gate);
        let found = found.iter().enumerate().map(|(place, words)| {
            (Choice::Found(place), self.agreement_of(&Saying::new(words)).dot(&weights))
        });
        let support = self.rated(&weights).map(|(words, rating)| (Choice::Support(words), rating));
        best(found.chain(support)).unwrap_or(Choice::Found(0))
    }

    /// The best of the support's captions for a picture with this gate; empty without a support.
    #[must_use]
    pub fn of_support(&self, gate: &Gate<T>) -> &[usize] {
        best(self.rated(&self.weights(gate))).unwrap_or_default()
    }

    fn rated(&self, weights: &Array1<T>) -> impl Iterator<Item = (&[usize], T)> {
        let rows = self.sayings.iter().zip(self.agreement.rows());
        rows.map(move |(saying, row)| (saying.words.as_slice(), row.dot(weights)))
    }

    fn weights(&self, gate: &Gate<T>) -> Array1<T> {
        let mut weights =
            gate.cosines.slice(s![..self.counts.len()]).mapv(|cosine| cosine / self.temperature);
        softmax(&mut weights.view_mut());
        weights
    }
}

/// The first of those with the highest rating.
fn best<C, T: Real>(rated: impl Iterator<Item = (C, T)>) -> Option<C> {
    rated.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(choice, _)| choice)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use ndarray::array;

    use super::*;

    const END: usize = 0;

    /// Captions of pictures, as a memory has them; what z is does not matter here.
    fn memory(captions: &[(usize, &[usize])]) -> Memory<f64> {
        let words: Vec<usize> =
            captions.iter().flat_map(|(_, words)| words.iter().copied().chain([END])).collect();
        let pictures = captions.iter().flat_map(|(picture, words)| vec![*picture; words.len() + 1]).collect();
        Memory::new(&Array2::zeros((words.len(), 1)), words, pictures)
    }

    fn gate(share: f64, cosines: Array1<f64>) -> Gate<f64> {
        Gate { familiarity: share, share, evidence: Vec::new(), shifts: Vec::new(), lifted: None, cosines }
    }

    #[test]
    fn likeness_is_cider_without_document_frequencies() {
        // Of three and four words two and one are shared, of two and three pairs one, of one and two triples none.
        let (a, b) = (Saying::new(&[1, 2, 3]), Saying::new(&[1, 2, 4, 4]));
        let cosines =
            [2.0 / (3.0_f64.sqrt() * 6.0_f64.sqrt()), 1.0 / (2.0_f64.sqrt() * 3.0_f64.sqrt()), 0.0, 0.0];
        let expected = cosines.iter().sum::<f64>() / 4.0 * (-1.0_f64 / 72.0).exp();
        assert!((a.alike(&b) - expected).abs() < 1e-12 && (b.alike(&a) - expected).abs() < 1e-12);
        let whole = Saying::new(&[5, 6, 7, 8]);
        assert!((whole.alike(&whole) - 1.0).abs() < 1e-12);
        assert_eq!(whole.alike(&a), 0.0);
        assert_eq!(Saying::new(&[]).alike(&a), 0.0);
    }

    #[test]
    fn the_caption_that_alike_pictures_agree_on_is_chosen() {
        let odd: &[usize] = &[9, 8, 7, 6];
        let usual: &[usize] = &[1, 2, 3, 4];
        let other: &[usize] = &[1, 2, 5, 4];
        let support = memory(&[(0, odd), (1, usual), (1, other), (2, usual), (3, other)]);
        let consensus = Consensus::new(&support, END, 0.1);
        // The nearest picture's caption is like no other, and the others are not far.
        assert_eq!(consensus.choose(&gate(0.9, array![0.8, 0.75, 0.75, 0.7]), &[]), Choice::Support(usual));
        assert_eq!(consensus.of_support(&gate(0.9, array![0.8, 0.75, 0.7, 0.75])), other);
        // They are far.
        assert_eq!(consensus.choose(&gate(0.9, array![0.8, 0.1, 0.1, 0.1]), &[]), Choice::Support(odd));
        // Of what was found and the support, the best; what was found, where both say the same.
        let found = [vec![1, 9], usual.to_vec()];
        let near = array![0.5, 0.8, 0.8, 0.6];
        assert_eq!(consensus.choose(&gate(0.9, near.clone()), &found), Choice::Found(1));
        assert_eq!(consensus.choose(&gate(0.9, near.clone()), &found[..1]), Choice::Support(usual));
        // A picture of another kind is captioned as it was found.
        assert_eq!(consensus.choose(&gate(0.4, near), &found), Choice::Found(0));
    }

    #[test]
    fn captions_that_were_cut_are_told_apart_by_their_pictures() {
        let words = vec![1, 2, 3, END, 4];
        let pictures = vec![0, 0, 1, 1, 2];
        let memory = Memory::new(&Array2::<f64>::zeros((5, 1)), words, pictures);
        let captions: Vec<(&[usize], usize)> = memory.captions(END).collect();
        assert_eq!(captions, [([1, 2].as_slice(), 0), (&[3], 1), (&[4], 2)]);
        let empty = Memory::new(&Array2::<f64>::zeros((0, 1)), Vec::new(), Vec::new());
        assert_eq!(Consensus::new(&empty, END, 0.1).choose(&gate(1.0, array![]), &[]), Choice::Found(0));
    }
}
