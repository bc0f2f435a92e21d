//! The steps of a deploy. Each leaves the device such that a power cut after it brings up the old release or the new one, and
//! such that the same deploy, started again, goes on from there.
//!
//! Look and check; put the release together beside the others; verify it there; give it its name; test it; mark it; switch;
//! restart; wait for its first caption; clear the mark; remove what is superfluous. `activate.rs` has the steps from the mark on.

use std::time::Duration;

use metalens_firmware_config::{GUARD, Profile, SYSUSERS, UDEV_RULES, UNIT, starter};

use super::activate::{Activation, Fallback, NotConfirmed};
use super::check::{Refusal, check_device, check_program, check_room};
use super::device::{Device, DeviceError, Mode, Services};
use super::files;
use super::layout::{self, Marker, ReleaseName, file};
use super::plan::{Plan, Way, superfluous};
use super::release::Release;

/// Releases that a device keeps, the running one included.
const KEEP: usize = 3;

/// Why a deploy did not end with the release running.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// The device cannot have this release.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The device did not do something before anything was switched.
    #[error(transparent)]
    Device(#[from] DeviceError),
    /// The release does not work there.
    #[error("{release}: its self-test failed on the device, nothing was switched: {message}")]
    Doctor {
        /// The release.
        release: ReleaseName,
        /// What it said.
        message: String,
    },
    /// It was switched to, and did not confirm.
    #[error(transparent)]
    NotConfirmed(#[from] NotConfirmed),
}

/// What a deploy did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Files that were copied.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Whether the daemon was started anew.
    pub restarted: bool,
}

/// A release on its way to a device.
pub struct Deploy<'a> {
    /// Where to.
    pub device: &'a dyn Device,
    /// What.
    pub release: &'a Release,
    /// For which kind of device.
    pub profile: &'a Profile,
    /// How long the release may take to its first caption.
    pub health_timeout: Duration,
    /// Seconds since 1970 on this computer.
    pub now: u64,
    /// Told of every step.
    pub say: &'a dyn Fn(&str),
}

/// What the device has before.
struct Before {
    current: Option<ReleaseName>,
    marker: Option<Marker>,
    releases: Vec<ReleaseName>,
}

impl Deploy<'_> {
    /// Looks and checks, and changes nothing.
    ///
    /// # Errors
    /// When the device cannot be reached, or cannot have this release.
    pub fn plan(&self) -> Result<Plan<'_>, DeployError> {
        let facts = self.device.facts()?;
        check_device(&facts, self.profile, self.now)?;
        check_program(&facts, self.profile, &self.release.program)?;
        self.check_key()?;
        let plan = Plan::of(self.release, &self.device.hashes(layout::RELEASES)?);
        check_room(&facts, plan.bytes())?;
        Ok(plan)
    }

    /// Deploys.
    ///
    /// # Errors
    /// When it did not work; the device then is as it was, or has its old release back, as the message says.
    pub fn run(&self) -> Result<Outcome, DeployError> {
        let plan = self.plan()?;
        let before = self.look()?;
        (self.say)(&format!("{}: {}", self.release.name, plan.summary()));
        self.stage(&plan)?;
        self.settle(&plan, &before)?;
        let mut outcome = Outcome { files: plan.copies().count(), bytes: plan.bytes(), restarted: false };
        let activation = self.activation(&before);
        match self.device.services() {
            None => {
                self.write_config()?;
                activation.switch_unmarked()?;
            }
            Some(services) => {
                if plan.installed && self.runs_already(&before, services, &activation)? {
                    (self.say)(&format!("{} runs already; nothing was restarted", self.release.name));
                } else {
                    self.test(services, &plan)?;
                    activation.install_guard()?;
                    activation.mark()?;
                    activation.run(services)?;
                    (self.say)(&format!("{} runs and captions", self.release.name));
                    outcome.restarted = true;
                }
            }
        }
        if let Err(error) = self.prune(&before) {
            // The release runs; what was left over goes with the next deploy.
            (self.say)(&format!("old releases were not removed: {error}"));
        }
        Ok(outcome)
    }

    fn check_key(&self) -> Result<(), DeployError> {
        let trusted = self.device.read(layout::TRUSTED_KEY)?;
        let trusted = trusted.map(|key| String::from_utf8_lossy(&key).into_owned());
        match (&trusted, &self.release.public_key) {
            (Some(_), None) => Err(Refusal::Unsigned.into()),
            (Some(theirs), Some(ours)) if key_of(theirs) != key_of(ours) => Err(Refusal::Key.into()),
            _ => Ok(()),
        }
    }

    fn look(&self) -> Result<Before, DeviceError> {
        Ok(Before {
            current: current(self.device)?,
            marker: marker(self.device)?,
            releases: releases(self.device)?,
        })
    }

    /// Puts the release together in a hidden folder. What an interrupted deploy left there is used.
    fn stage(&self, plan: &Plan<'_>) -> Result<(), DeviceError> {
        if plan.installed {
            return Ok(());
        }
        let incoming = self.release.name.incoming();
        let copied = self.fill(plan, &incoming);
        if let Err(DeviceError::Full { .. }) = copied {
            // What is there already would only keep the disk full.
            self.device.remove(&incoming)?;
        }
        copied
    }

    fn fill(&self, plan: &Plan<'_>, incoming: &str) -> Result<(), DeviceError> {
        self.device.create_folder(&format!("{incoming}/{}", file::BUNDLE))?;
        for path in &plan.strangers {
            self.device.remove(&format!("{incoming}/{path}"))?;
        }
        for (file, way) in &plan.ways {
            let to = format!("{incoming}/{}", file.path);
            match way {
                Way::There => {}
                Way::Reuse(from) => self.device.hard_link(from, &to)?,
                Way::Copy => self.device.send(&file.content, &to, file.mode)?,
            }
        }
        self.device.sync()
    }

    /// Verifies the release on the device and gives it its name.
    fn settle(&self, plan: &Plan<'_>, before: &Before) -> Result<(), DeviceError> {
        let (name, device) = (&self.release.name, self.device);
        if let Some(key) = &self.release.public_key
            && device.read(layout::TRUSTED_KEY)?.is_none()
        {
            files::replace(device, layout::TRUSTED_KEY, key.as_bytes(), Mode::Plain)?;
        }
        if plan.installed {
            return device.verify(&name.folder(), name.hash()).inspect_err(|_| {
                // The files' hashes are right, so the signature is wrong: the next deploy copies it again.
                let _ = device.remove(&format!("{}/{}", name.folder(), file::SIGNATURE));
            });
        }
        let incoming = name.incoming();
        let verified = device.verify(&incoming, name.hash());
        if let Err(DeviceError::Tampered { .. }) = verified {
            device.remove(&incoming)?;
        }
        verified?;
        if before.releases.contains(name) {
            (self.say)(&format!("{name} was damaged on the device; it is mended"));
            device.create_folder(&format!("{}/{}", name.folder(), file::BUNDLE))?;
            for file in &self.release.files {
                let path = &file.path;
                device.rename(&format!("{incoming}/{path}"), &format!("{}/{path}", name.folder()))?;
            }
            files::remove(device, &incoming)
        } else {
            device.rename(&incoming, &name.folder())?;
            device.sync()
        }
    }

    fn activation(&self, before: &Before) -> Activation<'_> {
        let name = &self.release.name;
        let marked = before.marker.as_ref().filter(|marker| Some(&marker.release) == before.current.as_ref());
        let confirmed = marked.and_then(|marker| marker.previous.clone());
        let confirmed = confirmed.filter(|previous| before.releases.contains(previous));
        let fallback = match (&before.current, marked) {
            (None, _) => Fallback::Nothing,
            (Some(current), None) if current == name => Fallback::Stay,
            // What runs was itself never confirmed: the one before it is the last good one.
            (Some(current), _) if current == name => confirmed.map_or(Fallback::Nothing, Fallback::Release),
            (Some(current), _) => Fallback::Release(confirmed.unwrap_or_else(|| current.clone())),
        };
        Activation {
            device: self.device,
            release: name.clone(),
            fallback,
            units: vec![
                (layout::RULES, UDEV_RULES.into()),
                (layout::SYSUSERS, SYSUSERS.into()),
                (layout::UNIT, UNIT.into()),
            ],
            guard: GUARD.into(),
            health_timeout: self.health_timeout,
            say: self.say,
        }
    }

    fn runs_already(
        &self,
        before: &Before,
        services: &dyn Services,
        activation: &Activation<'_>,
    ) -> Result<bool, DeviceError> {
        let settled = before.current.as_ref() == Some(&self.release.name) && before.marker.is_none();
        Ok(settled
            && activation.is_installed()?
            && services.health()?.is_some_and(|health| activation.confirms(&health)))
    }

    /// The release's own test; a first configuration is there before, because the test reads it.
    fn test(&self, services: &dyn Services, plan: &Plan<'_>) -> Result<(), DeployError> {
        self.write_config()?;
        let name = &self.release.name;
        match services.doctor(&name.folder()) {
            Ok(()) => Ok(()),
            Err(DeviceError::Failed { message, .. }) => {
                if !plan.installed && current(self.device)?.as_ref() != Some(name) {
                    set_aside(self.device, name)?;
                }
                Err(DeployError::Doctor { release: name.clone(), message })
            }
            Err(error) => Err(error.into()),
        }
    }

    fn write_config(&self) -> Result<(), DeviceError> {
        if self.device.read(layout::CONFIG)?.is_some() {
            return Ok(());
        }
        files::replace(self.device, layout::CONFIG, starter(self.profile).as_bytes(), Mode::Plain)
    }

    fn prune(&self, before: &Before) -> Result<(), DeviceError> {
        let names = self.device.names(layout::RELEASES)?;
        let releases: Vec<_> = names.iter().filter_map(|name| ReleaseName::parse(name)).collect();
        let in_use: Vec<_> =
            [Some(&self.release.name), before.current.as_ref()].into_iter().flatten().collect();
        let superfluous = superfluous(&releases, &in_use, KEEP);
        let left_over = names.iter().filter(|name| layout::is_incoming(name));
        let mut folders: Vec<_> = left_over.map(|name| format!("{}/{name}", layout::RELEASES)).collect();
        for name in superfluous {
            // A power cut must not leave half a release under a release's name.
            set_aside(self.device, &name)?;
            folders.push(name.incoming());
        }
        for folder in &folders {
            files::remove(self.device, folder)?;
        }
        Ok(())
    }
}

/// Takes a release's name away: a rollback does not choose it any more, and a next deploy of it finds its files.
pub fn set_aside(device: &dyn Device, release: &ReleaseName) -> Result<(), DeviceError> {
    device.remove(&release.incoming())?;
    device.rename(&release.folder(), &release.incoming())?;
    device.sync()
}

/// The release that a device is switched to.
pub fn current(device: &dyn Device) -> Result<Option<ReleaseName>, DeviceError> {
    Ok(device.read_link(layout::CURRENT)?.as_deref().and_then(ReleaseName::of_link))
}

/// The release that waits for its confirmation.
pub fn marker(device: &dyn Device) -> Result<Option<Marker>, DeviceError> {
    let text = device.read(layout::MARKER)?;
    Ok(text.and_then(|text| Marker::parse(&String::from_utf8_lossy(&text))))
}

/// The releases on a device, newest first.
pub fn releases(device: &dyn Device) -> Result<Vec<ReleaseName>, DeviceError> {
    Ok(device.names(layout::RELEASES)?.iter().filter_map(|name| ReleaseName::parse(name)).collect())
}

fn key_of(file: &str) -> &str {
    super::sign::key_line(file)
}
