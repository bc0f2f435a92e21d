//! The fused operations against the same formulas as plain candle operations, and both against finite differences.

use candle_core::{DType, Device, Result, Tensor, Var};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    Concepts, Layer, Pictures, Pointing, Targets, Weights, Window, cross_entropy, decode, depthwise,
    linear_cross_entropy, point,
};

fn variables(shapes: &[&[usize]]) -> Vec<Var> {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    shapes
        .iter()
        .map(|&shape| {
            let data: Vec<f64> = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
            Var::from_vec(data, shape, &Device::Cpu).unwrap()
        })
        .collect()
}

/// A scalar that depends on every element of `x` differently.
fn mixed(x: &Tensor) -> Result<Tensor> {
    let weights: Vec<f64> = (0..x.elem_count()).map(|i| (i as f64 * 0.7).sin()).collect();
    (x * Tensor::from_vec(weights, x.shape(), x.device())?.to_dtype(x.dtype())?)?.sum_all()
}

fn value(x: &Tensor) -> f64 {
    x.to_dtype(DType::F64).unwrap().to_scalar().unwrap()
}

/// Checks value and gradient: fused f32 against plain f64 to 1e-5, plain f64 against central differences to 1e-7.
fn check(shapes: &[&[usize]], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    let double = variables(shapes);
    let tensors = |vars: &[Var]| vars.iter().map(|v| v.as_tensor().clone()).collect::<Vec<_>>();
    let single: Vec<Var> =
        double.iter().map(|v| Var::from_tensor(&v.to_dtype(DType::F32).unwrap()).unwrap()).collect();
    let plain = f(&tensors(&double)).unwrap();
    let fused = f(&tensors(&single)).unwrap();
    assert!((value(&plain) - value(&fused)).abs() < 1e-5, "{} {}", value(&plain), value(&fused));
    let (plain, fused) = (plain.backward().unwrap(), fused.backward().unwrap());
    for (place, (var, var32)) in double.iter().zip(&single).enumerate() {
        let gradient: Vec<f64> = plain.get(var).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let gradient32: Vec<f32> = fused.get(var32).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let at: Vec<f64> = var.flatten_all().unwrap().to_vec1().unwrap();
        for i in 0..at.len() {
            assert!((gradient[i] - f64::from(gradient32[i])).abs() < 1e-5, "input {place}, element {i}");
            let shifted = |by: f64| {
                let mut data = at.clone();
                data[i] += by;
                let mut inputs = tensors(&double);
                inputs[place] = Tensor::from_vec(data, var.shape(), &Device::Cpu).unwrap();
                value(&f(&inputs).unwrap())
            };
            let difference = (shifted(1e-5) - shifted(-1e-5)) / 2e-5;
            assert!((gradient[i] - difference).abs() < 1e-7, "input {place}, element {i}");
        }
    }
}

/// Two pictures of five positions, three captions of 3, 2 and 1 words; word 2, key 4, token 3, state 3.
const DECODER: [&[usize]; 11] =
    [&[6, 2], &[2, 5, 4], &[2, 5, 3], &[2, 3], &[3, 4], &[4], &[4], &[5, 9], &[9], &[3, 9], &[9]];

fn decoder(x: &[Tensor]) -> (Pictures<'_>, Weights<'_>) {
    let pictures = Pictures { keys: &x[1], tokens: &x[2], state: &x[3] };
    let weights = Weights {
        query: &x[4],
        query_bias: &x[5],
        energy: &x[6],
        input: &x[7],
        input_bias: &x[8],
        state: &x[9],
        state_bias: &x[10],
    };
    (pictures, weights)
}

#[test]
fn the_decoder_and_its_gradient_are_right() {
    check(&DECODER, |x| {
        let (pictures, weights) = decoder(x);
        mixed(&decode(&x[0], pictures, None, weights, &[3, 2, 1], &[1, 0, 1])?)
    });
}

#[test]
fn the_decoder_looks_at_the_concepts_of_each_row() {
    // With three concepts: two of the first row, none of the second, and one that the first and the third share.
    let shapes = [&DECODER[..], &[&[3, 4], &[3, 3]]].concat();
    check(&shapes, |x| {
        let (pictures, weights) = decoder(x);
        let concepts = Concepts { keys: &x[11], tokens: &x[12], of_row: &[1..3, 0..0, 0..2] };
        mixed(&decode(&x[0], pictures, Some(concepts), weights, &[3, 2, 1], &[1, 0, 1])?)
    });
}

#[test]
fn pointing_and_its_gradient_are_right() {
    let at = |row, word, confidence| Pointing { row, word, confidence };
    check(&[&[3, 5], &[3, 2]], |x| {
        mixed(&point(&x[0], &x[1], &[at(0, 4, 0.9), at(0, 1, 0.2), at(2, 0, 0.5)])?)
    });
}

#[test]
fn smoothed_cross_entropy_and_its_gradient_are_right() {
    // 19 words: more than the vector lanes, and not a multiple of them.
    check(&[&[3, 19]], |x| cross_entropy(&x[0], &[4, 0, 18], &[1.0, 0.5, 0.0], 0.1));
}

#[test]
fn the_last_layer_and_its_cross_entropy_and_their_gradient_are_right() {
    let at = |row, word, confidence| Pointing { row, word, confidence };
    let at = [at(0, 4, 0.9), at(0, 1, 0.2), at(2, 0, 0.5), at(3, 2, 0.7)];
    let targets = Targets { words: &[4, 0, 18, 2], weights: &[1.0, 0.5, 0.0, -0.7], smoothing: 0.1 };
    for at in [&at[..], &[]] {
        check(&[&[4, 3], &[19, 3], &[19], &[4, 2]], |x| {
            let layer = Layer { weight: &x[1], bias: &x[2], pointing: Some((&x[3], at)) };
            linear_cross_entropy(&x[0], layer, targets)? + (x[3].sum_all()? * 0.1)?
        });
    }
}

#[test]
fn rows_of_several_blocks_add_up() {
    let x: Vec<f32> = (0..600 * 3).map(|i| (i as f32 * 0.37).sin()).collect();
    let x = Var::from_vec(x, (600, 3), &Device::Cpu).unwrap();
    let weight: Vec<f32> = (0..7 * 3).map(|i| (i as f32 * 0.61).cos()).collect();
    let weight = Var::from_vec(weight, (7, 3), &Device::Cpu).unwrap();
    let pointer = Var::from_vec((0..1200).map(|i| (i as f32 * 0.11).sin()).collect(), (600, 2), &Device::Cpu);
    let (bias, pointer) = (Tensor::zeros(7, DType::F32, &Device::Cpu).unwrap(), pointer.unwrap());
    let words: Vec<u32> = (0..600).map(|row| row % 7).collect();
    let at: Vec<Pointing> =
        (0..600).step_by(5).map(|row| Pointing { row, word: (row % 3) as u32, confidence: 0.5 }).collect();
    let weights = vec![0.5; 600];
    let layer = Layer { weight: &weight, bias: &bias, pointing: Some((&pointer, &at)) };
    let targets = Targets { words: &words, weights: &weights, smoothing: 0.1 };
    let fused = linear_cross_entropy(&x, layer, targets).unwrap();
    let logits = point(&x.matmul(&weight.t().unwrap()).unwrap(), &pointer, &at).unwrap();
    let parts = cross_entropy(&logits, &words, &weights, 0.1).unwrap();
    assert!((value(&fused) / value(&parts) - 1.0).abs() < 1e-5, "{} {}", value(&fused), value(&parts));
    let (fused, parts) = (fused.backward().unwrap(), parts.backward().unwrap());
    for var in [&x, &weight, &pointer] {
        let distance = (fused.get(var).unwrap() - parts.get(var).unwrap()).unwrap().abs().unwrap();
        let worst: f32 = distance.flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap();
        assert!(worst < 1e-4, "{worst}");
    }
}

#[test]
fn the_depthwise_convolution_and_its_gradient_are_right() {
    // As in the trunk: kernels of 3 and 5, strides of 1 and 2, the odd zero behind the map.
    let windows = [
        Window { kernel: 3, stride: 1, padding: (1, 1), size: 4 },
        Window { kernel: 3, stride: 2, padding: (0, 1), size: 4 },
        Window { kernel: 5, stride: 2, padding: (1, 2), size: 4 },
    ];
    for window in windows {
        let kernels = window.kernel * window.kernel;
        check(&[&[2, 4, 4, 3], &[kernels, 3]], |x| mixed(&depthwise(&x[0], &x[1], window)?));
    }
}
