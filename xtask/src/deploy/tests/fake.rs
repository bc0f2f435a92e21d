//! A device in memory: a disk, a service manager that runs the real guard before every start, and a fault after any number of
//! operations.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use metalens_firmware_config::{GUARD, UNIT, starter};

use super::disk::{Disk, Node};
use crate::deploy::device::{
    Action, Content, Device, DeviceError, Facts, Health, Mode, Privilege, Result, Services,
};
use crate::deploy::elf::Glibc;
use crate::deploy::files::split;
use crate::deploy::layout;
use crate::deploy::release::sha256;
use crate::deploy::verify::verify;

/// How the device fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Whatever writes finds no room any more.
    Full,
    /// The power is cut; of a file that was not synced only a half is left.
    Cut,
    /// As [`Self::Cut`], and nothing that was not synced ever happened.
    CutAndForget,
    /// The device goes on, but can no longer be reached.
    Lost,
}

/// A test's device.
pub struct Fake(pub RefCell<State>);

#[derive(Clone)]
pub struct State {
    pub disk: Disk,
    durable: Disk,
    pub facts: Facts,
    /// What keeps every connection from being made.
    pub no_connection: Option<fn() -> DeviceError>,
    /// A file that arrives with one byte changed.
    pub corrupts: Option<&'static str>,
    fault: Option<(usize, Fault)>,
    struck: Option<Fault>,
    /// The release that runs.
    pub running: Option<String>,
    /// Whether the service manager starts the daemon again in a second.
    starting_again: bool,
    unit_is_loaded: bool,
    pub journal: Vec<String>,
    now: Duration,
    /// Every operation that changes something, in words.
    pub operations: Vec<String>,
    pub sent: Vec<String>,
    pub starts: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Needs {
    Room,
    Nothing,
}

impl Fake {
    /// A Raspberry Pi with nothing of ours on it.
    pub fn new() -> Self {
        let mut disk = Disk::default();
        for folder in ["/opt", "/etc/systemd/system", "/etc/udev/rules.d", "/var/lib"] {
            disk.create_folder(folder).unwrap();
        }
        let facts = Facts {
            privilege: Privilege::Sudo,
            machine: Some("aarch64".into()),
            bits: Some(64),
            glibc: Some(Glibc(2, 36)),
            model: Some("Raspberry Pi 4 Model B Rev 1.4".into()),
            free_bytes: Some(1 << 30),
            clock: Some(super::releases::NOW),
        };
        Self(RefCell::new(State {
            durable: disk.clone(),
            disk,
            facts,
            no_connection: None,
            corrupts: None,
            fault: None,
            struck: None,
            running: None,
            starting_again: false,
            unit_is_loaded: false,
            journal: Vec::new(),
            now: Duration::ZERO,
            operations: Vec::new(),
            sent: Vec::new(),
            starts: 0,
        }))
    }

    /// The same device, which fails after so many operations from now.
    pub fn failing_after(&self, operations: usize, fault: Fault) -> Self {
        let mut state = self.0.borrow().clone();
        state.fault = Some((operations, fault));
        state.operations.clear();
        Self(RefCell::new(state))
    }

    pub fn state(&self) -> std::cell::RefMut<'_, State> {
        self.0.borrow_mut()
    }

    /// Whether the fault came.
    pub fn struck(&self) -> bool {
        self.state().struck.is_some()
    }

    /// The cable is back, somebody made room, or the power returned.
    pub fn recover(&self) {
        let fault = self.state().struck.take();
        self.state().fault = None;
        if matches!(fault, Some(Fault::Cut | Fault::CutAndForget)) {
            self.boot();
        }
    }

    /// Lets the service manager go on for a while.
    pub fn idle(&self) {
        for _ in 0..6 {
            self.start_again();
        }
    }

    /// Everything on the disk, to compare.
    pub fn tree(&self) -> BTreeMap<String, String> {
        let state = self.state();
        let describe = |path: &String, node: &Node| match node {
            Node::Folder(_) => "folder".to_owned(),
            Node::Link(target) => format!("link to {target}"),
            Node::File(_) => {
                let inode = state.disk.file(path).unwrap();
                format!("{:o} {}", inode.mode.bits(), sha256(&inode.data))
            }
        };
        state.disk.names.iter().map(|(path, node)| (path.clone(), describe(path, node))).collect()
    }

    /// Power on: what systemd does with the unit.
    pub fn boot(&self) {
        {
            let mut state = self.state();
            state.durable = state.disk.clone();
            state.running = None;
            state.unit_is_loaded =
                state.read(layout::UNIT).is_some_and(|unit| unit.starts_with(UNIT.as_bytes()));
            let wanted = state.disk.names.get(layout::WANTED);
            state.starting_again = state.unit_is_loaded && wanted == Some(&Node::Link(layout::UNIT.into()));
        }
        self.idle();
    }

    fn start_again(&self) {
        if self.state().starting_again {
            self.start();
        }
    }

    /// One start: the guard, then the daemon of the release that `current` points to.
    fn start(&self) {
        run_guard(&mut self.state());
        let mut state = self.state();
        state.starts += 1;
        state.running = None;
        match daemon(&state) {
            Ok(release) => {
                state.starting_again = false;
                state.running = Some(release);
            }
            Err(message) => {
                state.starting_again = true;
                state.journal.push(message);
            }
        }
    }

    fn change<T>(
        &self,
        what: &str,
        path: &str,
        needs: Needs,
        operation: impl FnOnce(&mut State) -> std::result::Result<T, &'static str>,
    ) -> Result<T> {
        self.reach(path, needs)?;
        let mut state = self.state();
        state.operations.push(format!("{what} {path}"));
        operation(&mut state).map_err(|message| DeviceError::Failed {
            what: format!("{what} {path}"),
            message: message.into(),
        })
    }

    /// Counts an operation down, and fails where it is the one that fails or comes after it.
    fn reach(&self, path: &str, needs: Needs) -> Result<()> {
        let mut state = self.state();
        if state.struck.is_none() {
            match &mut state.fault {
                Some((0, fault)) => {
                    let fault = *fault;
                    state.strike(fault);
                }
                Some((left, _)) => *left -= 1,
                None => {}
            }
        }
        match state.struck {
            Some(Fault::Full) if needs == Needs::Room => Err(DeviceError::Full { path: path.to_owned() }),
            None | Some(Fault::Full) => Ok(()),
            Some(_) => Err(lost()),
        }
    }

    /// As [`Self::reach`], of something that changes nothing and so cannot be the operation after which the power goes.
    fn look(&self) -> Result<std::cell::RefMut<'_, State>> {
        let state = self.state();
        match state.struck {
            None | Some(Fault::Full) => Ok(state),
            Some(_) => Err(lost()),
        }
    }
}

fn lost() -> DeviceError {
    DeviceError::Unreachable { host: "pi@lens".into(), reason: "Connection timed out".into() }
}

impl State {
    fn strike(&mut self, fault: Fault) {
        self.struck = Some(fault);
        match fault {
            Fault::Full | Fault::Lost => return,
            Fault::Cut => {
                let durable = self.durable.clone();
                self.disk.halve(&durable);
            }
            Fault::CutAndForget => self.disk = self.durable.clone(),
        }
        self.running = None;
        self.starting_again = false;
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.disk.file(path).map(|inode| inode.data.to_vec())
    }
}

/// The release that starts, or why none does.
fn daemon(state: &State) -> std::result::Result<String, String> {
    let Some(Node::Link(target)) = state.disk.names.get(layout::CURRENT) else {
        return Err("no release is installed".into());
    };
    let release = target.trim_start_matches("releases/").to_owned();
    let folder = format!("{}/{target}", layout::HOME);
    let hash = release.rsplit_once('-').unwrap().1;
    verify(&|path| Ok(state.read(path)), &folder, hash).map_err(|error| error.to_string())?;
    let config = state.read(layout::CONFIG).unwrap_or_default();
    if !config.starts_with(starter(&super::parts::profile()).as_bytes()) {
        return Err(format!("{}: {config:?}", layout::CONFIG));
    }
    if !state.read(layout::GUARD).unwrap_or_default().starts_with(GUARD.as_bytes()) {
        return Err(format!("{}: Syntax error", layout::GUARD));
    }
    match does(state, &folder, "crashes") {
        true => Err(format!("{release}: panicked")),
        false => Ok(release),
    }
}

fn does(state: &State, folder: &str, behaviour: &str) -> bool {
    let program = state.read(&format!("{folder}/metalens")).unwrap_or_default();
    program.windows(behaviour.len()).any(|window| window == behaviour.as_bytes())
}

/// The guard itself, on the few files that it looks at.
fn run_guard(state: &mut State) {
    let Some(guard) = state.read(layout::GUARD) else { return };
    if !guard.starts_with(GUARD.as_bytes()) {
        return;
    }
    // Without a mark it does nothing, as a test of its own proves; most starts are such.
    if state.read(layout::MARKER).is_none() {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let home = root.path().join("opt/metalens");
    std::fs::create_dir_all(home.join("releases")).unwrap();
    std::fs::write(home.join("guard"), guard).unwrap();
    for path in state.disk.below(layout::HOME) {
        let (folder, name) = split(&path);
        let here = home.join(&path[layout::HOME.len() + 1..]);
        match &state.disk.names[&path] {
            Node::Folder(_) if folder == layout::RELEASES => std::fs::create_dir(here).unwrap(),
            Node::Link(target) if folder == layout::HOME => {
                std::os::unix::fs::symlink(target, here).unwrap();
            }
            Node::File(_) if folder == layout::HOME && name != "guard" => {
                std::fs::write(here, state.read(&path).unwrap()).unwrap();
            }
            _ => {}
        }
    }
    super::guard::run(root.path());
    let new = |path: &str| {
        let there = root.path().join(&path[1..]);
        let link = std::fs::read_link(&there).ok().map(|target| target.to_string_lossy().into_owned());
        (link, std::fs::read(there).ok())
    };
    for path in [layout::CURRENT, layout::MARKER] {
        state.disk.remove(path);
        match new(path) {
            (Some(target), _) => state.disk.symlink(&target, path).unwrap(),
            (None, Some(data)) => state.disk.write(path, &data, Mode::Plain).unwrap(),
            (None, None) => {}
        }
    }
    state.durable = state.disk.clone();
}

impl Device for Fake {
    fn facts(&self) -> Result<Facts> {
        let state = self.look()?;
        match state.no_connection {
            Some(error) => Err(error()),
            None => Ok(state.facts.clone()),
        }
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        Ok(self.look()?.read(path))
    }

    fn read_link(&self, path: &str) -> Result<Option<String>> {
        Ok(match self.look()?.disk.names.get(path) {
            Some(Node::Link(target)) => Some(target.clone()),
            _ => None,
        })
    }

    fn names(&self, folder: &str) -> Result<Vec<String>> {
        let state = self.look()?;
        let age = |path: &String| match state.disk.names[path] {
            Node::Folder(time) => time,
            _ => 0,
        };
        let below = state.disk.below(folder);
        let mut paths: Vec<_> = below.into_iter().filter(|path| split(path).0 == folder).collect();
        paths.sort_by_key(|path| std::cmp::Reverse(age(path)));
        Ok(paths.iter().map(|path| split(path).1.to_owned()).collect())
    }

    fn hashes(&self, folder: &str) -> Result<BTreeMap<String, String>> {
        let state = self.look()?;
        let hash = |path: String| {
            let hash = sha256(&state.disk.file(&path)?.data);
            Some((path[folder.len() + 1..].to_owned(), hash))
        };
        Ok(state.disk.below(folder).into_iter().filter_map(hash).collect())
    }

    fn create_folder(&self, path: &str) -> Result<()> {
        if matches!(self.look()?.disk.names.get(path), Some(Node::Folder(_))) {
            return Ok(());
        }
        self.change("create", path, Needs::Room, |state| state.disk.create_folder(path))
    }

    fn write(&self, path: &str, data: &[u8], mode: Mode) -> Result<()> {
        self.change("write", path, Needs::Room, |state| state.disk.write(path, data, mode))
    }

    fn send(&self, content: &Content, path: &str, mode: Mode) -> Result<()> {
        let mut data = match content {
            Content::File(from) => std::fs::read(from).unwrap(),
            Content::Bytes(data) => data.clone(),
        };
        self.change("send", path, Needs::Room, |state| {
            if state.corrupts.is_some_and(|file| path.ends_with(file)) {
                data[0] ^= 1;
            }
            state.sent.push(path.to_owned());
            state.disk.remove(path);
            state.disk.write(path, &data, mode)
        })
    }

    fn hard_link(&self, from: &str, to: &str) -> Result<()> {
        self.change("hard link", to, Needs::Room, |state| state.disk.hard_link(from, to))
    }

    fn symlink(&self, target: &str, path: &str) -> Result<()> {
        self.change("link", path, Needs::Room, |state| state.disk.symlink(target, path))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.change("rename", to, Needs::Nothing, |state| state.disk.rename(from, to))
    }

    fn remove(&self, path: &str) -> Result<()> {
        if !self.look()?.disk.names.contains_key(path) {
            return Ok(());
        }
        self.change("remove", path, Needs::Nothing, |state| {
            state.disk.remove(path);
            Ok(())
        })
    }

    fn sync(&self) -> Result<()> {
        self.change("sync", "/", Needs::Nothing, |state| {
            state.durable = state.disk.clone();
            Ok(())
        })
    }

    fn verify(&self, folder: &str, hash: &str) -> Result<()> {
        let state = self.look()?;
        verify(&|path| Ok(state.read(path)), folder, hash)
    }

    fn services(&self) -> Option<&dyn Services> {
        Some(self)
    }
}

impl Services for Fake {
    fn doctor(&self, folder: &str) -> Result<()> {
        self.change("doctor", folder, Needs::Nothing, |state| match does(state, folder, "is ill") {
            true => Err("golden.jpg: another caption than the manifest's"),
            false => Ok(()),
        })
    }

    fn control(&self, action: Action) -> Result<()> {
        self.change(&format!("{action:?}"), "metalens.service", Needs::Nothing, |state| {
            match action {
                Action::Reload => state.unit_is_loaded = state.disk.file(layout::UNIT).is_some(),
                Action::Restart if !state.unit_is_loaded => return Err("Unit not found"),
                Action::Stop => (state.running, state.starting_again) = (None, false),
                Action::Restart | Action::ReloadRules => {}
            }
            Ok(())
        })?;
        if action == Action::Restart {
            self.start();
            if self.state().running.is_none() {
                return Err(DeviceError::Failed { what: "restart".into(), message: "exited".into() });
            }
        }
        Ok(())
    }

    fn health(&self) -> Result<Option<Health>> {
        let state = self.look()?;
        let health = |release: &String| Health {
            status: "running".into(),
            version: "0.1.0".into(),
            captions: u64::from(!does(&state, &format!("{}/{release}", layout::RELEASES), "stays mute")),
            release: Some(release.clone()),
        };
        Ok(state.running.as_ref().map(health))
    }

    fn journal(&self, lines: usize) -> Result<String> {
        let state = self.look()?;
        let from = state.journal.len().saturating_sub(lines);
        Ok(state.journal[from..].join("\n"))
    }

    fn now(&self) -> Duration {
        self.state().now
    }

    fn pause(&self, time: Duration) {
        self.state().now += time;
        self.start_again();
    }
}
