//! Meta-training: from a pre-trained bundle to one that adapts.

use std::collections::{BTreeSet, HashSet};
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use metalens::adaptation::{Head, Initialization, References};
use metalens_models::Familiarity;

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
    /// The meta-learned head, the numbers of the inner loop, and the references.
    pub initialization: Initialization<f32>,
    /// The references as `adaptation.safetensors`.
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

/// A pre-trained body, with what every meta-training of it starts from.
pub struct MetaTrainer<'a> {
    body: &'a Body,
    head: Head<f32>,
    references: References<f32>,
    /// The references as `adaptation.safetensors`.
    file: Vec<u8>,
    things: Features,
    /// Places in `things` of the pictures that the body never saw.
    new: Vec<usize>,
    /// Those pictures.
    ordinary: Gallery,
    known: HashSet<String>,
}

impl<'a> MetaTrainer<'a> {
    /// Trains the detectors, and looks at the ordinary pictures.
    ///
    /// # Errors
    /// When a folder cannot be read or there are too few pictures.
    pub fn new(body: &'a Body, config: &MetaConfig) -> anyhow::Result<Self> {
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
        let ordinary = Gallery::new(body, &head, body.encode_prepared(&things, &new)?)?;
        let known = known_words(body.vocabulary());
        Ok(Self { body, head, references: References::new(parts), file, things, new, ordinary, known })
    }

    /// What it starts from: the pre-trained head and the configuration's numbers.
    ///
    /// # Errors
    /// When neither the configuration nor the bundle has the numbers.
    pub fn start(&self, config: &MetaConfig) -> anyhow::Result<Initialization<f32>> {
        let bundle = self.body.bundle();
        Ok(Initialization {
            end: bundle.manifest().special.end.index(),
            references: self.references.clone(),
            schedule: config.start(bundle)?,
            head: self.head.clone(),
        })
    }

    /// Learns what `config` asks for. The outer loop is saved in the folder `run` now and then and when `stop` is set, and goes
    /// on from there.
    ///
    /// # Errors
    /// When a folder cannot be read, there are too few pictures or scenes, or `stop` is set.
    pub fn run(&self, config: &MetaConfig, run: &Path, stop: &AtomicBool) -> anyhow::Result<MetaTrained> {
        let Self { body, things, new, ordinary, known, .. } = self;
        let mut initialization = self.start(config)?;
        let mut separation = None;
        if let Some(evidence) = config.evidence {
            anyhow::ensure!(!new.is_empty(), "unseen: names no picture of {}", config.things.display());
            let index = things.index();
            let mut pool = Pool::new(new.iter().map(|&place| TaskPicture::from(&index.pictures[place])));
            pool.retain(|_, picture| !picture.captions.is_empty());
            let ground = Ground { body, gallery: ordinary, pool: &pool, known };
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
                    ordinary,
                    things: (things, new),
                    known,
                    saved: &run.join(OUTER),
                    stop,
                },
                &mut initialization,
            )?;
            (losses, outer) = (all, Some(learned));
        }
        Ok(MetaTrained { initialization, references: self.file.clone(), separation, losses, outer })
    }
}

/// Runs all of it: [`MetaTrainer::run`] of a new [`MetaTrainer`].
///
/// # Errors
/// As these.
pub fn meta_train(
    body: &Body,
    config: &MetaConfig,
    run: &Path,
    stop: &AtomicBool,
) -> anyhow::Result<MetaTrained> {
    MetaTrainer::new(body, config)?.run(config, run, stop)
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
