//! `metalens config`.

use std::path::PathBuf;

use clap::Subcommand;
use metalens_firmware_config::{Config, schema};

use super::{Outcome, say};

#[derive(Subcommand)]
pub(super) enum Command {
    /// List everything that is wrong with a configuration, each with its line.
    Check {
        /// The configuration's file.
        file: PathBuf,
    },
    /// Print the JSON schema of configurations, for editors.
    Schema,
}

pub(super) fn run(command: &Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Check { file } => {
            let config = Config::read(file)?;
            say(format_args!("{}: good; captions {}", file.display(), config.source))?;
        }
        Command::Schema => say(schema())?,
    }
    Ok(Outcome::Done)
}
