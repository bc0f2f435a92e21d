//! `metalens-trainer export`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use metalens::cli::say;
use metalens_models::{Decoding, DetectorShape, hexadecimal};
use metalens_trainer::evidence;
use metalens_trainer::export::{self, EvidenceParts, MAX_SLOTS, Parts};
use metalens_trainer::features::{Features, Index};
use metalens_trainer::onnx::Precision;
use metalens_trainer::pretrain::RunFolder;
use metalens_trainer::pretrain::config::Config;
use sha2::{Digest, Sha256};

/// Writes the bundle of a training run: its ONNX graphs, vocabulary, what evidence needs, and manifest.
#[derive(clap::Args)]
pub struct Arguments {
    /// The folder that `pretrain` wrote.
    #[arg(long)]
    run: PathBuf,
    /// Checkpoints of the run to average; the best one where not given.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    checkpoints: Vec<PathBuf>,
    /// The bundle's folder, which must not exist yet.
    #[arg(long)]
    out: PathBuf,
    /// The picture of the self-test, a JPEG.
    #[arg(long)]
    golden: PathBuf,
    /// The detector that the bundle carries, where the run learned with one: the file that `prepare --detector` was given.
    #[arg(long, value_name = "FILE")]
    detector: Option<PathBuf>,
    /// Choose anew what becomes a concept, such as concepts.classes=false or concepts.settings.required=0.9; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// New words that the bundle can take.
    #[arg(long, default_value_t = 256, value_parser = slots)]
    slots: usize,
    /// How large weights are stored.
    #[arg(long, value_enum, default_value_t = Precision::F16)]
    precision: Precision,
}

fn slots(text: &str) -> Result<usize, String> {
    super::up_to(text, 1, MAX_SLOTS)
}

/// What every JPEG begins with.
const JPEG: [u8; 3] = [0xff, 0xd8, 0xff];

/// Hypotheses and length normalisation of the bundle's own search.
const BEAM: usize = 3;
const LENGTH_NORMALISATION: f32 = 0.7;

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let golden = arguments.golden.display();
    let picture = std::fs::read(&arguments.golden).with_context(|| golden.to_string())?;
    anyhow::ensure!(picture.starts_with(&JPEG), "{golden}: the picture of the self-test needs to be a JPEG");
    let own = arguments.run.join("run.toml");
    let (learned, config) = (Config::read(&own)?, Config::read_with(&own, &arguments.set)?);
    anyhow::ensure!(
        config.is_but_for_evidence(&learned),
        "--set: what {} says was learned with; captions, classes, things and settings of [concepts] can be chosen anew",
        own.display()
    );
    let features = Features::open(&config.data)?;
    let folder = RunFolder(arguments.run.clone());
    folder.require_trunk(features.index())?;
    let vocabulary = folder.words()?;
    let checkpoints = match arguments.checkpoints.as_slice() {
        [] => vec![arguments.run.join("best.safetensors")],
        some => some.iter().map(|file| arguments.run.join(file)).collect(),
    };
    let parameters = export::average(&checkpoints)?;
    let (trunk, shape) = export::trunk(&features, &parameters, arguments.precision)?;
    let name =
        arguments.out.file_name().and_then(|name| name.to_str()).context("--out: not a folder's name")?;
    let names: Vec<_> = checkpoints.iter().filter_map(|path| path.file_name()?.to_str()).collect();
    let index = features.index();
    let detector = arguments.detector.as_deref().map(|path| read_detector(path, index)).transpose()?;
    let detector = detector.filter(|_| config.concepts.as_ref().is_none_or(|asked| asked.things));
    let evidence = match &config.concepts {
        None => None,
        Some(asked) => {
            if asked.things && index.things > 0 && detector.is_none() {
                eprintln!("warning: the run learned with a detector; without --detector the bundle has none");
            }
            let evidence = folder.evidence(index.pictures.len() * index.views)?;
            let captions: &[u32] = if asked.captions { &evidence.words } else { &[] };
            let classes = if asked.classes { index.classes } else { 0 };
            let sources = evidence::sources(&vocabulary, captions, classes > 0, detector.is_some());
            Some(EvidenceParts::of_run(&evidence, asked, sources, classes)?)
        }
    };
    anyhow::ensure!(
        detector.is_none() || evidence.is_some(),
        "--detector: the run learned without concepts, and could not say what a detector finds"
    );
    let shape_of_detector = DetectorShape::yolox_nano();
    let parts = Parts {
        name,
        trunk: &trunk,
        shape: &shape,
        parameters: &parameters,
        vocabulary: &vocabulary,
        evidence,
        detector: detector.as_deref().map(|file| (file, &shape_of_detector)),
        slots: arguments.slots,
        precision: arguments.precision,
        decoding: Decoding {
            beam: BEAM,
            length_normalisation: LENGTH_NORMALISATION,
            max_words: config.vocabulary.max_words,
        },
        golden: &picture,
        training: serde_json::json!({
            "stages": stages(&learned)?,
            "set": arguments.set,
            "checkpoints": names,
            "pictures": index.pictures.len(),
        }),
    };
    let manifest = export::write(&parts, &arguments.out)?;
    say(format_args!("{}: bundle {}", arguments.out.display(), manifest.id))?;
    for (name, entry) in &manifest.files {
        say(format_args!("{:>10} {name}", entry.bytes))?;
    }
    say(format_args!("says of {golden}: {:?}", manifest.golden.caption))?;
    Ok(())
}

/// Reads the detector, which has to be the one that looked at the pictures of the prepared folder.
fn read_detector(path: &Path, index: &Index) -> anyhow::Result<Vec<u8>> {
    let bytes = std::fs::read(path).with_context(|| format!("--detector {}", path.display()))?;
    anyhow::ensure!(
        index.detector_sha256.as_deref() == Some(hexadecimal(&Sha256::digest(&bytes)).as_str()),
        "--detector {}: not the file that `prepare --detector` was given; give that one",
        path.display()
    );
    Ok(bytes)
}

/// The run's configuration, after those of the runs that it started from; paths mean nothing elsewhere.
fn stages(config: &Config) -> anyhow::Result<Vec<serde_json::Value>> {
    // Of several runs that it started from the last, which comes of the others.
    let mut stages = match config.initial.last().and_then(|path| path.parent()) {
        Some(folder) => stages(&Config::read(&folder.join("run.toml"))?)?,
        None => Vec::new(),
    };
    let texts = config.texts.iter().filter_map(|path| path.file_name()).map(PathBuf::from).collect();
    let mut config = Config { data: PathBuf::new(), initial: Vec::new(), texts, ..config.clone() };
    if let Some(distillation) = &mut config.distillation {
        distillation.teachers.clear();
    }
    if let Some(trunk) = &mut config.trunk {
        trunk.checkpoint = None;
    }
    stages.push(serde_json::to_value(config)?);
    Ok(stages)
}
