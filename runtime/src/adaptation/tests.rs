//! The head's gradient and the inner loop, against finite differences and the dense formula.
#![allow(clippy::unwrap_used)]

use metalens_models::{Familiarity as FamiliaritySettings, InnerLoop, MemoryBlend};
use ndarray::{Array1, Array2, Axis, concatenate};

use super::*;

/// Numbers that look random and are the same everywhere.
fn numbers(shape: (usize, usize), seed: f64) -> Array2<f64> {
    Array2::from_shape_fn(shape, |(i, j)| ((i * 31 + j * 17) as f64 * 0.7 + seed).sin() * 0.8)
}

const FEATURE: usize = 7;
const HIDDEN: usize = 5;
const WORDS: usize = 9;
const TOKENS: usize = 4;

fn head() -> Head<f64> {
    Head {
        weight_1: numbers((HIDDEN, FEATURE), 1.0),
        bias_1: numbers((1, HIDDEN), 2.0).row(0).to_owned(),
        weight_2: numbers((WORDS, HIDDEN), 3.0),
        bias_2: numbers((1, WORDS), 4.0).row(0).to_owned(),
    }
}

fn tokens() -> Tokens<f64> {
    let weights = Array1::from_vec(vec![0.1, 0.4, 0.2, 0.3]);
    Tokens { z: numbers((TOKENS, FEATURE), 5.0), targets: vec![2, 7, 2, 8], weights }
}

fn loss(head: &Head<f64>) -> f64 {
    (head.losses(&tokens()) * &tokens().weights).sum()
}

fn settings() -> FamiliaritySettings {
    FamiliaritySettings {
        known: [1.0, 0.5, 0.25, -1.0],
        unknown: [0.0, 0.1, 1.0, -2.0],
        slope: 2.0,
        threshold: 2.0,
        place: [1.0, 0.0, -0.5],
    }
}

fn schedule(alpha: &[[f64; 2]], damping: Option<f64>) -> InnerLoop {
    InnerLoop { familiarity: settings(), ..InnerLoop::plain(alpha.to_vec(), damping) }
}

#[test]
fn the_gradient_is_that_of_finite_differences() {
    let (value, gradient) = head().gradient(&tokens());
    assert!((value - loss(&head())).abs() < 1e-12);
    let step = 1e-5;
    let difference = |change: &dyn Fn(&mut Head<f64>, f64)| {
        let (mut up, mut down) = (head(), head());
        change(&mut up, step);
        change(&mut down, -step);
        (loss(&up) - loss(&down)) / (2.0 * step)
    };
    for i in 0..HIDDEN {
        let numeric = difference(&|head, step| head.bias_1[i] += step);
        assert!((numeric - gradient.bias_1[i]).abs() < 1e-9);
        for j in 0..FEATURE {
            let numeric = difference(&|head, step| head.weight_1[[i, j]] += step);
            assert!((numeric - gradient.weight_1[[i, j]]).abs() < 1e-9);
        }
    }
    for i in 0..WORDS {
        let numeric = difference(&|head, step| head.bias_2[i] += step);
        assert!((numeric - gradient.bias_2[i]).abs() < 1e-9);
        for j in 0..HIDDEN {
            let numeric = difference(&|head, step| head.weight_2[[i, j]] += step);
            assert!((numeric - gradient.weight_2[[i, j]]).abs() < 1e-9);
        }
    }
}

/// The module's formula as it stands there: whole matrices, (A + lambda I)^-1 of the size of the inputs.
fn dense(start: &Head<f64>, support: &Tokens<f64>, schedule: &InnerLoop) -> Head<f64> {
    let with_ones =
        |x: &Array2<f64>| concatenate(Axis(1), &[x.view(), Array2::ones((x.nrows(), 1)).view()]).unwrap();
    let preconditioned = |gradient: Array2<f64>, x: &Array2<f64>, damping: Option<f64>| {
        let Some(damping) = damping else { return gradient };
        let weighted = x * &support.weights.view().insert_axis(Axis(1));
        let moment = x.t().dot(&weighted);
        let n = moment.nrows();
        let lambda = damping * moment.diag().sum() / n as f64;
        gradient.dot(&positive_inverse(&(moment + Array2::<f64>::eye(n) * lambda)).unwrap())
    };
    let mut head = start.clone();
    for &[alpha_1, alpha_2] in &schedule.alpha {
        let (_, gradient) = head.gradient(support);
        let column = |bias: &Array1<f64>| bias.view().insert_axis(Axis(1)).to_owned();
        let join = |weight: &Array2<f64>, bias: &Array1<f64>| {
            concatenate(Axis(1), &[weight.view(), column(bias).view()]).unwrap()
        };
        let hidden = head.hidden(&support.z.view()).value;
        let first = join(&gradient.weight_1, &gradient.bias_1);
        let second =
            preconditioned(join(&gradient.weight_2, &gradient.bias_2), &with_ones(&hidden), schedule.damping);
        let inputs = |x: &Array2<f64>, n: usize| x.slice(ndarray::s![.., ..n]).to_owned();
        head.weight_1 = head.weight_1 - inputs(&first, FEATURE) * alpha_1;
        head.bias_1 -= &first.column(FEATURE).mapv(|x| x * alpha_1);
        head.weight_2 = head.weight_2 - inputs(&second, HIDDEN) * alpha_2;
        head.bias_2 -= &second.column(HIDDEN).mapv(|x| x * alpha_2);
    }
    head
}

fn distance(a: &Head<f64>, b: &Head<f64>) -> f64 {
    let gap = |x: &Array2<f64>, y: &Array2<f64>| (x - y).iter().fold(0.0_f64, |m, d| m.max(d.abs()));
    let gap_1 = |x: &Array1<f64>, y: &Array1<f64>| (x - y).iter().fold(0.0_f64, |m, d| m.max(d.abs()));
    gap(&a.weight_1, &b.weight_1)
        .max(gap_1(&a.bias_1, &b.bias_1))
        .max(gap(&a.weight_2, &b.weight_2))
        .max(gap_1(&a.bias_2, &b.bias_2))
}

#[test]
fn a_small_support_set_moves_the_head_less() {
    let (support, alpha) = (tokens(), [[0.3, 0.9], [0.0, 0.5]]);
    let after = |schedule: &InnerLoop| adapt(head(), &support, schedule).into_head();
    let whole = schedule(&alpha, Some(1.0));
    let count = support.targets.len();
    for (tokens, size) in [(4 * count, 0.25), (count, 1.0), (1, 1.0)] {
        let scaled = schedule(&alpha.map(|pair| pair.map(|alpha| alpha * size)), Some(1.0));
        let gap = distance(&after(&InnerLoop { tokens: Some(tokens), ..whole.clone() }), &after(&scaled));
        assert!(gap < 1e-12, "{tokens} tokens: {gap}");
    }
}

#[test]
fn the_thin_update_is_that_of_the_whole_matrices() {
    let alphas = [[0.3, 0.9], [0.0, 0.5], [0.2, 0.0], [0.1, 0.7]];
    for damping in [None, Some(0.1), Some(3.0)] {
        for steps in 0..=alphas.len() {
            let schedule = schedule(&alphas[..steps], damping);
            let (start, support) = (head(), tokens());
            let thin = adapt(start.clone(), &support, &schedule);
            let logits = thin.logits(&support.z.view());
            let thin = thin.into_head();
            let dense = dense(&start, &support, &schedule);
            assert!(distance(&thin, &dense) < 1e-12, "{damping:?} after {steps} steps");
            let gap = (logits - dense.logits(&support.z.view())).mapv(f64::abs);
            assert!(gap.iter().all(|gap| *gap < 1e-12));
            assert!(steps == 0 || distance(&thin, &start) > 1e-2, "the head moves");
        }
    }
}

#[test]
fn every_step_lowers_the_loss() {
    let (start, support) = (head(), tokens());
    let after = |damping, steps| {
        loss(&adapt(start.clone(), &support, &schedule(&vec![[0.0, 0.5]; steps], damping)).into_head())
    };
    for damping in [None, Some(0.1)] {
        let losses: Vec<f64> = (0..6).map(|steps| after(damping, steps)).collect();
        assert!(losses.windows(2).all(|pair| pair[1] < pair[0]), "{losses:?}");
    }
}

#[test]
fn a_new_word_starts_as_the_mixture_that_the_head_would_have_said() {
    let head = head();
    let end = 1;
    let z = tokens().z;
    let mixtures = mixtures(
        &head,
        &z.view(),
        &[2, WORDS, 3, WORDS],
        &[3e-3, 3e-3, 3e-3, 0.2],
        &Array2::zeros((2, WORDS)),
        end,
    );
    let mut by_hand = Array1::<f64>::from_elem(WORDS, 1.0);
    for (n, doubt) in [(1, 3e-3), (3, 0.2)] {
        let logits = head.logits(&z.view()).row(n).to_owned();
        let total: f64 = (0..WORDS).filter(|&v| v != end).map(|v| logits[v].exp()).sum();
        for v in 0..WORDS {
            by_hand[v] *= if v == end { 0.0 } else { logits[v].exp() / total + doubt };
        }
    }
    by_hand /= by_hand.sum();
    assert!((&mixtures.row(0) - &by_hand).iter().all(|gap| gap.abs() < 1e-12));
    // The second new word stands nowhere: it starts from every word but the end alike.
    assert!((mixtures[[1, 0]] - 1.0 / (WORDS - 1) as f64).abs() < 1e-12 && mixtures[[1, end]] == 0.0);

    let longer = with_rows(&head, &mixtures, 2.5);
    assert_eq!(longer.words(), WORDS + 2);
    let logits = longer.logits(&z.view());
    let known = head.logits(&z.view());
    for n in 0..TOKENS {
        let expected = known.row(n).dot(&by_hand) + 2.5;
        assert!((logits[[n, WORDS]] - expected).abs() < 1e-12);
    }
}

/// Across from each other, without detectors.
fn two_ordinary_pictures() -> References<f64> {
    References::new(ReferenceParts {
        pooled: Array2::from_shape_vec((2, 2), vec![1.0, 0.0, -1.0, 0.0]).unwrap(),
        detections: Array2::zeros((2, 0)),
        said: Array1::from_elem(3, 0.5),
        detected: Vec::new(),
        detectors: Array2::zeros((0, 7)),
    })
}

#[test]
fn of_new_words_with_evidence_the_most_frequent_one_that_captions_are_about_is_lifted() {
    let references = two_ordinary_pictures();
    // Likeness alone counts.
    let settings = FamiliaritySettings { known: [0.0, 0.0, 1.0, -0.5], ..settings() };
    let word = |prototype: [f64; 2], [frequency, rank]: [f64; 2]| Word {
        mixture: Array1::from_vec(vec![1.0, 0.0, 0.0]),
        prototype: Array1::from_vec(prototype.to_vec()),
        usual: [0.0, 1.0],
        // All of them the support's one picture.
        usage: Usage { pictures: vec![0], frequency, rank },
    };
    let picture = Observation {
        pooled: Array1::from_vec(vec![3.0, 0.0]),
        detections: Array1::zeros(0),
        said: Array1::from_elem(3, 0.5),
        z: Array2::zeros((2, 4)),
    };
    // Three known words and three new ones at two steps.
    let logits =
        Array2::from_shape_vec((2, 6), vec![2.0, 1.0, 0.0, 1.5, 0.0, 9.0, 0.0, 4.0, 1.0, 0.0, 3.0, 9.0])
            .unwrap();
    let gate = |usages: [[f64; 2]; 2], again: [f64; 2]| {
        let words =
            vec![word([1.0, 0.0], usages[0]), word([0.6, 0.8], usages[1]), word([0.0, 1.0], [1.0, 0.0])];
        let support = Array2::from_shape_vec((1, 2), again.to_vec()).unwrap();
        let familiarity = Familiarity { support, usual: [0.0, 1.0], apart: 0.0, words };
        familiarity.gate(&references, &settings, &picture, &logits)
    };
    let shifts = |usages, again| gate(usages, again).shifts;
    let close = |found: Vec<f64>, expected: [f64; 3]| {
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
    };
    let (often, rarely) = ([1.0, 0.0], [(-0.8_f64).exp(), 0.0]);
    let elsewhere = [0.0, 1.0];
    // Evidence 0.5 less 0.4, 0.1 and -0.5. The second word's best step is the second one, where it lags by 1.
    close(shifts([rarely, often], elsewhere), [0.0, 1.0 + 0.1, -50.0]);
    // As often: the one with more evidence, which lags by 0.5, unless it is the other that captions are about.
    close(shifts([often, often], elsewhere), [0.5 + 0.5, 0.0, -50.0]);
    close(shifts([[1.0, 1.0], often], elsewhere), [0.0, 1.0 + 0.1, -50.0]);
    // So rare that there is no evidence left.
    close(shifts([often, rarely], elsewhere), [0.5 + 0.5, -50.0, -50.0]);
    // The support's own picture again: all of its words are there, the third one's most.
    close(shifts([rarely, rarely], [1.0, 0.0]), [0.0, 0.0, -7.0 + 1.0]);
    // Along another caption the second word leads by 3 already, and is to lead by its evidence.
    let other = Array2::from_shape_vec((1, 6), vec![0.0, 1.0, 0.0, 9.0, 4.0, 9.0]).unwrap();
    close(gate([rarely, often], elsewhere).along(&other).shifts, [0.0, -3.0 + 0.1, -50.0]);
}

#[test]
fn features_of_a_new_word_are_log_odds_against_ordinary_pictures() {
    let references = References::new(ReferenceParts {
        pooled: Array2::from_shape_vec((2, 2), vec![1.0, 0.0, -1.0, 0.0]).unwrap(),
        // The first word is seen in a half and a fifth, the third in nearly none.
        detections: Array2::from_shape_vec((2, 2), vec![0.0, -4.0, 0.25_f64.ln(), -4.0]).unwrap(),
        said: Array1::from_vec(vec![0.3, 0.1, 0.1]),
        detected: vec![0, 2],
        detectors: Array2::zeros((2, 7)),
    });
    let word = Word {
        mixture: Array1::from_vec(vec![0.6, 0.2, 0.2]),
        prototype: Array1::from_vec(vec![1.0, 0.0]),
        usual: [0.5, 0.25],
        usage: Usage::default(),
    };
    let picture = Observation {
        pooled: Array1::from_vec(vec![0.6, 0.8]),
        detections: Array1::from_vec(vec![1.0, -2.0]),
        said: Array1::from_vec(vec![0.8, 0.5, 0.1]),
        z: Array2::zeros((1, 4)),
    };
    let logit = |p: f64| ((p + 1e-3) / (1.0 - p + 1e-3)).ln();
    // Of the words with a detector, the first has three quarters.
    let expected = [
        logit(0.6 * 0.8 + 0.2 * 0.5 + 0.2 * 0.1) - logit(0.6 * 0.3 + 0.2 * 0.1 + 0.2 * 0.1),
        0.75 * (1.0 - (0.35_f64 / 0.65).ln()) + 0.25 * (-2.0 + 4.0),
        (0.6 - 0.5) / 0.25,
        1.0,
    ];
    for (found, expected) in word.features(&references, &picture).into_iter().zip(expected) {
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    }
}

#[test]
fn two_strange_pictures_are_a_place_if_what_is_said_of_them_is_a_surprise() {
    let references = two_ordinary_pictures();
    let seen = |pooled: [f64; 2]| Observation {
        pooled: Array1::from_vec(pooled.to_vec()),
        detections: Array1::zeros(0),
        said: Array1::from_elem(3, 0.5),
        z: Array2::zeros((1, 4)),
    };
    let settings = FamiliaritySettings { place: [2.0, 1.0, -4.0], ..settings() };
    let pictures = [seen([0.0, 1.0]), seen([0.0, 2.0])];
    let apart = |count: usize, surprise: f64| {
        let shown: Vec<&Observation<f64>> = pictures[..count].iter().collect();
        Familiarity::new(&references, &settings, &shown, surprise).apart
    };
    // At right angles to the ordinary pictures, whose nearness does not vary; its deviation counts as 1.
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    let alone = sigmoid(2.0 * (1.0 - 2.0));
    for surprise in [1.0, 3.0, 5.0] {
        let expected = sigmoid(2.0 * alone + surprise - 4.0);
        assert!((apart(2, surprise) - expected).abs() < 1e-12);
    }
    assert_eq!(apart(1, 9.0), 0.0, "one picture is no place");
    let ordinary = [seen([2.0, 0.1]), seen([-2.0, 0.1])];
    let apart = Familiarity::new(&references, &settings, &[&ordinary[0], &ordinary[1]], 9.0).apart;
    assert_eq!(apart, 0.0, "nor are captions alone");
}

#[test]
fn the_memory_says_what_was_said_where_z_and_the_picture_were_alike() {
    let keys = Array2::from_shape_vec((3, 2), vec![0.0, 0.0, 6.0, 0.0, 0.0, 4.0]).unwrap();
    let memory = Memory::new(&keys, vec![5, 6, 5], vec![0, 1, 1]);
    let z = Array2::from_shape_vec((1, 2), vec![6.0, 0.0]).unwrap();
    let cosines = Array1::from_vec(vec![1.0, 0.5]);
    let blend = MemoryBlend { share: 1.0, temperature: 0.5, picture: 3.0 };
    let recalled = memory.recall(&z.view(), &[cosines.view()], blend);
    // Spreads sqrt(8) and sqrt(32 / 9); squared distances between the keys, each twice among nine pairs.
    let spread = [8.0_f64.sqrt(), (32.0_f64 / 9.0).sqrt()];
    let [a, b] = spread.map(|s| 1.0 / (s + 0.1 * (spread[0] + spread[1]) / 2.0).powi(2));
    let (first, second) = (36.0 * a, 16.0 * b);
    let usual = 2.0 * (first + second + (first + second)) / 9.0;
    let scores = [first / usual, 1.5, (first + second) / usual + 1.5].map(|d: f64| (-d / 0.5).exp());
    let sum: f64 = scores.iter().sum();
    for (found, expected) in recalled.iter().zip(scores) {
        assert!((found - expected / sum).abs() < 1e-12, "{found} {}", expected / sum);
    }
}

/// A head over `words` words that finds word v as probable as exp(-v / 2) says, whatever comes before.
fn falling(words: usize) -> Head<f64> {
    let bias_2 = Array1::from_shape_fn(words, |word| -0.5 * word as f64);
    Head {
        weight_1: Array2::zeros((1, 1)),
        bias_1: Array1::zeros(1),
        weight_2: Array2::zeros((words, 1)),
        bias_2,
    }
}

#[test]
fn a_caption_that_the_head_would_never_say_tells_little_of_a_new_words_meaning() {
    let known = 12;
    let head = falling(known);
    let total: f64 = (0..known).map(|word| (-0.5 * word as f64).exp()).sum();
    let loss = |word: usize| 0.5 * word as f64 + total.ln();
    let read = |targets: Vec<usize>| Read::new(&head, Array2::zeros((targets.len(), 1)), targets);
    let close = |found: Vec<f64>, expected: Vec<f64>| {
        assert!(
            found.iter().zip(&expected).all(|(a, b)| (a / b - 1.0).abs() < 1e-9),
            "{found:?} {expected:?}"
        );
    };
    // What it says anyway is trusted everywhere.
    close(read(vec![0, 1, known, 0]).doubts(known).collect(), vec![3e-3; 4]);
    // Surprising at its end alone: the mean over the known words counts at each position; here it is more before the new word.
    let doubt = |surprise: f64| 3e-3 * (3.0 * (surprise - 3.0)).exp();
    let whole = (loss(11) + loss(10) + loss(1)) / 3.0;
    let before = (loss(11) + loss(10)) / 2.0;
    assert!(whole > 3.0);
    let expected = [whole, loss(11), before, before].map(doubt).to_vec();
    close(read(vec![11, 10, known, 1]).doubts(known).collect(), expected);
}

#[test]
fn captions_of_a_few_words_between_them_surprise_no_more_than_ordinary_ones() {
    let known = 12;
    let head = falling(known);
    let shown = |captions: &[&[usize]]| Shown {
        observation: Observation {
            pooled: Array1::zeros(2),
            detections: Array1::zeros(0),
            said: Array1::zeros(known),
            z: Array2::zeros((1, 1)),
        },
        captions: captions
            .iter()
            .map(|targets| Read::new(&head, Array2::zeros((targets.len(), 1)), targets.to_vec()))
            .collect(),
    };
    let surprise = |captions: &[&[usize]]| calibration::surprise(&[&shown(captions)], known);
    let total: f64 = (0..known).map(|word| (-0.5 * word as f64).exp()).sum();
    assert_eq!(surprise(&[&[9, 10, 11, known, 0], &[9, 10, 11, known, 0]]), 3.0);
    let few = (0.5 + 2.0 * total.ln()) / 2.0;
    assert!((surprise(&[&[0, known, 1]]) - few).abs() < 1e-12, "{few}");
    let expected = 0.5 * (0..8).sum::<usize>() as f64 / 8.0 + total.ln();
    assert!((surprise(&[&[1, 2, 3, 4, known], &[5, 6, 7, 0]]) - expected).abs() < 1e-12);
}

#[test]
fn a_new_word_that_was_read_already_is_not_expected_again() {
    let initialization = Initialization {
        head: head(),
        end: 0,
        references: References::new(ReferenceParts {
            pooled: numbers((3, 2), 6.0),
            detections: Array2::zeros((3, 0)),
            said: Array1::from_elem(WORDS, 0.1),
            detected: Vec::new(),
            detectors: Array2::zeros((0, 7)),
        }),
        schedule: schedule(&[], None),
    };
    let shown = |targets: Vec<usize>| Shown {
        observation: Observation {
            pooled: numbers((1, 2), 7.0).row(0).to_owned(),
            detections: Array1::zeros(0),
            said: Array1::from_elem(WORDS, 0.1),
            z: numbers((2, FEATURE), 8.0),
        },
        captions: vec![Read::new(&initialization.head, numbers((targets.len(), FEATURE), 9.0), targets)],
    };
    let caption = shown(vec![2, WORDS, 3, 0]);
    let calibrated = initialization.calibrate(std::slice::from_ref(&caption), 1);
    // As sure of the word as can be: it would be said at every step.
    let gate = initialization.gate(&calibrated, &caption.observation);
    let gate = Gate { share: 1.0, shifts: vec![30.0], lifted: None, ..gate };
    let (losses, tokens) = initialization.losses(&calibrated, &gate, &caption);

    let never: [usize; 0] = [];
    let before_and_after: [&[usize]; 4] = [&never, &never, &[0], &[0]];
    let asked = before_and_after.map(|already| Row { gate: &gate, already });
    let p = initialization.probabilities(&calibrated, &caption.captions[0].z.view(), &asked);
    let by_hand = -(p[[0, 2]].ln() + p[[1, WORDS]].ln() + p[[2, 3]].ln() + p[[3, 0]].ln()) / 4.0;
    assert_eq!(tokens, 4);
    assert!((losses.after - by_hand).abs() < 1e-12, "{} {by_hand}", losses.after);
    // A known word before it has no chance, one after it has.
    assert!(p[[0, 2]].ln() < -20.0 && p[[2, 3]].ln() > -15.0, "{p}");
}
