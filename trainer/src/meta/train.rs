//! Meta-training: from a pre-trained bundle to one that adapts.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use metalens::adaptation::{Head, Initialization, References};
use metalens_models::{Familiarity, InnerLoop};

use super::Body;
use super::config::{EvidenceConfig, MetaConfig};
use super::episode::known_words;
use super::evidence::{Ground, Separation, learn_evidence};
use super::gallery::Gallery;
use super::outer::Learned;
use super::places::{Places, learn_places};
use super::references::{references, to_file};
use crate::corpus::Split;
use crate::features::Features;
use crate::tasks::{Kind, MetaSplit, Partition, Pool, Sampler, Shares, TaskOptions, TaskPicture};

/// What meta-training makes.
pub struct MetaTrained {
    /// The meta-learned head.
    pub head: Head<f32>,
    /// The numbers of the inner loop.
    pub schedule: InnerLoop,
    /// `adaptation.safetensors`.
    pub references: Vec<u8>,
    /// How well the evidence separates the concepts of meta-validation, where it was learned.
    pub separation: Option<[Separation; 2]>,
    /// Mean query loss of each outer step.
    pub losses: Vec<f64>,
    /// What the outer loop learned, with what a schedule cannot hold.
    pub outer: Option<Learned>,
}

/// The outer loop's state, in the run's folder.
const OUTER: &str = "outer.safetensors";

/// Runs all of it. The outer loop is saved in the folder `run` now and then and when `stop` is set, and goes on from there.
///
/// # Errors
/// When a folder cannot be read, there are too few pictures or scenes, or `stop` is set.
pub fn meta_train(
    body: &Body,
    config: &MetaConfig,
    run: &Path,
    stop: &AtomicBool,
) -> anyhow::Result<MetaTrained> {
    let head = Head::of_bundle(body.bundle())?;
    let things = Features::open(&config.things)?;
    let unseen = config.unseen()?;
    let index = things.index();
    let train: Vec<usize> = (0..index.pictures.len())
        .filter(|&place| index.pictures[place].split == Split::Train && things.usable(place))
        .collect();
    let is_unseen = |place: &usize| unseen.contains(index.pictures[*place].name.as_str());
    let (new, seen): (Vec<usize>, Vec<usize>) = train.iter().partition(|place| is_unseen(place));
    let encodings = body.encode_prepared(&things, &seen)?;
    let captions: Vec<Vec<String>> =
        seen.iter().map(|&place| index.pictures[place].captions.clone()).collect();
    let parts =
        references(body, &head, &encodings, &captions, config.ordinary, config.detectors, config.seed)?;
    drop(encodings);
    let file = to_file(&parts)?;
    let mut initialization = Initialization {
        end: body.bundle().manifest().special.end.index(),
        references: References::new(parts),
        schedule: config.start(body.bundle())?,
        head,
    };
    let vocabulary = body.vocabulary();
    let known = known_words(vocabulary);

    let mut separation = None;
    let ordinary = Gallery::new(body, &initialization.head, body.encode_prepared(&things, &new)?)?;
    if let Some(evidence) = config.evidence {
        anyhow::ensure!(!new.is_empty(), "unseen: names no picture of {}", config.things.display());
        let mut pool = Pool::new(new.iter().map(|&place| TaskPicture::from(&index.pictures[place])));
        pool.retain(|_, picture| !picture.captions.is_empty());
        let ground = Ground { body, gallery: &ordinary, pool: &pool, known: &known };
        let (settings, reached) = evidence_of(&ground, &initialization, evidence, config.seed)?;
        initialization.schedule.familiarity = settings;
        separation = Some(reached);
    }
    let (mut losses, mut outer) = (Vec::new(), None);
    if let Some(folder) = &config.places {
        let places = Features::open(folder)?;
        let (all, learned) = learn_places(
            &Places {
                body,
                config,
                features: &places,
                ordinary: &ordinary,
                things: (&things, &new),
                known: &known,
                saved: &run.join(OUTER),
                stop,
            },
            &mut initialization,
        )?;
        (losses, outer) = (all, Some(learned));
    }
    Ok(MetaTrained {
        head: initialization.head,
        schedule: initialization.schedule,
        references: file,
        separation,
        losses,
        outer,
    })
}

fn number(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).expect("the numbers of this file are positive")
}

fn evidence_of(
    ground: &Ground,
    initialization: &Initialization<f32>,
    config: EvidenceConfig,
    seed: u64,
) -> anyhow::Result<(Familiarity, [Separation; 2])> {
    let subjects: Shares = super::CONCEPTS.parse().map_err(anyhow::Error::msg)?;
    // Pictures are shared by both, concepts are not: what is learned are eight numbers, and the threshold depends on how
    // many pictures it is chosen on.
    let sampler = |split| {
        let pictures: Shares = match split {
            MetaSplit::Train => "1,0,0",
            MetaSplit::Validation => "0,1,0",
            MetaSplit::Test => "0,0,1",
        }
        .parse()
        .map_err(anyhow::Error::msg)?;
        let options = TaskOptions {
            kind: Kind::NewWord { shots: number(5) },
            split,
            partition: Partition { seed: config.split_seed, subjects, pictures, held_out: BTreeSet::new() },
            seed,
            known: ground.known.clone(),
        };
        anyhow::Ok(Sampler::new(ground.pool, options)?)
    };
    let training = sampler(MetaSplit::Train)?;
    let mut validation = vec![(sampler(MetaSplit::Validation)?, config.validation)];
    if config.training > 0 {
        return learn_evidence(ground, initialization, Some((&training, config.training)), &validation);
    }
    // Nothing else is learned on the concepts of meta-train.
    validation.push((training, config.validation));
    learn_evidence(ground, initialization, None, &validation)
}
