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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

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
    fn variables(&self) -> impl Iterator<Item = (&str, &Var)> {
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
        let own: Vec<Var> = self.numbers().cloned().collect();
        let bodys = gradients.split_off(self.head.len() + own.len());
        let numbers = gradients.split_off(self.head.len());
        let [of_head, of_numbers, of_body] = &mut self.optimisers;
        of_head.step(self.head.iter(), &gradients, rates[0])?;
        of_numbers.step(own.iter(), &numbers, rates[1])?;
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
