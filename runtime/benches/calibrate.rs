//! Times the inner loop of a calibration with five pictures: once on all of them, and once for each on the other four.
//! `cargo xtask bench calibrate` runs it in turn with `calibrate_torch.py`.
//!
//! Arguments: tokens, feature, hidden, words, steps, repetitions. Prints `{"milliseconds": median}`.

use std::time::Instant;

use metalens::adaptation::{Head, Tokens, adapt};
use metalens_models::InnerLoop;
use ndarray::{Array1, Array2, Axis};

/// Pictures of the support.
const PICTURES: usize = 5;

/// Numbers that look random and are the same everywhere.
fn numbers(rows: usize, columns: usize, scale: f32) -> Array2<f32> {
    Array2::from_shape_fn((rows, columns), |(i, j)| ((i * 7919 + j * 104_729) as f32 * 0.618).sin() * scale)
}

fn main() {
    let arguments: Vec<usize> = std::env::args().skip(1).filter_map(|text| text.parse().ok()).collect();
    let [tokens, feature, hidden, words, steps, repetitions] = arguments[..] else {
        eprintln!("calibrate-steps TOKENS FEATURE HIDDEN WORDS STEPS REPETITIONS");
        std::process::exit(2);
    };
    let head = Head {
        weight_1: numbers(hidden, feature, 0.05),
        bias_1: Array1::zeros(hidden),
        weight_2: numbers(words, hidden, 0.05),
        bias_2: Array1::zeros(words),
    };
    let mut alpha = vec![[0.0, 8.0]; steps];
    alpha[0][0] = 0.25;
    let schedule = InnerLoop::plain(alpha, Some(1.0));
    let z = numbers(tokens, feature, 1.0);
    let targets: Vec<usize> = (0..tokens).map(|n| n * 7919 % words).collect();
    let part = |kept: &[usize]| Tokens {
        z: z.select(Axis(0), kept),
        targets: kept.iter().map(|&n| targets[n]).collect(),
        weights: Array1::from_elem(kept.len(), 1.0 / kept.len() as f32),
    };
    let all: Vec<usize> = (0..tokens).collect();
    let folds: Vec<(Tokens<f32>, Array2<f32>)> = (0..PICTURES)
        .map(|out| {
            let (held, kept): (Vec<usize>, Vec<usize>) = all.iter().partition(|&&n| n % PICTURES == out);
            (part(&kept), z.select(Axis(0), &held))
        })
        .collect();
    let mut times: Vec<f64> = (0..repetitions)
        .map(|_| {
            let began = Instant::now();
            let mut sum = 0.0;
            for (support, held) in &folds {
                sum += adapt(head.clone(), support, &schedule).logits(&held.view()).sum();
            }
            sum += adapt(head.clone(), &part(&all), &schedule).into_head().bias_2.sum();
            assert!(sum.is_finite());
            began.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{{\"milliseconds\": {:.2}}}", times[repetitions / 2]);
}
