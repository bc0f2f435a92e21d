//! The search against all captions of a small language.

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

    /// The best caption of all that are `allowed`, by trying all.
    fn best(&self, settings: BeamSettings, allowed: impl Fn(&[TokenId]) -> bool) -> (Vec<TokenId>, f32) {
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
                    if said > 0 && score > best.1 && allowed(&history[1..]) {
                        best = (history[1..].to_vec(), score);
                    }
                    continue;
                }
                next.push(word);
                if said + 1 < settings.max_words {
                    open.push((next, total));
                } else if score > best.1 && allowed(&next[1..]) {
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
        let (words, score) = Toy::new(seed).best(settings, |_| true);
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
            assert_eq!(beam.found().iter().find(better), None, "seed {seed}");
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

/// Words that have to be said, whatever else.
fn surely(words: &[TokenId]) -> Vec<Required> {
    words.iter().map(|&word| Required { word, log_odds: 1e4 }).collect()
}

#[test]
fn of_the_captions_that_say_what_is_required_the_best_is_found() {
    let mut others = 0;
    for seed in 0..100 {
        let free = search(&mut Toy::new(seed), settings(12));
        for required in
            [&[TokenId(1)][..], &[TokenId(3)], &[TokenId(2), TokenId(1)], &[TokenId(1), TokenId(3)]]
        {
            let says_all = |words: &[TokenId]| required.iter().all(|word| words.contains(word));
            let mut beam = Beam::new(settings(12));
            let Ok(found) = beam.search_for(&mut Toy::new(seed), START, &surely(required)).cloned();
            let (words, score) = Toy::new(seed).best(settings(12), says_all);
            assert_eq!(found.words.as_slice(), words, "seed {seed}, {required:?}");
            assert!((found.score - score).abs() < 1e-5, "seed {seed}, {required:?}");
            assert!(beam.found().iter().all(|found| says_all(&found.words)), "seed {seed}, {required:?}");
            others += usize::from(found.words != free.words);
            // The next search requires nothing again.
            let Ok(again) = beam.search(&mut Toy::new(seed), START);
            assert_eq!(*again, free, "seed {seed}");
        }
    }
    assert!(others > 100, "{others}");
}

#[test]
fn where_no_caption_says_all_that_is_required_one_says_most_of_it() {
    for seed in 0..50 {
        let short = BeamSettings { max_words: 1, ..settings(3) };
        let required = [TokenId(1), TokenId(3), TokenId(2)];
        let mut beam = Beam::new(short);
        let Ok(found) = beam.search_for(&mut Toy::new(seed), START, &surely(&required));
        // Of three words the first two count.
        let (words, _) = Toy::new(seed).best(short, |words| required[..2].contains(&words[0]));
        assert_eq!(found.words.as_slice(), words, "seed {seed}");
        // A word that the language lacks is nowhere, and costs nothing.
        let Ok(found) = beam.search_for(&mut Toy::new(seed), START, &surely(&[TokenId(99)])).cloned();
        assert_eq!(found, search(&mut Toy::new(seed), short), "seed {seed}");
    }
}

#[test]
fn narrow_banks_say_what_is_required_too() {
    for seed in 0..50 {
        for width in 1..4 {
            let mut beam = Beam::new(settings(width));
            let Ok(found) = beam.search_for(&mut Toy::new(seed), START, &surely(&[TokenId(1), TokenId(2)]));
            assert!(found.words.contains(&TokenId(1)) && found.words.contains(&TokenId(2)), "{seed} {width}");
            let words: f32 = found.word_log_probabilities.iter().sum();
            assert!(words >= found.log_probability - 1e-5, "{seed} {width}");
        }
    }
}

#[test]
fn a_word_is_said_where_its_odds_outweigh_what_the_caption_loses_by_it() {
    let mut losses = 0;
    for seed in 0..100 {
        let free = search(&mut Toy::new(seed), settings(12));
        let mut beam = Beam::new(settings(12));
        for word in [TokenId(1), TokenId(2), TokenId(3)] {
            let mut with = |log_odds| {
                let Ok(found) =
                    beam.search_for(&mut Toy::new(seed), START, &[Required { word, log_odds }]).cloned();
                found
            };
            let said = with(1e4);
            let loss = free.log_probability - said.log_probability;
            if free.words.contains(&word) || loss <= 0.0 {
                continue;
            }
            losses += 1;
            assert_eq!(with(loss + 0.01), said, "seed {seed}, {word:?}");
            assert!(!with(loss - 0.01).words.contains(&word), "seed {seed}, {word:?}");
        }
    }
    assert!(losses > 50, "{losses}");
}
