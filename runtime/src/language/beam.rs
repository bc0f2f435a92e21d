//! Beam search over single decoder steps, in buffers of fixed capacity.

use heapless::Vec as FixedVec;
use metalens_models::TokenId;

/// The widest beam.
pub const MAX_BEAM: usize = 16;
/// The longest caption, in words.
pub const MAX_WORDS: usize = 64;

/// How captions are searched for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BeamSettings {
    /// Hypotheses kept at every step, 1 to [`MAX_BEAM`]; 1 is greedy.
    pub width: usize,
    /// A hypothesis' log-probability is divided by its length, the end counted, to this power (Wu et al. 2016,
    /// section 7, without the constant).
    pub length_normalisation: f32,
    /// Captions are cut after so many words, 1 to [`MAX_WORDS`].
    pub max_words: usize,
    /// The token that ends a caption.
    pub end: TokenId,
}

/// What the search asks of a decoder.
pub trait NextWord {
    /// Why a step failed.
    type Error;

    /// One step for `words.len()` hypotheses: hypothesis i continues the one that stood at `parents[i]` in the previous
    /// step and reads `words[i]`.
    ///
    /// # Errors
    /// When the decoder fails.
    fn step(&mut self, parents: &[usize], words: &[TokenId]) -> Result<(), Self::Error>;

    /// Log-probabilities of all words after hypothesis i of the last step; negative infinity for words that must not be
    /// said.
    fn log_probabilities(&self, hypothesis: usize) -> &[f32];
}

/// A caption, finished or under way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hypothesis {
    /// Its words, without start and end.
    pub words: FixedVec<TokenId, MAX_WORDS>,
    /// Each word's log-probability after the words before it.
    pub word_log_probabilities: FixedVec<f32, MAX_WORDS>,
    /// Where the hypothesis that each word continues stood, in the step that chose the word.
    pub places: FixedVec<usize, MAX_WORDS>,
    /// The caption's log-probability, its end included once it has one.
    pub log_probability: f32,
    /// `log_probability`, normalised by length.
    pub score: f32,
}

/// A possible continuation.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    parent: usize,
    word: TokenId,
    log_probability: f32,
    total: f32,
}

/// Beam search; holds its buffers from one caption to the next.
pub struct Beam {
    settings: BeamSettings,
    live: FixedVec<Hypothesis, MAX_BEAM>,
    next: FixedVec<Hypothesis, MAX_BEAM>,
    finished: FixedVec<Hypothesis, MAX_BEAM>,
    candidates: FixedVec<Candidate, { 2 * MAX_BEAM }>,
}

impl Beam {
    /// A search; widths and lengths beyond the buffers' capacity are cut to it.
    #[must_use]
    pub fn new(settings: BeamSettings) -> Self {
        let settings = BeamSettings {
            width: settings.width.clamp(1, MAX_BEAM),
            max_words: settings.max_words.clamp(1, MAX_WORDS),
            ..settings
        };
        Self {
            settings,
            live: FixedVec::new(),
            next: FixedVec::new(),
            finished: FixedVec::new(),
            candidates: FixedVec::new(),
        }
    }

    /// The best caption after `start`; of equally good ones, that with the lower token ids.
    ///
    /// The decoder's first step must have been set up to have one hypothesis, 0. A caption has one word at least. The
    /// search ends when as many hypotheses have ended as the beam is wide and none under way scores better than the
    /// worst of them.
    ///
    /// # Errors
    /// When the decoder fails.
    pub fn search<D: NextWord>(&mut self, decoder: &mut D, start: TokenId) -> Result<&Hypothesis, D::Error> {
        self.finished.clear();
        self.live.clear();
        push(&mut self.live, Hypothesis::default());
        for length in 0..self.settings.max_words {
            let mut parents: FixedVec<usize, MAX_BEAM> = FixedVec::new();
            let mut words: FixedVec<TokenId, MAX_BEAM> = FixedVec::new();
            for (place, hypothesis) in self.live.iter().enumerate() {
                // The step before made candidates in the order of their hypotheses' places, kept in `parent_of`.
                push(&mut words, hypothesis.words.last().copied().unwrap_or(start));
                push(&mut parents, if length == 0 { 0 } else { self.candidates[place].parent });
            }
            decoder.step(&parents, &words)?;
            self.gather(decoder, length);
            self.advance(length);
            if self.live.is_empty() || self.decided() {
                break;
            }
        }
        for hypothesis in self.live.drain(..) {
            keep_best(&mut self.finished, hypothesis, self.settings.width);
        }
        Ok(&self.finished[0])
    }

    /// The best caption of the last search that holds a word, if one of those that ended does.
    #[must_use]
    pub fn best_with(&self, word: TokenId) -> Option<&Hypothesis> {
        self.finished.iter().find(|hypothesis| hypothesis.words.contains(&word))
    }

    /// The captions of the last search, best first.
    #[must_use]
    pub fn found(&self) -> &[Hypothesis] {
        &self.finished
    }

    /// The caption of these words after `start`, at most as many as a caption may have.
    ///
    /// The decoder's first step must have been set up to have one hypothesis, 0.
    ///
    /// # Errors
    /// When the decoder fails.
    pub fn follow<D: NextWord>(
        &self,
        decoder: &mut D,
        start: TokenId,
        words: &[TokenId],
    ) -> Result<Hypothesis, D::Error> {
        let BeamSettings { max_words, end, .. } = self.settings;
        let mut followed = Hypothesis::default();
        let mut before = start;
        // A caption that is as long as may be has no end.
        for (length, word) in words.iter().copied().chain([end]).take(max_words).enumerate() {
            decoder.step(&[0], &[before])?;
            let log_probability = decoder.log_probabilities(0)[word.index()];
            followed.log_probability += log_probability;
            followed.score = self.normalised(followed.log_probability, length + 1);
            if word != end {
                push(&mut followed.words, word);
                push(&mut followed.word_log_probabilities, log_probability);
                push(&mut followed.places, 0);
            }
            before = word;
        }
        Ok(followed)
    }

    /// Fills `candidates` with the best continuations, best first: twice as many as the beam is wide, so that enough
    /// are left when all of the first ones are ends.
    fn gather<D: NextWord>(&mut self, decoder: &D, length: usize) {
        let most = 2 * self.settings.width;
        self.candidates.clear();
        for (parent, hypothesis) in self.live.iter().enumerate() {
            for (word, &log_probability) in decoder.log_probabilities(parent).iter().enumerate() {
                let word = TokenId(word as u32);
                let total = hypothesis.log_probability + log_probability;
                let full = self.candidates.len() == most;
                let worst = self.candidates.last().map_or(f32::NEG_INFINITY, |worst| worst.total);
                if total == f32::NEG_INFINITY
                    || (full && total <= worst)
                    || (length == 0 && word == self.settings.end)
                {
                    continue;
                }
                if full {
                    self.candidates.pop();
                }
                let place = self.candidates.partition_point(|better| better.total >= total);
                let candidate = Candidate { parent, word, log_probability, total };
                // There is room: a full list lost its last one.
                let _ = self.candidates.insert(place, candidate);
            }
        }
    }

    /// Turns candidates into finished and live hypotheses; afterwards `candidates[i]` is what made `live[i]`.
    fn advance(&mut self, length: usize) {
        let BeamSettings { width, end, .. } = self.settings;
        self.next.clear();
        let mut kept: FixedVec<Candidate, { 2 * MAX_BEAM }> = FixedVec::new();
        for (rank, candidate) in self.candidates.iter().enumerate() {
            let parent = &self.live[candidate.parent];
            let mut hypothesis = parent.clone();
            hypothesis.log_probability = candidate.total;
            hypothesis.score = self.normalised(candidate.total, length + 1);
            if candidate.word == end {
                if rank < width {
                    keep_best(&mut self.finished, hypothesis, width);
                }
            } else if self.next.len() < width {
                push(&mut hypothesis.words, candidate.word);
                push(&mut hypothesis.word_log_probabilities, candidate.log_probability);
                push(&mut hypothesis.places, candidate.parent);
                push(&mut self.next, hypothesis);
                push(&mut kept, *candidate);
            }
        }
        std::mem::swap(&mut self.live, &mut self.next);
        self.candidates = kept;
    }

    fn decided(&self) -> bool {
        let best = self.live.iter().map(|hypothesis| hypothesis.score).fold(f32::NEG_INFINITY, f32::max);
        self.finished.len() == self.settings.width
            && self.finished.last().is_some_and(|worst| worst.score >= best)
    }

    fn normalised(&self, log_probability: f32, length: usize) -> f32 {
        log_probability / (length as f32).powf(self.settings.length_normalisation)
    }
}

/// Inserts behind all that are as good, best first; the worst falls off at the end.
fn keep_best(finished: &mut FixedVec<Hypothesis, MAX_BEAM>, hypothesis: Hypothesis, width: usize) {
    let place = finished.partition_point(|better| better.score >= hypothesis.score);
    if place >= width {
        return;
    }
    finished.truncate(width - 1);
    let _ = finished.insert(place, hypothesis);
}

/// Every list is as long as the settings allow, which `Beam::new` cuts to its capacity.
fn push<T, const N: usize>(list: &mut FixedVec<T, N>, value: T) {
    let pushed = list.push(value);
    debug_assert!(pushed.is_ok(), "a list of the beam is full");
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: TokenId = TokenId(0);
    const START: TokenId = TokenId(9);

    /// A language whose next word depends on the two words before; its "state" is the words read.
    struct Toy {
        seed: u64,
        histories: Vec<Vec<TokenId>>,
        rows: Vec<Vec<f32>>,
    }

    const WORDS: usize = 4;

    impl Toy {
        fn new(seed: u64) -> Self {
            Self { seed, histories: vec![Vec::new()], rows: Vec::new() }
        }

        fn row(&self, history: &[TokenId]) -> Vec<f32> {
            let logits: Vec<f32> = (0..WORDS as u64)
                .map(|word| {
                    let mut x = self.seed ^ word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                    for token in &history[history.len().saturating_sub(2)..] {
                        x = (x ^ u64::from(token.0)).wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ x >> 29;
                    }
                    x = (x ^ x >> 31).wrapping_mul(0x94d0_49bb_1331_11eb);
                    (x >> 40) as f32 / 4e6
                })
                .collect();
            let sum = logits.iter().map(|x| x.exp()).sum::<f32>().ln();
            logits.iter().map(|x| x - sum).collect()
        }

        /// The best caption of all, by trying all.
        fn best(&self, settings: BeamSettings) -> (Vec<TokenId>, f32) {
            let mut best = (Vec::new(), f32::NEG_INFINITY);
            let mut open = vec![(vec![START], 0.0)];
            while let Some((history, log_probability)) = open.pop() {
                let said = history.len() - 1;
                for (word, p) in self.row(&history).into_iter().enumerate() {
                    let word = TokenId(word as u32);
                    let total = log_probability + p;
                    let score = total / ((said + 1) as f32).powf(settings.length_normalisation);
                    let mut next = history.clone();
                    if word == END {
                        if said > 0 && score > best.1 {
                            best = (history[1..].to_vec(), score);
                        }
                        continue;
                    }
                    next.push(word);
                    if said + 1 < settings.max_words {
                        open.push((next, total));
                    } else if score > best.1 {
                        best = (next[1..].to_vec(), score);
                    }
                }
            }
            best
        }
    }

    impl NextWord for Toy {
        type Error = std::convert::Infallible;

        fn step(&mut self, parents: &[usize], words: &[TokenId]) -> Result<(), Self::Error> {
            self.histories = parents
                .iter()
                .zip(words)
                .map(|(&parent, &word)| [self.histories[parent].as_slice(), &[word]].concat())
                .collect();
            self.rows = self.histories.iter().map(|history| self.row(history)).collect();
            Ok(())
        }

        fn log_probabilities(&self, hypothesis: usize) -> &[f32] {
            &self.rows[hypothesis]
        }
    }

    fn settings(width: usize) -> BeamSettings {
        BeamSettings { width, length_normalisation: 0.7, max_words: 3, end: END }
    }

    fn search(toy: &mut Toy, settings: BeamSettings) -> Hypothesis {
        let mut beam = Beam::new(settings);
        let Ok(best) = beam.search(toy, START);
        best.clone()
    }

    #[test]
    fn a_beam_as_wide_as_the_language_finds_the_best_caption_of_all() {
        for seed in 0..200 {
            // 3 words that are no end, up to 3 of them: 9 hypotheses at the widest.
            let settings = settings(12);
            let found = search(&mut Toy::new(seed), settings);
            let (words, score) = Toy::new(seed).best(settings);
            assert_eq!(found.words.as_slice(), words, "seed {seed}");
            assert!((found.score - score).abs() < 1e-5, "seed {seed}");
        }
    }

    #[test]
    fn the_best_caption_with_a_word_is_the_best_of_those_that_hold_it() {
        let mut others = 0;
        for seed in 0..50 {
            let mut beam = Beam::new(settings(12));
            let Ok(best) = beam.search(&mut Toy::new(seed), START).cloned();
            for word in (1..WORDS).map(|word| TokenId(word as u32)) {
                let Some(with) = beam.best_with(word) else { continue };
                assert!(with.words.contains(&word), "seed {seed}");
                let better = |other: &&Hypothesis| other.words.contains(&word) && other.score > with.score;
                assert_eq!(beam.finished.iter().find(better), None, "seed {seed}");
                assert_eq!(best.words.contains(&word), *with == best, "seed {seed}");
                others += usize::from(*with != best);
            }
            assert_eq!(beam.best_with(TokenId(99)), None);
        }
        assert!(others > 20, "{others}");
    }

    #[test]
    fn a_beam_of_one_takes_the_most_probable_word_each_time() {
        for seed in 0..50 {
            let found = search(&mut Toy::new(seed), settings(1));
            let toy = Toy::new(seed);
            let mut history = vec![START];
            for said in 0..3 {
                let row = toy.row(&history);
                let allowed = if said == 0 { 1..WORDS } else { 0..WORDS };
                let Some(best) = allowed.max_by(|&a, &b| row[a].total_cmp(&row[b])) else { break };
                if best == 0 {
                    break;
                }
                history.push(TokenId(best as u32));
            }
            assert_eq!(found.words.as_slice(), &history[1..], "seed {seed}");
        }
    }

    #[test]
    fn a_caption_that_is_followed_is_as_probable_as_when_it_was_found() {
        for seed in 0..50 {
            let mut beam = Beam::new(settings(3));
            let Ok(found) = beam.search(&mut Toy::new(seed), START).cloned();
            let Ok(followed) = beam.follow(&mut Toy::new(seed), START, &found.words);
            assert_eq!(followed.words, found.words, "seed {seed}");
            assert_eq!(followed.word_log_probabilities, found.word_log_probabilities, "seed {seed}");
            assert!((followed.log_probability - found.log_probability).abs() < 1e-5, "seed {seed}");
            assert!((followed.score - found.score).abs() < 1e-5, "seed {seed}");
        }
    }

    #[test]
    fn word_probabilities_add_up_to_the_captions() {
        for seed in 0..50 {
            let found = search(&mut Toy::new(seed), settings(3));
            let toy = Toy::new(seed);
            let history: Vec<TokenId> = [&[START], found.words.as_slice()].concat();
            let words: f32 = found.word_log_probabilities.iter().sum();
            let end = if found.words.len() < 3 { toy.row(&history)[0] } else { 0.0 };
            assert!((words + end - found.log_probability).abs() < 1e-5, "seed {seed}");
        }
    }

    #[test]
    fn of_equal_words_the_first_is_said_and_a_caption_is_never_empty() {
        struct Flat(Vec<f32>);
        impl NextWord for Flat {
            type Error = std::convert::Infallible;
            fn step(&mut self, _: &[usize], _: &[TokenId]) -> Result<(), Self::Error> {
                Ok(())
            }
            fn log_probabilities(&self, _: usize) -> &[f32] {
                &self.0
            }
        }
        // The end is certain but for a caption's first word.
        let mut flat = Flat(vec![0.0, -9.0, -9.0, f32::NEG_INFINITY]);
        let mut beam = Beam::new(settings(3));
        let Ok(best) = beam.search(&mut flat, START);
        assert_eq!(best.words.as_slice(), [TokenId(1)]);
    }
}
