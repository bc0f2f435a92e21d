//! The command line.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::builder::Builder;

/// Install a release on a device, and see it caption; or look after a device.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Option<Maintain>,
    /// The device: USER@HOST, or a name of ssh's configuration.
    #[arg(required_unless_present_any = ["root", "inventory"], conflicts_with_all = ["root", "inventory"])]
    pub target: Option<String>,
    /// A mounted card instead of a running device: it gets the same files, and starts with them.
    #[arg(long, value_name = "DIR", conflicts_with = "inventory")]
    pub root: Option<PathBuf>,
    /// Many devices: a TOML file, in which each `device` has name, host, port, identity and profile.
    #[arg(long, value_name = "FILE", conflicts_with = "profile")]
    pub inventory: Option<PathBuf>,
    /// Devices of an inventory at a time.
    #[arg(long, default_value_t = 3)]
    pub jobs: usize,
    #[command(flatten)]
    pub connection: Connection,
    #[command(flatten)]
    pub what: What,
}

/// How to reach a device.
#[derive(Args, Clone)]
pub struct Connection {
    /// Another port than ssh's own.
    #[arg(long)]
    pub port: Option<u16>,
    /// The private key.
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// Another configuration of ssh than the user's.
    #[arg(long, value_name = "FILE")]
    pub ssh_config: Option<PathBuf>,
}

/// What is deployed, and how.
#[derive(Args)]
pub struct What {
    /// The kind of device.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// What builds the program for the device.
    #[arg(long, value_enum, default_value_t = Builder::Auto)]
    pub builder: Builder,
    /// A built program, instead of building one.
    #[arg(long, value_name = "FILE")]
    pub binary: Option<PathBuf>,
    /// The bundle; the checkout's models/flickr8k-lite0 where not given.
    #[arg(long, value_name = "DIR")]
    pub bundle: Option<PathBuf>,
    /// Signs the release with a secret key of minisign's; from then on the device takes releases of that key only.
    #[arg(long, value_name = "FILE")]
    pub sign_key: Option<PathBuf>,
    /// Only print what would be copied.
    #[arg(long)]
    pub dry_run: bool,
    /// Seconds to the release's first caption.
    #[arg(long, value_name = "S", default_value_t = 90)]
    pub health_timeout: u64,
}

/// What is done with a device between deploys.
#[derive(Subcommand)]
pub enum Maintain {
    /// What runs there, and what could.
    Status {
        #[command(flatten)]
        on: On,
    },
    /// Let the release before the current one run again.
    Rollback {
        #[command(flatten)]
        on: On,
        /// Another release than the newest but the current one.
        #[arg(long, value_name = "RELEASE")]
        to: Option<String>,
        /// Seconds to the release's first caption.
        #[arg(long, value_name = "S", default_value_t = 90)]
        health_timeout: u64,
    },
    /// What the daemon wrote last.
    Logs {
        #[command(flatten)]
        on: On,
        /// How many lines.
        #[arg(long, default_value_t = 100)]
        lines: usize,
        /// Go on with the lines to come.
        #[arg(long)]
        follow: bool,
    },
    /// Remove everything that a deploy installed.
    Remove {
        #[command(flatten)]
        on: On,
        /// Calibrations and configuration as well.
        #[arg(long)]
        purge_state: bool,
    },
}

/// A running device.
#[derive(Args)]
pub struct On {
    /// The device: USER@HOST, or a name of ssh's configuration.
    pub target: String,
    #[command(flatten)]
    pub connection: Connection,
}
