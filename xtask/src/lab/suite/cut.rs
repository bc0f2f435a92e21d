//! A device whose power is cut right after one step of a deploy.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::deploy::device::{Action, Content, Device, DeviceError, Facts, Health, Mode, Result, Services};
use crate::deploy::ssh::Ssh;
use crate::lab::machine::Machine;

/// A step: what is done, and to which path or, for services, with which action.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// A file of that name was sent.
    Sent(&'a str),
    /// Something was given that name, and nothing is sure yet.
    Renamed(&'a str),
    /// It was, and is on the medium.
    Settled(&'a str),
    /// The daemon was started.
    Restarted,
}

/// The device.
pub struct Cut<'a> {
    device: &'a Ssh,
    machine: &'a Machine,
    step: Step<'a>,
    /// What is to be settled has its name.
    is_renamed: Cell<bool>,
    /// Whether the power was cut.
    pub is_cut: Cell<bool>,
}

impl<'a> Cut<'a> {
    /// Of a device that runs on a machine.
    pub fn new(device: &'a Ssh, machine: &'a Machine, step: Step<'a>) -> Self {
        Self { device, machine, step, is_renamed: Cell::new(false), is_cut: Cell::new(false) }
    }

    fn gone<T>(&self) -> Result<T> {
        Err(DeviceError::Unreachable { host: "the board".into(), reason: "its power was cut".into() })
    }

    fn look<T>(&self, of: impl FnOnce(&Ssh) -> Result<T>) -> Result<T> {
        if self.is_cut.get() { self.gone() } else { of(self.device) }
    }

    fn change(&self, is_step: bool, of: impl FnOnce(&Ssh) -> Result<()>) -> Result<()> {
        self.look(of)?;
        if !is_step {
            return Ok(());
        }
        self.is_cut.set(true);
        self.machine.reset().map_err(|error| DeviceError::Failed {
            what: "the board's reset".into(),
            message: format!("{error:#}"),
        })?;
        self.gone()
    }

    fn sent(&self, path: &str) -> bool {
        matches!(self.step, Step::Sent(name) if path.ends_with(name))
    }

    fn renamed(&self, path: &str) -> bool {
        if matches!(self.step, Step::Settled(name) if path == name) {
            self.is_renamed.set(true);
        }
        matches!(self.step, Step::Renamed(name) if path == name)
    }
}

impl Device for Cut<'_> {
    fn facts(&self) -> Result<Facts> {
        self.look(Device::facts)
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        self.look(|device| device.read(path))
    }

    fn read_link(&self, path: &str) -> Result<Option<String>> {
        self.look(|device| device.read_link(path))
    }

    fn names(&self, folder: &str) -> Result<Vec<String>> {
        self.look(|device| device.names(folder))
    }

    fn hashes(&self, folder: &str) -> Result<BTreeMap<String, String>> {
        self.look(|device| device.hashes(folder))
    }

    fn create_folder(&self, path: &str) -> Result<()> {
        self.change(false, |device| device.create_folder(path))
    }

    fn write(&self, path: &str, data: &[u8], mode: Mode) -> Result<()> {
        self.change(false, |device| device.write(path, data, mode))
    }

    fn send(&self, content: &Content, path: &str, mode: Mode) -> Result<()> {
        self.change(self.sent(path), |device| device.send(content, path, mode))
    }

    fn hard_link(&self, from: &str, to: &str) -> Result<()> {
        self.change(false, |device| device.hard_link(from, to))
    }

    fn symlink(&self, target: &str, path: &str) -> Result<()> {
        self.change(false, |device| device.symlink(target, path))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.change(self.renamed(to), |device| device.rename(from, to))
    }

    fn remove(&self, path: &str) -> Result<()> {
        self.change(false, |device| device.remove(path))
    }

    fn sync(&self) -> Result<()> {
        self.change(self.is_renamed.get(), Device::sync)
    }

    fn verify(&self, folder: &str, hash: &str) -> Result<()> {
        self.look(|device| device.verify(folder, hash))
    }

    fn services(&self) -> Option<&dyn Services> {
        Some(self)
    }
}

impl Services for Cut<'_> {
    fn doctor(&self, folder: &str) -> Result<()> {
        self.look(|device| device.doctor(folder))
    }

    fn control(&self, action: Action) -> Result<()> {
        let is_step = matches!(self.step, Step::Restarted) && action == Action::Restart;
        self.change(is_step, |device| device.control(action))
    }

    fn health(&self) -> Result<Option<Health>> {
        self.look(Services::health)
    }

    fn journal(&self, lines: usize) -> Result<String> {
        self.look(|device| device.journal(lines))
    }

    fn now(&self) -> Duration {
        self.device.now()
    }

    fn pause(&self, time: Duration) {
        self.device.pause(time);
    }
}
