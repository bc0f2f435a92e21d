//! `metalens-trainer pretrain`.

use std::path::PathBuf;

use metalens::cli::say;
use metalens_trainer::pretrain::config::Config;
use metalens_trainer::pretrain::{self, Outcome, Start};

/// Trains projection, decoder and head on prepared features, by cross-entropy or by self-critical rewards; and the last blocks of
/// the trunk, where the features are those of its first blocks.
#[derive(clap::Args)]
pub struct Arguments {
    /// The configuration, a TOML file; with --resume the run's own is used.
    #[arg(long, required_unless_present = "resume", conflicts_with = "resume")]
    config: Option<PathBuf>,
    /// Put another value in the place of the configuration's, such as schedule.epochs=3; may be given several times.
    #[arg(long, value_name = "KEY=VALUE", conflicts_with = "resume")]
    set: Vec<String>,
    /// The folder for checkpoints and curves.
    #[arg(long)]
    run: PathBuf,
    /// Go on where the run in the folder stopped.
    #[arg(long)]
    resume: bool,
}

pub fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let own = arguments.run.join("run.toml");
    let (path, start) = match &arguments.config {
        Some(path) => (path, Start::Anew),
        None => (&own, Start::Resume),
    };
    let config = Config::read_with(path, &arguments.set)?;
    let stop = super::stop_on_ctrl_c()?;
    let folder = arguments.run.display();
    match pretrain::run(&config, &arguments.run, start, &stop)? {
        Outcome::Finished => say(format_args!("{folder}: done")),
        Outcome::Interrupted => {
            anyhow::bail!("interrupted; go on with `metalens-trainer pretrain --run {folder} --resume`")
        }
    }
}
