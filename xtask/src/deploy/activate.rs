//! From the mark to the first caption: lets another release run, and takes it back when it does not confirm.

use std::time::Duration;

use super::device::{Action, Device, DeviceError, Health, Mode, Services};
use super::files;
use super::layout::{self, Marker, ReleaseName};
use super::machine::{current, set_aside};

/// Between two questions for the daemon's health.
const POLL: Duration = Duration::from_secs(1);
/// Lines of the journal that are told of a failure.
const JOURNAL_LINES: usize = 20;

/// What runs where the release does not confirm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// The release that ran before.
    Release(ReleaseName),
    /// There was none: nothing runs.
    Nothing,
    /// It was in use before this deploy: it stays.
    Stay,
}

/// A release was switched to and did not confirm.
#[derive(Debug, thiserror::Error)]
#[error("{release}: {reason}; {after}; the device's last lines:\n{journal}")]
pub struct NotConfirmed {
    /// The release.
    pub release: ReleaseName,
    /// What was seen instead of a caption.
    pub reason: String,
    /// What runs now.
    pub after: String,
    /// The daemon's last lines.
    pub journal: String,
}

/// A release that is to run.
pub struct Activation<'a> {
    /// Where.
    pub device: &'a dyn Device,
    /// Which; it is on the device.
    pub release: ReleaseName,
    /// What runs otherwise.
    pub fallback: Fallback,
    /// Files of the system that belong to it. They must serve the release before it as well: when the guard switches back,
    /// they stay.
    pub units: Vec<(&'static str, Vec<u8>)>,
    /// The guard.
    pub guard: Vec<u8>,
    /// How long it may take to its first caption.
    pub health_timeout: Duration,
    /// Told of every step.
    pub say: &'a dyn Fn(&str),
}

/// Files as they were before: path and content, none where there was no file.
type Replaced = Vec<(&'static str, Option<Vec<u8>>)>;

impl Activation<'_> {
    /// Whether the daemon is this release and has captioned.
    pub fn confirms(&self, health: &Health) -> bool {
        confirms(&self.release, health)
    }

    /// Whether the files of the system are as they should be.
    pub fn is_installed(&self) -> Result<bool, DeviceError> {
        for (path, data) in &self.units {
            if self.device.read(path)?.as_ref() != Some(data) {
                return Ok(false);
            }
        }
        Ok(self.device.read(layout::GUARD)?.as_ref() == Some(&self.guard)
            && self.device.read_link(layout::WANTED)?.as_deref() == Some(layout::UNIT))
    }

    /// Installs the guard, which must be there before anything is marked.
    pub fn install_guard(&self) -> Result<(), DeviceError> {
        if self.device.read(layout::GUARD)?.as_ref() == Some(&self.guard) {
            return Ok(());
        }
        files::replace(self.device, layout::GUARD, &self.guard, Mode::Program)
    }

    /// On a card: nothing runs there that could fail, and nobody would clear a mark.
    pub fn switch_unmarked(&self) -> Result<(), DeviceError> {
        self.install_guard()?;
        self.point_to(&self.release)?;
        self.install_units(&mut Vec::new())?;
        files::remove(self.device, layout::UPDATED)
    }

    /// Marks the release as one that is to confirm. A power cut from here on is the guard's to mend.
    pub fn mark(&self) -> Result<(), DeviceError> {
        let previous = match &self.fallback {
            Fallback::Release(name) => Some(name.clone()),
            Fallback::Nothing => None,
            Fallback::Stay => return Ok(()),
        };
        let marker = Marker { release: self.release.clone(), previous, starts: 0 };
        files::replace(self.device, layout::MARKER, marker.to_string().as_bytes(), Mode::Plain)
    }

    /// Switches to the marked release, restarts the daemon, waits for its first caption, and clears the mark.
    ///
    /// # Errors
    /// When it did not confirm; the fallback runs again, or the message says why not.
    pub fn run(&self, services: &dyn Services) -> Result<Health, NotConfirmed> {
        let mut replaced = Vec::new();
        let reason = match self.attempt(services, &mut replaced) {
            Ok(health) => return Ok(health),
            Err(reason) => reason,
        };
        (self.say)(&format!("{}: {reason}; taking it back", self.release));
        let journal = services.journal(JOURNAL_LINES).unwrap_or_else(|error| error.to_string());
        let after = self.take_back(services, &replaced).unwrap_or_else(|error| {
            format!(
                "it could not be taken back ({error}); the device does that itself once it started it twice"
            )
        });
        Err(NotConfirmed { release: self.release.clone(), reason, after, journal })
    }

    fn attempt(&self, services: &dyn Services, replaced: &mut Replaced) -> Result<Health, String> {
        self.switch(services, replaced).map_err(|error| error.to_string())?;
        let health = self.wait(services, &self.release)?;
        files::remove(self.device, layout::MARKER).map_err(|error| error.to_string())?;
        Ok(health)
    }

    fn switch(&self, services: &dyn Services, replaced: &mut Replaced) -> Result<(), DeviceError> {
        self.point_to(&self.release)?;
        self.install_units(replaced)?;
        self.reload(services, replaced)?;
        (self.say)(&format!("{}: switched, waiting for its first caption", self.release));
        restart(services)
    }

    fn point_to(&self, release: &ReleaseName) -> Result<(), DeviceError> {
        if current(self.device)?.as_ref() == Some(release) {
            return Ok(());
        }
        files::point(self.device, layout::CURRENT, &release.link())
    }

    fn install_units(&self, replaced: &mut Replaced) -> Result<(), DeviceError> {
        for (path, data) in &self.units {
            let old = self.device.read(path)?;
            if old.as_ref() != Some(data) {
                replaced.push((path, old));
                files::replace(self.device, path, data, Mode::Plain)?;
            }
        }
        if self.device.read_link(layout::WANTED)?.as_deref() != Some(layout::UNIT) {
            files::point(self.device, layout::WANTED, layout::UNIT)?;
        }
        Ok(())
    }

    fn reload(&self, services: &dyn Services, changed: &Replaced) -> Result<(), DeviceError> {
        // Always: an earlier deploy may have been cut between writing a unit and this.
        services.control(Action::Reload)?;
        if changed.iter().any(|(path, _)| *path == layout::RULES) {
            services.control(Action::ReloadRules)?;
        }
        Ok(())
    }

    fn wait(&self, services: &dyn Services, release: &ReleaseName) -> Result<Health, String> {
        let start = services.now();
        loop {
            let seen = services.health().map_err(|error| error.to_string())?;
            if let Some(health) = seen.as_ref().filter(|health| confirms(release, health)) {
                return Ok(health.clone());
            }
            if current(self.device).map_err(|error| error.to_string())?.as_ref() != Some(release) {
                return Err("it failed twice, and the device went back by itself".into());
            }
            if services.now() - start >= self.health_timeout {
                let seconds = self.health_timeout.as_secs();
                return Err(match seen {
                    None => format!("it did not answer within {seconds} s"),
                    Some(health) if health.release.as_deref() != Some(&release.to_string()) => {
                        let other = health.release.unwrap_or_else(|| "another program".into());
                        format!("{other} answered instead of it")
                    }
                    Some(health) => {
                        format!("no caption within {seconds} s, its status is {:?}", health.status)
                    }
                });
            }
            services.pause(POLL);
        }
    }

    /// Lets the fallback run again, and says what runs.
    fn take_back(&self, services: &dyn Services, replaced: &Replaced) -> Result<String, DeviceError> {
        let after = match &self.fallback {
            Fallback::Stay => {
                self.restore(services, replaced)?;
                return Ok("it was in use before and stays".into());
            }
            Fallback::Release(previous) => {
                let moved = current(self.device)?.as_ref() != Some(previous);
                self.point_to(previous)?;
                self.restore(services, replaced)?;
                if moved && replaced.is_empty() {
                    restart(services)?;
                }
                match self.wait(services, previous) {
                    Ok(_) => format!("{previous} is back and captions"),
                    Err(reason) => format!("{previous} is back, but {reason}"),
                }
            }
            Fallback::Nothing => {
                services.control(Action::Stop)?;
                files::remove(self.device, layout::WANTED)?;
                self.restore(services, replaced)?;
                files::remove(self.device, layout::CURRENT)?;
                "there was no release before it, so nothing runs now".into()
            }
        };
        files::remove(self.device, layout::MARKER)?;
        set_aside(self.device, &self.release)?;
        Ok(after)
    }

    /// The system's files as they were; what runs is started anew where that changed any.
    fn restore(&self, services: &dyn Services, replaced: &Replaced) -> Result<(), DeviceError> {
        for (path, old) in replaced {
            match old {
                Some(data) => files::replace(self.device, path, data, Mode::Plain)?,
                None => files::remove(self.device, path)?,
            }
        }
        if replaced.is_empty() {
            return Ok(());
        }
        self.reload(services, replaced)?;
        if self.fallback == Fallback::Nothing { Ok(()) } else { restart(services) }
    }
}

/// Whether the daemon is this release and has captioned.
fn confirms(release: &ReleaseName, health: &Health) -> bool {
    health.release.as_deref() == Some(&release.to_string()) && health.captions > 0
}

/// A daemon that fails its first start may yet come up, so that is no error here: its health tells.
fn restart(services: &dyn Services) -> Result<(), DeviceError> {
    match services.control(Action::Restart) {
        Err(DeviceError::Failed { .. }) => Ok(()),
        result => result,
    }
}
