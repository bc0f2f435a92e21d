//! `cargo xtask deploy`: a captioning device in one command, which survives power cuts, bad releases and bad networks.
//!
//! A release is a folder below `/opt/metalens/releases` that never changes once it has its name; `current` is a link to the one
//! that runs. `machine.rs` has the steps, `layout.rs` the paths, `device.rs` the trait behind which every device stands.

mod activate;
mod arguments;
pub mod builder;
mod check;
pub mod device;
mod elf;
mod files;
mod inventory;
pub mod layout;
pub mod machine;
mod maintain;
mod plan;
pub mod release;
mod root;
mod sign;
pub mod ssh;
#[cfg(test)]
mod tests;
mod verify;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use metalens_firmware_config::Profile;

pub use self::arguments::Arguments;
use self::arguments::{Maintain, What};
use self::check::check_device;
use self::device::Device;
use self::machine::Deploy;
use self::maintain::State;
use self::release::{Parts, Release};
use self::root::Root;
use self::sign::SigningKey;
use self::ssh::{Options, Ssh, Target};
use crate::run::{absolute, root as checkout};

/// Runs the command.
pub fn deploy(arguments: Arguments) -> anyhow::Result<()> {
    let options = Options::new(arguments.connection.ssh_config.clone());
    if let Some(command) = arguments.command {
        return maintain(command);
    }
    let workshop = Workshop::new(&arguments.what)?;
    let profile = || {
        let name = arguments.what.profile.as_deref().context("--profile NAME is missing")?;
        named(name)
    };
    let say = |line: &str| println!("{line}");
    if let Some(folder) = &arguments.root {
        let device = Root::at(folder)?;
        let profile = profile()?;
        let binary = workshop.binary(&device, &profile)?;
        return workshop.deploy(&device, &profile, &binary, &say).map(|_| ());
    }
    if let Some(path) = &arguments.inventory {
        return workshop.deploy_all(path, arguments.jobs, &options);
    }
    let host = arguments.target.context("whom to deploy to is missing: USER@HOST, --root or --inventory")?;
    let connection = arguments.connection;
    let target = Target { host, port: connection.port, identity: connection.identity };
    let profile = profile()?;
    let device = Ssh::connect(&target, &options)?;
    let binary = workshop.binary(&device, &profile)?;
    workshop.deploy(&device, &profile, &binary, &say).map(|_| ())
}

fn named(profile: &str) -> anyhow::Result<Profile> {
    Profile::named(profile).with_context(|| {
        let names = Profile::all().map(|profile| profile.name).collect::<Vec<_>>().join(", ");
        format!("{profile}: no such profile; there are: {names}")
    })
}

fn maintain(command: Maintain) -> anyhow::Result<()> {
    let (Maintain::Status { on }
    | Maintain::Rollback { on, .. }
    | Maintain::Logs { on, .. }
    | Maintain::Remove { on, .. }) = &command;
    let options = Options::new(on.connection.ssh_config.clone());
    let connection = on.connection.clone();
    let target = Target { host: on.target.clone(), port: connection.port, identity: connection.identity };
    let device = Ssh::connect(&target, &options)?;
    anyhow::ensure!(
        device.facts()?.privilege != device::Privilege::User,
        "{}: {}",
        target.host,
        check::Refusal::NoSudo
    );
    match command {
        Maintain::Status { .. } => print!("{}", maintain::status(&device)?),
        Maintain::Rollback { to, health_timeout, .. } => {
            let timeout = Duration::from_secs(health_timeout);
            let name = maintain::rollback(&device, to.as_deref(), timeout, &|line| println!("{line}"))?;
            println!("{name} runs");
        }
        Maintain::Logs { lines, follow, .. } => device.print_journal(lines, follow)?,
        Maintain::Remove { purge_state, .. } => {
            let state = if purge_state { State::Purge } else { State::Keep };
            maintain::remove(&device, state)?;
            match state {
                State::Keep => println!("removed; {} and {} stay", layout::STATE, layout::CONFIG),
                State::Purge => println!("removed, with everything that the device learned"),
            }
        }
    }
    Ok(())
}

/// What releases are made of here.
struct Workshop<'a> {
    what: &'a What,
    bundle: PathBuf,
    key: Option<SigningKey>,
    now: u64,
}

impl<'a> Workshop<'a> {
    fn new(what: &'a What) -> anyhow::Result<Self> {
        let bundle = what.bundle.clone().unwrap_or_else(|| checkout().join("models/flickr8k-lite0"));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let key = what.sign_key.as_deref().map(SigningKey::read).transpose()?;
        Ok(Self { what, bundle: absolute(bundle)?, key, now: now.as_secs() })
    }

    /// The program for a device: the one that is given, or one that is built once the device is known to take any.
    fn binary(&self, device: &dyn Device, profile: &Profile) -> anyhow::Result<PathBuf> {
        let facts = device.facts()?;
        check_device(&facts, profile, self.now)?;
        if let Some(binary) = &self.what.binary {
            return absolute(binary.clone());
        }
        let machine = facts.machine.map(|machine| format!("{machine}-unknown-linux-gnu"));
        let triple = profile.triple.clone().or(machine);
        let triple = triple
            .context("the card does not tell its processor; choose another --profile, or give --binary")?;
        builder::build(self.what.builder, &triple)
    }

    fn release(&self, profile: &Profile, binary: &Path) -> anyhow::Result<Release> {
        let (bundle, key) = (self.bundle.as_path(), self.key.as_ref());
        Release::of(&Parts { version: env!("CARGO_PKG_VERSION"), binary, bundle, profile, key })
    }

    /// Deploys, and says in a line what was done.
    fn deploy(
        &self,
        device: &dyn Device,
        profile: &Profile,
        binary: &Path,
        say: &dyn Fn(&str),
    ) -> anyhow::Result<String> {
        let release = self.release(profile, binary)?;
        let health_timeout = Duration::from_secs(self.what.health_timeout);
        let deploy = Deploy { device, release: &release, profile, health_timeout, now: self.now, say };
        if self.what.dry_run {
            let plan = deploy.plan()?;
            say(plan.to_string().trim_end());
            return Ok(format!("{} {}", release.name, plan.summary()));
        }
        let outcome = deploy.run()?;
        let started = if outcome.restarted { "started" } else { "nothing restarted" };
        let done =
            format!("{}: {} files, {} bytes copied, {started}", release.name, outcome.files, outcome.bytes);
        say(&done);
        Ok(done)
    }

    fn deploy_all(&self, path: &Path, jobs: usize, options: &Options) -> anyhow::Result<()> {
        let devices = inventory::read(path)?;
        // Wrong names are told before anything is built.
        let profiles = devices.iter().map(|device| named(&device.profile)).collect::<Result<Vec<_>, _>>()?;
        let builds = std::sync::Mutex::new(BTreeMap::<Option<String>, PathBuf>::new());
        let numbered: Vec<_> = devices.iter().zip(&profiles).collect();
        let results = inventory::run(&numbered, jobs, |(entry, profile)| {
            let say = |line: &str| println!("{}: {line}", entry.name);
            let attempt = || -> anyhow::Result<String> {
                let device = Ssh::connect(&entry.target(), options)?;
                let binary = {
                    // One build at a time, and one a target.
                    let mut builds = builds.lock().map_err(|_| anyhow::anyhow!("another build panicked"))?;
                    let key = profile.triple.clone().or(device.facts()?.machine);
                    match builds.get(&key) {
                        Some(binary) => binary.clone(),
                        None => {
                            let binary = self.binary(&device, profile)?;
                            builds.insert(key, binary.clone());
                            binary
                        }
                    }
                };
                self.deploy(&device, profile, &binary, &say)
            };
            attempt().map_err(|error| {
                let text = format!("{error:#}");
                say(&text);
                text.lines().next().unwrap_or_default().to_owned()
            })
        });
        print!("\n{}", inventory::table(&devices, &results));
        let failed = results.iter().filter(|result| result.is_err()).count();
        anyhow::ensure!(failed == 0, "{failed} of {} devices failed", results.len());
        Ok(())
    }
}
