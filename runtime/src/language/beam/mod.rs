//! Beam search over single decoder steps, in buffers of fixed capacity.

use heapless::Vec as FixedVec;
use metalens_models::TokenId;

/// The widest beam.
pub const MAX_BEAM: usize = 16;
/// The most words that may be required of a caption.
pub const MAX_REQUIRED: usize = 2;
/// The most hypotheses of a step.
pub const MAX_HYPOTHESES: usize = MAX_BEAM << MAX_REQUIRED;
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
    /// Bank and place in it of the hypothesis that it continues.
    from: (usize, usize),
    /// Where that hypothesis stood in the step.
    parent: usize,
    word: TokenId,
    log_probability: f32,
    total: f32,
}

/// The hypotheses that say the same of the required words.
#[derive(Default)]
struct Bank {
    live: FixedVec<Hypothesis, MAX_BEAM>,
    next: FixedVec<Hypothesis, MAX_BEAM>,
    /// Where the hypotheses stood that those in `live` continue.
    parents: FixedVec<usize, MAX_BEAM>,
    finished: FixedVec<Hypothesis, MAX_BEAM>,
    candidates: FixedVec<Candidate, { 2 * MAX_BEAM }>,
}

impl Bank {
    fn clear(&mut self) {
        self.live.clear();
        self.parents.clear();
        self.finished.clear();
    }

    /// Takes a continuation if it is one of the best: of twice as many as the beam is wide, so that enough are left when all
    /// of the first ones are ends.
    fn offer(&mut self, candidate: Candidate, width: usize) {
        let full = self.candidates.len() == 2 * width;
        let worst = self.candidates.last().map_or(f32::NEG_INFINITY, |worst| worst.total);
        if candidate.total == f32::NEG_INFINITY || (full && candidate.total <= worst) {
            return;
        }
        if full {
            self.candidates.pop();
        }
        let place = self.candidates.partition_point(|better| better.total >= candidate.total);
        // There is room: a full list lost its last one.
        let _ = self.candidates.insert(place, candidate);
    }
}

/// A word that is required of a caption, unless that makes it less probable by more than the word is likely.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Required {
    /// The word.
    pub word: TokenId,
    /// The natural logarithm of the odds that the picture shows it.
    pub log_odds: f32,
}

/// Beam search; holds its buffers from one caption to the next.
///
/// Words may be required of it (Anderson et al. 2017, section 3.2): then it keeps a bank of hypotheses, as wide as the beam, for
/// each set of required words that they have said, and a word that is required takes a hypothesis to another bank. Of the best
/// captions of all banks that is chosen for which the language and the evidence speak most:
///
/// ```text
/// max over captions c   ln p(c) + sum over required words w in c of ln(odds of w)
/// ```
pub struct Beam {
    settings: BeamSettings,
    /// Bank i has said those required words whose bits are in i; more than one only where a word was ever required.
    banks: Vec<Bank>,
    /// The bank of the last search's captions.
    chosen: usize,
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
        Self { settings, banks: vec![Bank::default()], chosen: 0 }
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
        self.search_for(decoder, start, &[])
    }

    /// The best caption where words are `required`, different ones of which the first [`MAX_REQUIRED`] count.
    ///
    /// The decoder has to take as many hypotheses as there are banks, times the beam's width.
    ///
    /// # Errors
    /// When the decoder fails.
    pub fn search_for<D: NextWord>(
        &mut self,
        decoder: &mut D,
        start: TokenId,
        required: &[Required],
    ) -> Result<&Hypothesis, D::Error> {
        let required = &required[..required.len().min(MAX_REQUIRED)];
        self.banks.truncate(1 << required.len());
        self.banks.resize_with(1 << required.len(), Bank::default);
        self.banks.iter_mut().for_each(Bank::clear);
        push(&mut self.banks[0].live, Hypothesis::default());
        push(&mut self.banks[0].parents, 0);
        for length in 0..self.settings.max_words {
            let mut parents: FixedVec<usize, MAX_HYPOTHESES> = FixedVec::new();
            let mut words: FixedVec<TokenId, MAX_HYPOTHESES> = FixedVec::new();
            for bank in &self.banks {
                for (hypothesis, &parent) in bank.live.iter().zip(&bank.parents) {
                    push(&mut words, hypothesis.words.last().copied().unwrap_or(start));
                    push(&mut parents, parent);
                }
            }
            decoder.step(&parents, &words)?;
            self.gather(decoder, length, required);
            self.advance(length);
            if self.banks.iter().all(|bank| bank.live.is_empty()) || self.decided() {
                break;
            }
        }
        for bank in &mut self.banks {
            for hypothesis in bank.live.drain(..) {
                keep_best(&mut bank.finished, hypothesis, self.settings.width);
            }
        }
        let odds = |said: usize| -> f32 {
            required
                .iter()
                .enumerate()
                .filter(|(bit, _)| said >> bit & 1 == 1)
                .map(|(_, word)| word.log_odds)
                .sum()
        };
        let best = |bank: &Bank| bank.finished.first().map(|best| best.log_probability);
        let found = self.banks.iter().enumerate();
        let found = found.filter_map(|(said, bank)| Some((said, best(bank)? + odds(said))));
        self.chosen = found.max_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(said, _)| said);
        Ok(&self.banks[self.chosen].finished[0])
    }

    /// The best caption of the last search that holds a word, if one of those that ended does.
    #[must_use]
    pub fn best_with(&self, word: TokenId) -> Option<&Hypothesis> {
        self.found().iter().find(|hypothesis| hypothesis.words.contains(&word))
    }

    /// The captions of the last search, best first: of those that say the same of the required words as the best.
    #[must_use]
    pub fn found(&self) -> &[Hypothesis] {
        &self.banks[self.chosen].finished
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

    /// Fills each bank's `candidates` with the best continuations that belong to it, best first.
    fn gather<D: NextWord>(&mut self, decoder: &D, length: usize, required: &[Required]) {
        let BeamSettings { width, end, .. } = self.settings;
        self.banks.iter_mut().for_each(|bank| bank.candidates.clear());
        let mut parent = 0;
        for said in 0..self.banks.len() {
            for place in 0..self.banks[said].live.len() {
                let before = self.banks[said].live[place].log_probability;
                for (word, &log_probability) in decoder.log_probabilities(parent).iter().enumerate() {
                    let word = TokenId(word as u32);
                    if length == 0 && word == end {
                        continue;
                    }
                    let bit = required.iter().position(|required| required.word == word);
                    let says = said | bit.map_or(0, |bit| 1 << bit);
                    let total = before + log_probability;
                    let candidate = Candidate { from: (said, place), parent, word, log_probability, total };
                    self.banks[says].offer(candidate, width);
                }
                parent += 1;
            }
        }
    }

    /// Turns candidates into finished and live hypotheses.
    fn advance(&mut self, length: usize) {
        let BeamSettings { width, end, .. } = self.settings;
        for says in 0..self.banks.len() {
            self.banks[says].next.clear();
            self.banks[says].parents.clear();
            for rank in 0..self.banks[says].candidates.len() {
                let candidate = self.banks[says].candidates[rank];
                let (said, place) = candidate.from;
                let mut hypothesis = self.banks[said].live[place].clone();
                hypothesis.log_probability = candidate.total;
                hypothesis.score = self.normalised(candidate.total, length + 1);
                let bank = &mut self.banks[says];
                if candidate.word == end {
                    if rank < width {
                        keep_best(&mut bank.finished, hypothesis, width);
                    }
                } else if bank.next.len() < width {
                    push(&mut hypothesis.words, candidate.word);
                    push(&mut hypothesis.word_log_probabilities, candidate.log_probability);
                    push(&mut hypothesis.places, candidate.parent);
                    push(&mut bank.next, hypothesis);
                    push(&mut bank.parents, candidate.parent);
                }
            }
        }
        for bank in &mut self.banks {
            std::mem::swap(&mut bank.live, &mut bank.next);
        }
    }

    /// Whether what says all that is required cannot get better.
    fn decided(&self) -> bool {
        let live = self.banks.iter().flat_map(|bank| &bank.live);
        let best = live.map(|hypothesis| hypothesis.score).fold(f32::NEG_INFINITY, f32::max);
        self.banks.last().is_some_and(|all| {
            all.finished.len() == self.settings.width
                && all.finished.last().is_some_and(|worst| worst.score >= best)
        })
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
mod tests;
