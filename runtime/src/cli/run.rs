//! `metalens run`.

use std::path::PathBuf;

use metalens_firmware_config::Config;
use tracing_subscriber::filter::LevelFilter;

use super::{BundleArgument, Outcome};
use crate::daemon;

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The configuration's file; `source` and `state` are all that it needs.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Least severity of what is told on standard error: error, warn, info, debug or trace.
    #[arg(long, env = "METALENS_LOG", default_value = "info", value_name = "LEVEL")]
    log: LevelFilter,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    tracing_subscriber::fmt()
        .with_max_level(arguments.log)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(false)
        // The service manager's journal has the time.
        .without_time()
        .init();
    let config = Config::read(&arguments.config)?;
    let bundle = BundleArgument::or_environment(config.bundle.clone()).folder()?;
    daemon::run(&arguments.config, config, &bundle)?;
    Ok(Outcome::Done)
}
