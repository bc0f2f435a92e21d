//! What is done with a device between deploys.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Context;
use metalens_firmware_config::GUARD;

use super::activate::{Activation, Fallback};
use super::device::{Action, Device, Services};
use super::files;
use super::layout::{self, ReleaseName};
use super::machine::{current, marker, releases};

/// What runs on a device, and what it could run.
pub fn status(device: &dyn Device) -> anyhow::Result<String> {
    let (current, marker) = (current(device)?, marker(device)?);
    let mut text = String::new();
    let facts = device.facts()?;
    let unknown = || "?".to_owned();
    let free = facts.free_bytes.map_or_else(unknown, |bytes| (bytes >> 20).to_string());
    let board = facts.model.or(facts.machine).unwrap_or_else(unknown);
    writeln!(text, "device     {board}, {free} MiB free")?;
    for name in releases(device)? {
        let state = match (&current, &marker) {
            (Some(running), Some(marker)) if *running == name && marker.release == name => {
                format!("current, not confirmed, started {} times", marker.starts)
            }
            (Some(running), _) if *running == name => "current".to_owned(),
            _ => String::new(),
        };
        writeln!(text, "release    {name}  {state}")?;
    }
    if current.is_none() {
        writeln!(text, "release    none; `cargo xtask deploy` installs one")?;
    }
    if let Some(services) = device.services() {
        match services.health()? {
            None => writeln!(text, "daemon     does not answer; `cargo xtask deploy logs` tells more")?,
            Some(health) => {
                let release = health.release.unwrap_or_else(|| "no release".into());
                let (status, captions) = (health.status, health.captions);
                writeln!(text, "daemon     {status}, {captions} captions, from {release}")?;
            }
        }
    }
    Ok(text)
}

/// Lets another release of the device run: `to`, or the newest but the current one. As in a deploy, the current one comes back
/// where that does not confirm.
pub fn rollback(
    device: &dyn Device,
    to: Option<&str>,
    health_timeout: Duration,
    say: &dyn Fn(&str),
) -> anyhow::Result<ReleaseName> {
    let services = device.services().context("a card has nothing that runs; deploy to it again")?;
    let from = current(device)?.context("no release is installed; `cargo xtask deploy` installs one")?;
    let others: Vec<_> = releases(device)?.into_iter().filter(|name| *name != from).collect();
    let to = match to {
        None => others.first().with_context(|| format!("{from} is the only release there"))?,
        Some(to) => others.iter().find(|name| name.to_string() == to).with_context(|| {
            let known = others.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            format!("{to}: no other release of that name is there; there are: {known}")
        })?,
    };
    device.verify(&to.folder(), to.hash())?;
    let activation = Activation {
        device,
        release: to.clone(),
        fallback: Fallback::Release(from),
        units: Vec::new(),
        guard: GUARD.into(),
        health_timeout,
        say,
    };
    activation.install_guard()?;
    activation.mark()?;
    activation.run(services)?;
    Ok(to.clone())
}

/// Whether what a device learned goes with the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Calibrations and configuration stay for the next deploy.
    Keep,
    /// They go.
    Purge,
}

/// Removes everything that a deploy installed. What starts the daemon goes first, so that a cut leaves nothing half there
/// that starts.
pub fn remove(device: &dyn Device, state: State) -> anyhow::Result<()> {
    let control = |services: &dyn Services, action| services.control(action);
    let services = device.services();
    // A device on which a removal was cut has no unit to stop any more.
    if let Some(services) = services
        && device.read(layout::UNIT)?.is_some()
    {
        control(services, Action::Stop)?;
    }
    for path in [layout::WANTED, layout::UNIT, layout::RULES, layout::SYSUSERS, layout::CURRENT, layout::HOME]
    {
        files::remove(device, path)?;
    }
    if state == State::Purge {
        for path in [layout::STATE, layout::LOGS, files::split(layout::CONFIG).0] {
            files::remove(device, path)?;
        }
    }
    services.map_or(Ok(()), |services| control(services, Action::Reload))?;
    Ok(())
}
