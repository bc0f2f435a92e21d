//! `metalens-trainer prepare`.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use metalens::cli::say;
use metalens_models::DetectorShape;
use metalens_trainer::corpus::{self, Format};
use metalens_trainer::encoder;
use metalens_trainer::features::{self, DetectorFile, PrepareOptions, Prepared};

/// Caches what the trunk makes of every picture of a corpus; interrupted, the same command goes on.
#[derive(clap::Args)]
pub struct Arguments {
    /// The corpus.
    #[arg(long)]
    data: PathBuf,
    /// How the corpus is written: flickr, karpathy, coco or tsv.
    #[arg(long)]
    format: Format,
    /// The trunk that `import-encoder` wrote.
    #[arg(long, default_value = "data/trunk.onnx")]
    trunk: PathBuf,
    /// How many blocks the trunk has, where it is a part that `import-encoder --blocks` wrote.
    #[arg(long, value_name = "N", value_parser = encoder::some_blocks)]
    blocks: Option<usize>,
    /// A detector whose scores of each picture are kept too, such as yolox_nano.onnx: YOLOX with 416x416 pixels and COCO's eighty
    /// things.
    #[arg(long, value_name = "FILE")]
    detector: Option<PathBuf>,
    /// The folder to fill.
    #[arg(long)]
    out: PathBuf,
    /// Keep features of the mirrored pictures too.
    #[arg(long)]
    mirrored: bool,
    /// Keep features of so many crops of each picture too, in other light, every second one mirrored; 64 at most.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "mirrored", value_parser = crops)]
    crops: usize,
    /// Pictures worked on at a time; all cores where not given.
    #[arg(long, value_parser = super::threads)]
    threads: Option<usize>,
    /// Fail when a picture is missing or cannot be used, instead of going on without it.
    #[arg(long)]
    strict: bool,
}

/// A number of crops.
fn crops(text: &str) -> Result<usize, String> {
    super::up_to(text, 0, 64)
}

/// Unusable pictures that are printed one by one; all stand in the folder's pictures.json.
const SHOWN: usize = 20;

/// Prints the first few warnings, and how many more there are.
fn warn<T: Display>(warnings: impl ExactSizeIterator<Item = T>, all: &Path) {
    let more = warnings.len().saturating_sub(SHOWN);
    for warning in warnings.take(SHOWN) {
        eprintln!("warning: {warning}");
    }
    if more > 0 {
        eprintln!("warning: and {more} more; {} lists all", all.display());
    }
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let corpus = corpus::read(&arguments.data, arguments.format)?;
    print!("{}", corpus.summary());
    let list = arguments.out.join("pictures.json");
    warn(corpus.problems.iter(), &list);
    if arguments.strict {
        corpus.require_clean()?;
    }
    let stop = super::stop_on_ctrl_c()?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let options = PrepareOptions {
        trunk: arguments.trunk.clone(),
        shape: encoder::lite0(arguments.blocks),
        detector: arguments
            .detector
            .clone()
            .map(|path| DetectorFile { path, shape: DetectorShape::yolox_nano() }),
        out: arguments.out.clone(),
        mirrored: arguments.mirrored,
        crops: arguments.crops,
        threads: arguments.threads.unwrap_or(cores),
    };
    match features::prepare(&corpus, &options, &stop)? {
        Prepared::Interrupted { pending } => {
            anyhow::bail!("interrupted with {pending} pictures to do; run the same command to go on");
        }
        Prepared::Finished { usable, rejected } => {
            warn(rejected.iter().map(|picture| format!("{}: {}", picture.name, picture.reason)), &list);
            say(format_args!(
                "{}: {usable} pictures prepared, {} rejected",
                arguments.out.display(),
                rejected.len()
            ))?;
            anyhow::ensure!(usable > 0, "{}: no picture could be used", arguments.data.display());
            anyhow::ensure!(
                !arguments.strict || rejected.is_empty(),
                "{} pictures were rejected, and --strict was given",
                rejected.len()
            );
        }
    }
    Ok(())
}
