//! The outer loop: the head's initialization, step sizes and damping, learned through the inner loop.
//!
//! ```text
//! min over theta_0, alpha, damping of   mean over tasks of  L_query(blend(theta_T))  +  L_head L_query(theta_T)
//!                                       + KL(pre-trained head || theta_0) on ordinary captions
//! ```
//!
//! with L_query the mean loss per token of the query's captions, under the blend with the memory that the device uses. The last
//! term keeps captions before calibration as they were. The body is frozen, or learns in the outer loop alone (ANIL; Raghu et al.
//! 2020): then z of support and query is part of what is differentiated, and the last term compares the body as well. What is
//! looked up, which is the memory and the mixtures that new words begin as, is that of the body before.

use std::collections::HashMap;
use std::path::Path;

use anyhow::Context;
use candle_core::{DType, Device, Result, Tensor, Var};
use metalens::adaptation;
use metalens_models::InnerLoop;
use ndarray::{Array1, Array2};
use rayon::{ThreadPool, ThreadPoolBuilder};

use super::body::fresh;
use super::head::{Head, Order, StepSizes, Tokens, log_softmax, with_constant};
use crate::captioner::{Batch, Captioner, Parameters};
use crate::optimiser::{AdamW, Rates};

/// How the outer loop learns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// Exact second order (Finn et al. 2017).
    Maml,
    /// First order (Finn et al. 2017, section 5.2).
    Fomaml,
    /// MAML with a step size for every parameter (Li et al. 2017), as a factor on those of steps and layers. No device takes
    /// them: this is for comparing.
    MetaSgd,
    /// The mean of the adapted parameters (Nichol et al. 2018, algorithm 1).
    Reptile,
}

/// Where the head's inputs come from.
pub enum Source {
    /// z `[tokens, feature]`, as a frozen body made it.
    Fixed(Array2<f32>),
    /// Captions that a body reads which learns.
    Read {
        /// The captions.
        batch: Batch,
        /// Where the tokens stand in the batch.
        places: Vec<u32>,
    },
}

/// What the inner loop adapts to.
pub struct Support {
    /// z of the tokens.
    pub z: Source,
    /// The word of each token.
    pub targets: Vec<usize>,
    /// How much each token counts; sums to one.
    pub weights: Array1<f32>,
    /// m `[new words, words]`.
    pub mixtures: Array2<f32>,
}

/// One task, ready for the outer loop.
pub struct Lesson {
    /// What is adapted to.
    pub support: Support,
    /// z of the query.
    pub query: Source,
    /// Words of the query; those that have no row are left out by whoever makes the lesson.
    pub query_targets: Vec<usize>,
    /// The memory's probability of each word of the query.
    pub recalled: Array1<f32>,
}

/// What the outer loop learns.
pub struct Learned {
    head: [Var; 2],
    /// log alpha `[steps, 2]`.
    alpha: Var,
    /// 0 for steps that a layer rests, for good; else 1.
    moves: Tensor,
    /// log damping of the second layer.
    damping: Option<Var>,
    /// log of each parameter's own factor on the step sizes, for Meta-SGD.
    factors: Option<[Var; 2]>,
    body: Option<LearnedBody>,
    /// Of the head, of the inner loop's numbers, and of the body.
    optimisers: [AdamW; 3],
    reference: Head,
    /// What the rows of new words have more than those that they are mixed from `[1, hidden + 1]`.
    offset: Tensor,
    /// The numbers that do not learn.
    schedule: InnerLoop,
    pools: Vec<ThreadPool>,
}

/// A body that learns, and as it was.
struct LearnedBody {
    now: Parameters,
    reference: Parameters,
}

impl LearnedBody {
    /// All but the head's.
    fn variables(&self) -> impl Iterator<Item = (&'static str, &Var)> {
        self.now.iter().filter(|(name, _)| !name.starts_with("head."))
    }
}

/// Share of the loss without the memory.
const HEAD_ALONE: f64 = 0.3;
/// Step size of Reptile's outer step.
const REPTILE: f64 = 0.1;

impl Learned {
    /// Starts from a pre-trained head and the schedule's numbers; `body` is that of a body that learns too.
    ///
    /// # Errors
    /// When the device refuses an allocation.
    pub fn new(
        head: &adaptation::Head<f32>,
        schedule: &InnerLoop,
        algorithm: Algorithm,
        body: Option<&Parameters>,
    ) -> anyhow::Result<Self> {
        anyhow::ensure!(
            body.is_none() || algorithm != Algorithm::Reptile,
            "outer.body: reptile averages adapted parameters, and the inner loop adapts no body; choose another algorithm"
        );
        let body = match body {
            Some(body) => Some(LearnedBody { now: fresh(body)?, reference: fresh(body)? }),
            None => None,
        };
        let start = tensors(head)?;
        let vars = [Var::from_tensor(&start.first)?, Var::from_tensor(&start.second)?];
        let log = |x: f64| x.max(1e-6).ln() as f32;
        let alpha: Vec<f32> = schedule.alpha.iter().flatten().map(|&alpha| log(alpha)).collect();
        let shape = (schedule.alpha.len(), 2);
        let alpha = Var::from_tensor(&Tensor::from_vec(alpha, shape, &Device::Cpu)?)?;
        let moves = schedule.alpha.iter().flatten().map(|&alpha| if alpha == 0.0 { 0.0_f32 } else { 1.0 });
        let moves = Tensor::from_vec(moves.collect(), shape, &Device::Cpu)?;
        let damping = match schedule.damping {
            Some(damping) => Some(Var::from_tensor(&Tensor::new(log(damping), &Device::Cpu)?)?),
            None => None,
        };
        let factors = match algorithm {
            Algorithm::MetaSgd => Some([
                Var::from_tensor(&start.first.zeros_like()?)?,
                Var::from_tensor(&start.second.zeros_like()?)?,
            ]),
            Algorithm::Maml | Algorithm::Fomaml | Algorithm::Reptile => None,
        };
        let hidden = start.second.dim(1)? - 1;
        let mut offset = vec![0.0; hidden];
        offset.push(schedule.new_words.offset as f32);
        let offset = Tensor::from_vec(offset, (1, hidden + 1), &Device::Cpu)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let pools = (0..cores)
            .map(|_| ThreadPoolBuilder::new().num_threads(1).build())
            .collect::<std::result::Result<_, _>>()?;
        let numbers = std::iter::once(&alpha).chain(&damping).chain(factors.iter().flatten());
        let bodys = body.iter().flat_map(LearnedBody::variables).map(|(_, var)| var);
        let optimisers = [AdamW::new(vars.iter())?, AdamW::new(numbers)?, AdamW::new(bodys)?];
        Ok(Self {
            body,
            optimisers,
            head: vars,
            alpha,
            moves,
            damping,
            factors,
            reference: Head { first: start.first, second: start.second },
            offset,
            schedule: schedule.clone(),
            pools,
        })
    }

    fn start(&self) -> Head {
        Head { first: self.head[0].as_tensor().clone(), second: self.head[1].as_tensor().clone() }
    }

    /// [z; 1] `[tokens, feature + 1]`.
    fn z(&self, source: &Source) -> Result<Tensor> {
        let body = || self.body.as_ref().map(|body| &body.now);
        z_of(source, body)
    }

    /// The sizes for a support of so many tokens and a head with a row for each of `mixtures` `[new words, words]`, whose factors
    /// are mixed as its rows are.
    fn sizes(&self, mixtures: &Tensor, tokens: usize) -> Result<StepSizes> {
        let alpha = ((self.alpha.exp()? * &self.moves)? * self.schedule.size_of_steps(tokens))?;
        let factors = match &self.factors {
            None => None,
            Some([first, second]) => {
                let rows = mixtures.matmul(second)?;
                Some([first.exp()?, Tensor::cat(&[second.as_tensor(), &rows], 0)?.exp()?])
            }
        };
        let alpha = (0..alpha.dim(0)?)
            .map(|step| {
                let row = alpha.get(step)?;
                let of = |layer: usize| match &factors {
                    None => row.get(layer),
                    Some(factors) => factors[layer].broadcast_mul(&row.get(layer)?),
                };
                Ok([of(0)?, of(1)?])
            })
            .collect::<Result<_>>()?;
        let damping = self.damping.as_ref().map(|damping| damping.exp()).transpose()?;
        Ok(StepSizes { alpha, damping })
    }

    /// The head after the inner loop, with a row for each new word.
    fn adapt(&self, support: &Support, order: Order) -> Result<Head> {
        let start = self.start();
        let mixtures = tensor(&support.mixtures)?;
        let rows = mixtures.matmul(&start.second)?.broadcast_add(&self.offset)?;
        let start = Head { first: start.first, second: Tensor::cat(&[&start.second, &rows], 0)? };
        let tokens = Tokens {
            z: self.z(&support.z)?,
            targets: one_hot(&support.targets, start.second.dim(0)?)?,
            weights: Tensor::from_vec(support.weights.to_vec(), (support.weights.len(), 1), &Device::Cpu)?,
        };
        start.adapt(&tokens, &self.sizes(&mixtures, support.targets.len())?, order)
    }

    /// The query's loss of one lesson, and the adapted head.
    fn loss(&self, lesson: &Lesson, order: Order) -> Result<(Tensor, Head)> {
        let adapted = self.adapt(&lesson.support, order)?;
        let count = lesson.query_targets.len();
        let log_p = log_softmax(&adapted.logits(&self.z(&lesson.query)?)?)?;
        let targets: Vec<u32> = lesson.query_targets.iter().map(|&word| word as u32).collect();
        let log_p = log_p.gather(&Tensor::from_vec(targets, (count, 1), &Device::Cpu)?, 1)?.squeeze(1)?;
        let share = self.schedule.memory.share;
        let recalled = Tensor::from_vec(lesson.recalled.to_vec(), count, &Device::Cpu)?;
        let blended = ((log_p.exp()? * (1.0 - share))? + (recalled * share)?)?;
        let blended = (blended + 1e-9)?.log()?;
        let loss = (blended.mean_all()? + (log_p.mean_all()? * HEAD_ALONE)?)?.neg()?;
        Ok((loss, adapted))
    }

    /// One outer step on a meta-batch; `ordinary` is z of ordinary captions, and `rates` are those of the head, of the inner
    /// loop's numbers and of the body. Returns the mean query loss.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn step(
        &mut self,
        lessons: &[Lesson],
        ordinary: &Source,
        algorithm: Algorithm,
        rates: [f64; 3],
    ) -> anyhow::Result<f64> {
        let order = if algorithm == Algorithm::Fomaml { Order::First } else { Order::Second };
        let pools = &self.pools;
        let this = &*self;
        let work = |lesson: &Lesson| -> Result<(f64, Vec<Vec<f32>>)> {
            let (loss, adapted) = this.loss(lesson, order)?;
            let value = f64::from(loss.to_scalar::<f32>()?);
            if algorithm == Algorithm::Reptile {
                let known = this.head[1].dim(0)?;
                let toward = |start: &Var, end: &Tensor| (start.as_tensor() - end)?.flatten_all()?.to_vec1();
                let second = adapted.second.narrow(0, 0, known)?;
                return Ok((
                    value,
                    vec![toward(&this.head[0], &adapted.first)?, toward(&this.head[1], &second)?],
                ));
            }
            Ok((value, this.gradients(&loss)?))
        };
        let work = &work;
        let parts = std::thread::scope(|scope| {
            let workers: Vec<_> = lessons
                .iter()
                .enumerate()
                .map(|(place, lesson)| {
                    let pool = &pools[place % pools.len()];
                    scope.spawn(move || pool.install(|| work(lesson)))
                })
                .collect();
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect::<Result<Vec<_>>>()
        })?;
        let count = parts.len() as f32;
        let mut gradients: Vec<Vec<f32>> = Vec::new();
        let mut loss = 0.0;
        for (value, part) in parts {
            loss += value / f64::from(count);
            if gradients.is_empty() {
                gradients = part.iter().map(|g| vec![0.0; g.len()]).collect();
            }
            for (sum, part) in gradients.iter_mut().zip(part) {
                sum.iter_mut().zip(part).for_each(|(sum, g)| *sum += g / count);
            }
        }
        if algorithm == Algorithm::Reptile {
            for (var, step) in self.head.iter().zip(&gradients) {
                let step = Tensor::from_slice(step, var.shape(), &Device::Cpu)?;
                var.set(&(var.as_tensor() - (step * REPTILE)?)?)?;
            }
            return Ok(loss);
        }
        for (gradient, extra) in gradients.iter_mut().zip(self.kept(ordinary)?) {
            gradient.iter_mut().zip(extra).for_each(|(sum, g)| *sum += g);
        }
        let rates =
            rates.map(|learning_rate| Rates { learning_rate, weight_decay: 0.0, clip: 1.0, average: 0.0 });
        let bodys = gradients.split_off(self.head.len() + self.numbers().count());
        let numbers = gradients.split_off(self.head.len());
        let [of_head, of_numbers, of_body] = &mut self.optimisers;
        of_head.step(self.head.iter(), &gradients, rates[0])?;
        let own = std::iter::once(&self.alpha).chain(&self.damping).chain(self.factors.iter().flatten());
        of_numbers.step(own, &numbers, rates[1])?;
        if let Some(body) = &self.body {
            of_body.step(body.variables().map(|(_, var)| var), &bodys, rates[2])?;
        }
        Ok(loss)
    }

    fn numbers(&self) -> impl Iterator<Item = &Var> {
        std::iter::once(&self.alpha).chain(&self.damping).chain(self.factors.iter().flatten())
    }

    fn variables(&self) -> impl Iterator<Item = &Var> {
        let body = self.body.iter().flat_map(LearnedBody::variables).map(|(_, var)| var);
        self.head.iter().chain(self.numbers()).chain(body)
    }

    /// The gradient of the divergence from the pre-trained captioner on ordinary captions.
    fn kept(&self, ordinary: &Source) -> Result<Vec<Vec<f32>>> {
        let z = self.z(ordinary)?;
        let was = z_of(ordinary, || self.body.as_ref().map(|body| &body.reference))?.detach();
        let before = log_softmax(&self.reference.logits(&was)?)?;
        let now = log_softmax(&self.start().logits(&z)?)?;
        let divergence = ((before.exp()? * (&before - now)?)?.sum_all()? / z.dim(0)? as f64)?;
        self.gradients(&divergence)
    }

    /// Of all variables, 0 where none reaches one.
    fn gradients(&self, loss: &Tensor) -> Result<Vec<Vec<f32>>> {
        let gradients = loss.backward()?;
        let flat = |var: &Var| match gradients.get(var) {
            Some(gradient) => gradient.flatten_all()?.to_vec1(),
            None => Ok(vec![0.0; var.elem_count()]),
        };
        self.variables().map(flat).collect()
    }

    /// Writes everything that the next outer step depends on, as a whole.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path, losses: &[f64]) -> anyhow::Result<()> {
        let mut tensors: HashMap<String, Tensor> = HashMap::new();
        for (name, var) in self.named() {
            tensors.insert(name, var.as_tensor().clone());
        }
        let memories = self.optimisers.iter().flat_map(|optimiser| &optimiser.memory);
        for ((name, _), memory) in self.named().zip(memories) {
            for (part, values) in [("first", &memory.first_moment), ("second", &memory.second_moment)] {
                tensors.insert(
                    format!("{name}.{part}"),
                    Tensor::from_slice(values, values.len(), &Device::Cpu)?,
                );
            }
        }
        let losses: Vec<f64> = losses.to_vec();
        tensors.insert("losses".to_owned(), Tensor::from_vec(losses.clone(), losses.len(), &Device::Cpu)?);
        let bytes = safetensors::serialize(tensors, None)?;
        Ok(metalens_models::replace(path, &bytes)?)
    }

    /// Goes on where [`Self::save`] stopped; returns the losses so far.
    ///
    /// # Errors
    /// When the file cannot be read or is of another head.
    pub fn load(&mut self, path: &Path) -> anyhow::Result<Vec<f64>> {
        let tensors =
            candle_core::safetensors::load(path, &Device::Cpu).with_context(|| path.display().to_string())?;
        let take = |name: &str| {
            tensors.get(name).with_context(|| format!("{}: holds no {name}; remove it", path.display()))
        };
        let losses: Vec<f64> = take("losses")?.to_vec1()?;
        for (name, var) in self.named() {
            var.set(take(&name)?)
                .with_context(|| format!("{}: {name} is of another head", path.display()))?;
        }
        let names: Vec<String> = self.named().map(|(name, _)| name).collect();
        for (name, memory) in names.iter().zip(self.optimisers.iter_mut().flat_map(|o| &mut o.memory)) {
            memory.first_moment = take(&format!("{name}.first"))?.to_vec1()?;
            memory.second_moment = take(&format!("{name}.second"))?.to_vec1()?;
        }
        for optimiser in &mut self.optimisers {
            optimiser.steps = losses.len() as u64;
        }
        Ok(losses)
    }

    fn named(&self) -> impl Iterator<Item = (String, &Var)> {
        let damping = self.damping.is_some().then_some("damping");
        let factors = self.factors.is_some().then_some(["factors.first", "factors.second"]);
        let names = ["head.first", "head.second", "alpha"].into_iter().chain(damping);
        let names = names.chain(factors.into_iter().flatten()).map(str::to_owned);
        let body = self.body.iter().flat_map(LearnedBody::variables).map(|(name, _)| format!("body.{name}"));
        names.chain(body).zip(self.variables())
    }

    /// The body as it is now, where it learns; its head is that of the start.
    #[must_use]
    pub fn body(&self) -> Option<&Parameters> {
        self.body.as_ref().map(|body| &body.now)
    }

    /// The head after the inner loop, also with factors that no schedule can hold.
    ///
    /// # Errors
    /// When shapes do not fit.
    pub fn adapted(&self, support: &Support) -> anyhow::Result<adaptation::Head<f32>> {
        let Head { first, second } = self.adapt(support, Order::First)?;
        let ((weight_1, bias_1), (weight_2, bias_2)) = (split(&first)?, split(&second)?);
        Ok(adaptation::Head { weight_1, bias_1, weight_2, bias_2 })
    }

    /// The head and the schedule as they are now.
    ///
    /// # Errors
    /// When a tensor cannot be read.
    pub fn finish(&self, schedule: &InnerLoop) -> anyhow::Result<(adaptation::Head<f32>, InnerLoop)> {
        let ((weight_1, bias_1), (weight_2, bias_2)) = (split(&self.head[0])?, split(&self.head[1])?);
        let alpha: Vec<f32> = (self.alpha.exp()? * &self.moves)?.flatten_all()?.to_vec1()?;
        let damping = match &self.damping {
            Some(damping) => Some(f64::from(damping.exp()?.to_scalar::<f32>()?)),
            None => None,
        };
        let schedule = InnerLoop {
            alpha: alpha.chunks_exact(2).map(|pair| [f64::from(pair[0]), f64::from(pair[1])]).collect(),
            damping,
            ..schedule.clone()
        };
        Ok((adaptation::Head { weight_1, bias_1, weight_2, bias_2 }, schedule))
    }
}

/// [z; 1] of a source, with the parameters of a body that reads.
fn z_of<'a>(source: &Source, body: impl Fn() -> Option<&'a Parameters>) -> Result<Tensor> {
    let z = match source {
        Source::Fixed(z) => tensor(z)?,
        Source::Read { batch, places } => {
            let Some(body) = body() else {
                candle_core::bail!("captions to read, and a body that is frozen")
            };
            let all = Captioner::new(body).body(batch, &mut None)?;
            all.index_select(&Tensor::from_slice(places, places.len(), all.device())?, 0)?
        }
    };
    with_constant(&z)
}

/// A layer's weights and biases.
fn split(layer: &Tensor) -> anyhow::Result<(Array2<f32>, Array1<f32>)> {
    let (rows, columns) = layer.dims2()?;
    let all = Array2::from_shape_vec((rows, columns), layer.flatten_all()?.to_vec1()?)?;
    let last = columns - 1;
    Ok((all.slice(ndarray::s![.., ..last]).to_owned(), all.column(last).to_owned()))
}

fn tensors(head: &adaptation::Head<f32>) -> Result<Head> {
    let join = |weight: &Array2<f32>, bias: &Array1<f32>| {
        let bias = Tensor::from_vec(bias.to_vec(), (bias.len(), 1), &Device::Cpu)?;
        Tensor::cat(&[&tensor(weight)?, &bias], 1)
    };
    Ok(Head { first: join(&head.weight_1, &head.bias_1)?, second: join(&head.weight_2, &head.bias_2)? })
}

fn tensor(x: &Array2<f32>) -> Result<Tensor> {
    Tensor::from_vec(x.iter().copied().collect(), x.dim(), &Device::Cpu)
}

fn one_hot(targets: &[usize], words: usize) -> Result<Tensor> {
    let mut rows = vec![0.0_f32; targets.len() * words];
    for (row, &target) in targets.iter().enumerate() {
        rows[row * words + target] = 1.0;
    }
    Tensor::from_vec(rows, (targets.len(), words), &Device::Cpu)?.to_dtype(DType::F32)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use metalens_models::{Familiarity, MemoryBlend, NewWordStart};

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
        InnerLoop {
            steps: 2,
            alpha: vec![[0.1, 0.5], [0.0, 0.5]],
            damping: Some(1.0),
            new_words: NewWordStart { offset: 0.0, weight: 1.0, detectors: 0.0, steps: 1.0 },
            memory: MemoryBlend { share: 0.3, temperature: 1.0, picture: 0.0 },
            consensus: None,
            tokens: None,
            familiarity: Familiarity { known: [0.0; 4], unknown: [0.0; 4], slope: 1.0, threshold: 0.0 },
        }
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
        let sizes = Sizes { trunk: 3, token: 3, key: 2, state: 4, word: 2, hidden: 4, vocabulary: 6 };
        let body = Parameters::new(sizes, 5, DType::F32, &Device::Cpu).unwrap();
        let head = adaptation::Head { weight_1: numbers(4, sizes.feature(), 0.0), ..head() };
        let features = Tensor::from_vec(
            (0..2 * 4 * 3).map(|n| (n as f32 * 0.9).sin()).collect(),
            (2, 4, 3),
            &Device::Cpu,
        );
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
        let loss = |learned: &Learned| {
            learned.loss(&lessons[0], Order::First).unwrap().0.to_scalar::<f32>().unwrap()
        };
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
}
