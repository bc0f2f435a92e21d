//! Learns from places: episodes whose support and query are pictures of one or several scenes.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::ProgressBar;
use metalens::adaptation::{Familiarity, Initialization};
use ndarray::{Array1, Array2, ArrayView2, Axis, concatenate};
use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;

use super::apart::Sets;
use super::config::MetaConfig;
use super::episode::{Episode, episode};
use super::evidence::{learn_place, nearness};
use super::gallery::Gallery;
use super::outer::{Learned, Lesson, Source, Support};
use super::{Body, Encodings};
use crate::features::Features;
use crate::tasks::{Kind, MetaSplit, Partition, Pool, Sampler, TaskOptions, TaskPicture};
use crate::vocabulary::{END, UNKNOWN};

/// Query captions of a picture that an outer step looks at.
const CAPTIONS: usize = 2;
/// Query pictures that an outer step looks at.
const PICTURES: usize = 20;
/// Ordinary tokens that an outer step compares with the pre-trained head.
const ORDINARY: usize = 128;

fn number(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).expect("the numbers of this file are positive")
}

/// What is needed to learn from places.
pub(super) struct Places<'a> {
    /// The body.
    pub body: &'a Body,
    /// The configuration.
    pub config: &'a MetaConfig,
    /// Pictures with scenes.
    pub features: &'a Features,
    /// Ordinary pictures that the body never saw.
    pub ordinary: &'a Gallery,
    /// Where they come from, and their places there.
    pub things: (&'a Features, &'a [usize]),
    /// Words that the bundle can say.
    pub known: &'a HashSet<String>,
    /// Where the outer loop is saved.
    pub saved: &'a Path,
    /// Set to stop.
    pub stop: &'a AtomicBool,
}

/// Learns where places begin, then the head and the inner loop's numbers. Returns the mean query loss of each outer step, and
/// what the outer loop learned.
pub(super) fn learn_places(
    given: &Places,
    initialization: &mut Initialization<f32>,
) -> anyhow::Result<(Vec<f64>, Learned)> {
    let Places { body, config, features: places, ordinary, things, known, saved, stop } = *given;
    let index = places.index();
    let usable: Vec<usize> = (0..index.pictures.len()).filter(|&place| places.usable(place)).collect();
    let test: HashSet<&str> = config.test_scenes.iter().map(String::as_str).collect();
    let scenes: HashSet<&str> =
        index.pictures.iter().filter_map(|picture| picture.label.as_deref()).collect();
    if let Some(unknown) = config.test_scenes.iter().find(|scene| !scenes.contains(scene.as_str())) {
        anyhow::bail!("test_scenes: no picture has the scene `{unknown}`");
    }
    let allowed: Vec<usize> = usable
        .into_iter()
        .filter(|&place| index.pictures[place].label.as_deref().is_some_and(|scene| !test.contains(scene)))
        .collect();
    let gallery = Gallery::new(body, &initialization.head, body.encode_prepared(places, &allowed)?)?;
    let pool = Pool::new(allowed.iter().map(|&place| TaskPicture::from(&index.pictures[place])));
    let scenes: HashSet<&str> =
        pool.pictures().iter().filter_map(|picture| picture.scene.as_deref()).collect();
    let several = scenes.len().min(4);
    let sampler = |scenes, shots| {
        let options = TaskOptions {
            kind: Kind::NewDomain { scenes: number(scenes), shots: number(shots) },
            split: MetaSplit::Train,
            partition: Partition {
                subjects: "1,0,0".parse().map_err(anyhow::Error::msg)?,
                ..Partition::default()
            },
            seed: config.seed,
            known: known.clone(),
        };
        anyhow::Ok(Sampler::new(&pool, options)?)
    };
    let samplers = [sampler(1, 10)?, sampler(several, 5)?];
    let draw = |number: usize, initialization: &Initialization<f32>| {
        let task = samplers[usize::from(number % 3 == 2)].task(number);
        episode(body, &gallery, initialization, &task, &pool, known)
    };

    // Where a picture counts as inside is learned from the first episodes' queries and ordinary pictures.
    let (mut inside, mut outside, mut shown_inside) = (Vec::new(), Vec::new(), Vec::new());
    let pooled =
        |encodings: &Encodings, picture: usize| encodings.pooled(picture, initialization.references.width());
    let mut still = initialization.clone();
    still.schedule.steps = 0;
    for number in 0..PLACES {
        let episode = draw(number, &still)?;
        let familiarity = still.calibrate(&episode.support, episode.new_words.len()).familiarity;
        let queries: Vec<Array1<f32>> =
            episode.query.iter().map(|query| pooled(&gallery.encodings, query.picture)).collect();
        inside.extend(nearness(&still.references, &familiarity, &queries));
        shown_inside.push(episode.support);
        let others: Vec<Array1<f32>> = (0..ordinary.base.len())
            .skip(number)
            .step_by(PLACES)
            .map(|picture| pooled(&ordinary.encodings, picture))
            .collect();
        outside.extend(nearness(&still.references, &familiarity, &others));
    }
    anyhow::ensure!(!outside.is_empty(), "unseen: needed to tell places from ordinary pictures; name some");
    learn_place(&inside, &outside, &mut initialization.schedule.familiarity);
    let sets = Sets::new(given, shown_inside, &still)?;
    let mut sure = sets.teach(initialization);

    let kept = Kept::new(ordinary, body, things)?;
    let read = config.outer.body.then_some(Prepared { features: places, places: &allowed });
    let mut learned = Learned::new(
        &initialization.head,
        &initialization.schedule,
        config.outer.algorithm,
        config.outer.body.then(|| body.parameters()),
    )?;
    let mut losses = if saved.exists() { learned.load(saved)? } else { Vec::new() };
    let outer = config.outer;
    let bar = ProgressBar::new(outer.iterations as u64).with_style(crate::parallel::bar_style("outer steps"));
    bar.set_position(losses.len() as u64);
    for iteration in losses.len()..outer.iterations {
        if stop.load(Ordering::Relaxed) {
            learned.save(saved, &losses)?;
            anyhow::bail!("interrupted after {iteration} outer steps; the same command goes on from there");
        }
        (still.head, _) = learned.finish(&initialization.schedule)?;
        let mut rng = ChaCha8Rng::seed_from_u64(config.seed ^ (iteration as u64 + 1));
        let lessons = (0..outer.meta_batch)
            .map(|place| {
                let episode = draw(PLACES + iteration * outer.meta_batch + place, &still)?;
                lesson(body, &gallery, read, &still, &episode, &mut rng)
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let tokens = kept.some(config.outer.body, &mut rng)?;
        let rates = [outer.head_rate, outer.number_rate, outer.body_rate];
        let loss = learned.step(&lessons, &tokens, outer.algorithm, rates)?;
        losses.push(loss);
        bar.set_message(format!("{loss:.3}"));
        bar.inc(1);
        if (iteration + 1) % SAVED_EVERY == 0 {
            learned.save(saved, &losses)?;
            let recent = &losses[losses.len() - SAVED_EVERY..];
            bar.suspend(|| {
                eprintln!(
                    "outer step {:4}  query loss {:.4}",
                    iteration + 1,
                    recent.iter().sum::<f64>() / SAVED_EVERY as f64
                )
            });
        }
    }
    bar.finish_and_clear();
    if outer.iterations > 0 {
        (initialization.head, initialization.schedule) = learned.finish(&initialization.schedule)?;
        // What is said of places is less of a surprise to the head that learned from them.
        sure = sets.teach(initialization);
    }
    let [least, most] = sure;
    eprintln!(
        "a place of its own: of places {least:.2} sure at least, of ordinary pictures {most:.2} at most"
    );
    Ok((losses, learned))
}

/// Pictures of a prepared folder, by their places in a gallery.
#[derive(Clone, Copy)]
struct Prepared<'a> {
    features: &'a Features,
    places: &'a [usize],
}

impl Prepared<'_> {
    /// Tokens of captions, pairs of a picture and its words' ids, for a body that learns: those that `wanted` keeps, told the
    /// word that belongs there.
    fn read(
        self,
        body: &Body,
        captions: &[(usize, Vec<u32>)],
        wanted: impl Fn(u32) -> bool,
    ) -> anyhow::Result<Source> {
        let captions: Vec<(usize, Vec<u32>)> =
            captions.iter().map(|(picture, words)| (self.places[*picture], words.clone())).collect();
        let batch = body.batch(self.features, &captions)?;
        let places = batch.captions.places().into_iter().flatten();
        let places = places.filter(|&place| wanted(batch.captions.targets[place]));
        let places = places.map(|place| place as u32).collect();
        Ok(Source::Read { batch, places })
    }
}

/// Ordinary captions that are to stay as they are.
struct Kept<'a> {
    ordinary: &'a Gallery,
    body: &'a Body,
    prepared: Prepared<'a>,
    z: Array2<f32>,
}

impl<'a> Kept<'a> {
    fn new(
        ordinary: &'a Gallery,
        body: &'a Body,
        (features, places): (&'a Features, &'a [usize]),
    ) -> anyhow::Result<Self> {
        let z: Vec<ArrayView2<f32>> =
            ordinary.base.iter().flat_map(|said| &said.z).map(|z| z.view().insert_axis(Axis(0))).collect();
        let z = concatenate(Axis(0), &z)?;
        Ok(Self { ordinary, body, prepared: Prepared { features, places }, z })
    }

    /// What an outer step looks at: single tokens, or whole captions where a body has to read them.
    fn some(&self, read: bool, rng: &mut ChaCha8Rng) -> anyhow::Result<Source> {
        if !read {
            let tokens = sample(rng, self.z.nrows(), ORDINARY.min(self.z.nrows())).into_vec();
            return Ok(Source::Fixed(self.z.select(Axis(0), &tokens)));
        }
        let base = &self.ordinary.base;
        let mut tokens = 0;
        let captions: Vec<(usize, Vec<u32>)> = sample(rng, base.len(), base.len())
            .into_iter()
            .take_while(|&picture| {
                let some = tokens < ORDINARY;
                tokens += base[picture].z.len();
                some
            })
            .map(|picture| (picture, base[picture].words.clone()))
            .collect();
        self.prepared.read(self.body, &captions, |_| true)
    }
}

const SAVED_EVERY: usize = 25;
/// Episodes from which the place's slope and threshold are learned.
pub(super) const PLACES: usize = 12;

/// What the inner loop adapts to in an episode, which was calibrated without a step.
pub(super) fn support(
    initialization: &Initialization<f32>,
    episode: &Episode,
    familiarity: &Familiarity<f32>,
) -> anyhow::Result<Support> {
    let known = initialization.head.words();
    let captions = || episode.support.iter().flat_map(|shown| &shown.captions);
    let z: Vec<ArrayView2<f32>> = captions().map(|caption| caption.z.view()).collect();
    let targets: Vec<usize> = captions().flat_map(|caption| caption.targets.iter().copied()).collect();
    let weight = initialization.schedule.new_words.weight as f32;
    let weights: Array1<f32> =
        targets.iter().map(|&target| if target < known { 1.0 } else { weight }).collect();
    let total = weights.sum();
    let mixtures: Vec<_> =
        familiarity.words.iter().map(|word| word.mixture.view().insert_axis(Axis(0))).collect();
    let mixtures = match mixtures.as_slice() {
        [] => Array2::zeros((0, known)),
        rows => concatenate(Axis(0), rows)?,
    };
    Ok(Support { z: Source::Fixed(concatenate(Axis(0), &z)?), targets, weights: weights / total, mixtures })
}

fn lesson(
    body: &Body,
    gallery: &Gallery,
    read: Option<Prepared>,
    initialization: &Initialization<f32>,
    episode: &Episode,
    rng: &mut ChaCha8Rng,
) -> anyhow::Result<Lesson> {
    let calibrated = initialization.calibrate(&episode.support, episode.new_words.len());
    let chosen = sample(rng, episode.query.len(), PICTURES.min(episode.query.len())).into_vec();
    let asked: Vec<(usize, Vec<u32>)> = chosen
        .iter()
        .map(|&place| &episode.query[place])
        .flat_map(|query| {
            query
                .references
                .iter()
                .take(CAPTIONS)
                .map(move |text| (query.picture, body.ids(text, &episode.new_words)))
        })
        .collect();
    let (mut query, mut query_targets, mut recalled) = (Vec::new(), Vec::new(), Vec::new());
    for ((picture, _), taught) in asked.iter().zip(body.teach(&gallery.encodings, &asked)?) {
        let pooled = gallery.encodings.pooled(*picture, initialization.references.width());
        let cosines =
            calibrated.familiarity.support.dot(&initialization.references.direction(&pooled.view()));
        let cosines = vec![cosines.view(); taught.targets.len()];
        let memory = calibrated.memory.recall(&taught.z.view(), &cosines, initialization.schedule.memory);
        for (n, &target) in taught.targets.iter().enumerate() {
            if target != UNKNOWN as usize {
                query.push(taught.z.row(n).insert_axis(Axis(0)).to_owned());
                query_targets.push(target);
                let share =
                    calibrated.memory.words.iter().zip(memory.row(n)).filter(|(word, _)| **word == target);
                recalled.push(share.map(|(_, p)| p).sum::<f32>());
            }
        }
    }
    let query: Vec<ArrayView2<f32>> = query.iter().map(|row| row.view()).collect();
    let mut support = support(initialization, episode, &calibrated.familiarity)?;
    let mut query = Source::Fixed(concatenate(Axis(0), &query)?);
    if let Some(read) = read {
        query = read.read(body, &asked, |target| target != UNKNOWN)?;
        let words = |targets: &[usize]| {
            targets.iter().filter(|word| **word != END as usize).map(|&word| word as u32).collect()
        };
        let shown = episode.support.iter().zip(&episode.support_pictures);
        let captions: Vec<(usize, Vec<u32>)> = shown
            .flat_map(|(shown, &picture)| shown.captions.iter().map(move |c| (picture, words(&c.targets))))
            .collect();
        support.z = read.read(body, &captions, |_| true)?;
    }
    Ok(Lesson { support, query, query_targets, recalled: recalled.into() })
}
