use metalens_models::MemoryBlend;

use super::*;
use crate::captioner::{PackedCaptions, Sizes};

fn numbers(rows: usize, columns: usize, seed: f32) -> Array2<f32> {
    Array2::from_shape_fn((rows, columns), |(i, j)| ((i * 31 + j * 17) as f32 * 0.7 + seed).sin())
}

fn head() -> adaptation::Head<f32> {
    adaptation::Head {
        weight_1: numbers(4, 5, 0.0),
        bias_1: Array1::zeros(4),
        weight_2: numbers(6, 4, 1.0),
        bias_2: Array1::zeros(6),
    }
}

fn schedule() -> InnerLoop {
    let plain = InnerLoop::plain(vec![[0.1, 0.5], [0.0, 0.5]], Some(1.0));
    InnerLoop { memory: MemoryBlend { share: 0.3, ..plain.memory }, ..plain }
}

fn learned(algorithm: Algorithm) -> Learned {
    Learned::new(&head(), &schedule(), algorithm, None).unwrap()
}

fn lessons() -> Vec<Lesson> {
    let lesson = |seed: f32| Lesson {
        support: Support {
            z: Source::Fixed(numbers(3, 5, seed)),
            targets: vec![1, 6, 2],
            weights: Array1::from_vec(vec![0.25, 0.5, 0.25]),
            mixtures: Array2::from_elem((1, 6), 1.0 / 6.0),
        },
        query: Source::Fixed(numbers(4, 5, seed + 0.1)),
        query_targets: vec![1, 6, 2, 0],
        recalled: Array1::from_vec(vec![0.5, 0.5, 0.1, 0.0]),
    };
    vec![lesson(2.0), lesson(3.0)]
}

const RATES: [f64; 3] = [1e-2, 1e-2, 0.0];

#[test]
fn every_algorithm_lowers_the_query_loss_and_a_resting_layer_rests() {
    for algorithm in [Algorithm::Maml, Algorithm::Fomaml, Algorithm::MetaSgd, Algorithm::Reptile] {
        let mut learned = learned(algorithm);
        let ordinary = Source::Fixed(numbers(8, 5, 9.0));
        let losses: Vec<f64> =
            (0..30).map(|_| learned.step(&lessons(), &ordinary, algorithm, RATES).unwrap()).collect();
        assert!(losses[29] < losses[0] - 0.05, "{algorithm:?}: {losses:?}");
        let sizes = learned.sizes(&tensor(&lessons()[0].support.mixtures).unwrap(), 3).unwrap();
        let resting: Vec<f32> = sizes.alpha[1][0].flatten_all().unwrap().to_vec1().unwrap();
        assert!(resting.iter().all(|alpha| *alpha == 0.0), "{algorithm:?}");
    }
}

#[test]
fn meta_sgd_learns_a_size_for_each_parameter_and_begins_as_maml() {
    let (mut maml, mut sgd) = (learned(Algorithm::Maml), learned(Algorithm::MetaSgd));
    let (lessons, ordinary) = (lessons(), Source::Fixed(numbers(8, 5, 9.0)));
    let of = |learned: &Learned| learned.adapted(&lessons[0].support).unwrap();
    assert_eq!(of(&maml), of(&sgd));
    // The sizes alone learn.
    for _ in 0..30 {
        let step = |learned: &mut Learned, algorithm| {
            learned.step(&lessons, &ordinary, algorithm, [0.0, 1e-1, 0.0]).unwrap()
        };
        step(&mut maml, Algorithm::Maml);
        step(&mut sgd, Algorithm::MetaSgd);
    }
    let loss = |learned: &Learned| {
        let of = |lesson| learned.loss(lesson, Order::First).unwrap().0.to_scalar::<f32>().unwrap();
        lessons.iter().map(of).sum::<f32>()
    };
    assert!(loss(&sgd) < loss(&maml), "{} and {}", loss(&sgd), loss(&maml));
    let alpha = sgd.sizes(&tensor(&lessons[0].support.mixtures).unwrap(), 3).unwrap().alpha;
    assert_eq!(alpha[0].each_ref().map(|size| size.dims().to_vec()), [vec![4, 6], vec![7, 5]]);
    let sizes: Vec<f32> = alpha[0][1].flatten_all().unwrap().to_vec1().unwrap();
    let (least, most) = sizes.iter().fold((f32::MAX, 0.0_f32), |(a, b), &x| (a.min(x), b.max(x)));
    assert!(most > 1.5 * least, "{least} to {most}");
}

/// A small body that learns, under a head of its own.
fn with_body() -> (Learned, Vec<Lesson>, Source) {
    let sizes = Sizes {
        trunk: 3,
        cut: None,
        token: 3,
        key: 2,
        state: 4,
        word: 2,
        hidden: 4,
        vocabulary: 6,
        concepts: false,
    };
    let body = Parameters::new(sizes, 5, DType::F32, &Device::Cpu).unwrap();
    let head = adaptation::Head { weight_1: numbers(4, sizes.feature(), 0.0), ..head() };
    let features =
        Tensor::from_vec((0..2 * 4 * 3).map(|n| (n as f32 * 0.9).sin()).collect(), (2, 4, 3), &Device::Cpu);
    let features = features.unwrap();
    let read = |captions: &[&[u32]]| {
        let batch = Batch::new(features.clone(), &[0, 1], PackedCaptions::new(captions, 4, 5));
        let places = batch.captions.places().into_iter().flatten().map(|place| place as u32).collect();
        Source::Read { batch, places }
    };
    let lesson = Lesson {
        support: Support {
            z: read(&[&[1], &[2, 3]]),
            targets: vec![1, 5, 2, 6, 5],
            weights: Array1::from_elem(5, 0.2),
            mixtures: Array2::from_elem((1, 6), 1.0 / 6.0),
        },
        query: read(&[&[3, 1], &[2]]),
        query_targets: vec![6, 1, 5, 2, 5],
        recalled: Array1::from_vec(vec![0.5, 0.5, 0.1, 0.0, 0.2]),
    };
    let learned = Learned::new(&head, &schedule(), Algorithm::Maml, Some(&body)).unwrap();
    (learned, vec![lesson], read(&[&[1, 2], &[3]]))
}

#[test]
fn the_bodys_gradient_goes_through_the_inner_loop() {
    let (learned, lessons, _) = with_body();
    let at = |order| {
        let (loss, _) = learned.loss(&lessons[0], order).unwrap();
        let gradients = learned.gradients(&loss).unwrap();
        gradients[learned.head.len() + learned.numbers().count()..].to_vec()
    };
    let (second, first) = (at(Order::Second), at(Order::First));
    let dot = |a: &[Vec<f32>], b: &[Vec<f32>]| {
        a.iter().flatten().zip(b.iter().flatten()).map(|(x, y)| f64::from(x * y)).sum::<f64>()
    };
    let norm = dot(&second, &second).sqrt();
    // Along the gradient, the loss changes by its norm.
    let variables: Vec<Var> =
        learned.body.iter().flat_map(LearnedBody::variables).map(|(_, var)| var.clone()).collect();
    let start: Vec<Vec<f32>> =
        variables.iter().map(|var| var.flatten_all().unwrap().to_vec1().unwrap()).collect();
    let moved = |by: f64| {
        for ((var, start), gradient) in variables.iter().zip(&start).zip(&second) {
            let step = |(x, g): (&f32, &f32)| x + (by * f64::from(*g) / norm) as f32;
            let values: Vec<f32> = start.iter().zip(gradient).map(step).collect();
            var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu).unwrap()).unwrap();
        }
        f64::from(learned.loss(&lessons[0], Order::First).unwrap().0.to_scalar::<f32>().unwrap())
    };
    let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
    assert!((slope - norm).abs() < 1e-2 * norm, "{slope} and {norm}");
    // Without the support's part it is another.
    let cosine = dot(&first, &second) / (norm * dot(&first, &first).sqrt());
    assert!(cosine < 0.99, "{cosine}");
}

#[test]
fn a_body_that_learns_lowers_the_query_loss_more_and_can_be_saved() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outer.safetensors");
    let after = |body_rate: f64| {
        let (mut learned, lessons, ordinary) = with_body();
        let mut losses = Vec::new();
        for _ in 0..20 {
            let rates = [1e-3, 1e-2, body_rate];
            losses.push(learned.step(&lessons, &ordinary, Algorithm::Maml, rates).unwrap());
        }
        learned.save(&path, &losses).unwrap();
        (losses[19], learned)
    };
    assert!(after(1e-2).0 < after(0.0).0 - 1e-2);
    let (_, whole) = after(1e-2);
    let (mut resumed, lessons, _) = with_body();
    resumed.load(&path).unwrap();
    let loss =
        |learned: &Learned| learned.loss(&lessons[0], Order::First).unwrap().0.to_scalar::<f32>().unwrap();
    assert_eq!(loss(&resumed), loss(&whole));
    let reptile = Learned::new(&head(), &schedule(), Algorithm::Reptile, whole.body());
    assert!(reptile.err().unwrap().to_string().starts_with("outer.body: reptile"));
}

#[test]
fn a_run_that_was_saved_goes_on_as_if_it_had_not_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("outer.safetensors");
    let ordinary = Source::Fixed(numbers(8, 5, 9.0));
    for algorithm in [Algorithm::Maml, Algorithm::MetaSgd] {
        let mut whole = learned(algorithm);
        let mut losses: Vec<f64> =
            (0..3).map(|_| whole.step(&lessons(), &ordinary, algorithm, RATES).unwrap()).collect();
        whole.save(&path, &losses).unwrap();
        let mut resumed = learned(algorithm);
        assert_eq!(resumed.load(&path).unwrap(), losses);
        for _ in 0..3 {
            losses.push(whole.step(&lessons(), &ordinary, algorithm, RATES).unwrap());
            let again = resumed.step(&lessons(), &ordinary, algorithm, RATES).unwrap();
            assert_eq!(again, losses[losses.len() - 1]);
        }
    }
}
