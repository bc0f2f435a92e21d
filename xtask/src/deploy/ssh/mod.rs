//! A device at the other end of the system's ssh: one connection, over which small POSIX scripts run as root.

mod facts;
mod http;
mod session;
mod verify;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use metalens_firmware_config::UNIT_NAME;

#[cfg(test)]
pub use self::{
    facts::parse as parse_facts,
    http::{address, parse as health_in},
    session::{no_connection, quote},
    verify::script as verification,
};
pub use session::{Options, Target};

#[cfg(not(test))]
use self::session::quote;
use self::session::{Input, Session};
use super::device::{Action, Content, Device, DeviceError, Facts, Health, Mode, Result, Services};
use super::files::split;
use super::layout::{self, file};
use super::release::sha256;

/// What a script ends with where what it should read is not there.
const ABSENT: i32 = 44;
/// Smaller files are sent again as fast as it is asked how much of them is there.
const WORTH_RESUMING: usize = 1 << 16;

/// A device that runs.
pub struct Ssh {
    session: Session,
    facts: Facts,
    /// Both ends have rsync.
    rsync: bool,
    options: Options,
    start: Instant,
}

impl Ssh {
    /// Connects, and finds out what the device is.
    ///
    /// # Errors
    /// When there is no way to the device.
    pub fn connect(target: &Target, options: &Options) -> Result<Self> {
        let mut session = Session::open(target, options)?;
        let facts = facts::gather(&session)?;
        session.become_root(facts.facts.privilege);
        let rsync = facts.rsync && session::answers("rsync");
        let (facts, options) = (facts.facts, options.clone());
        Ok(Self { session, facts, rsync, options, start: Instant::now() })
    }

    /// A path for a script.
    fn path(&self, path: &str) -> String {
        quote(&format!("{}{path}", self.options.root))
    }

    fn script(&self, what: &str, script: &str) -> Result<Vec<u8>> {
        self.session.run(what, script, Input::None)
    }

    fn change(&self, what: &str, script: &str) -> Result<()> {
        self.script(what, script).map(|_| ())
    }

    /// A script's output; none where it says that what it should read is not there.
    fn lookup(&self, what: &str, script: &str) -> Result<Option<String>> {
        let output = self.session.lookup(what, script, ABSENT)?;
        Ok(output.map(|output| String::from_utf8_lossy(&output).into_owned()))
    }

    /// Prints the daemon's lines, and goes on with those to come where asked to.
    pub fn print_journal(&self, lines: usize, follow: bool) -> Result<()> {
        let follow = if follow { " --follow" } else { "" };
        self.session
            .show("journalctl", &format!("journalctl --unit {UNIT_NAME} --lines {lines} --no-pager{follow}"))
    }

    fn send_by_rsync(&self, from: &std::path::Path, path: &str, mode: Mode) -> Result<()> {
        let to = format!("{}{path}", self.options.root);
        self.session.rsync(from, &to, mode)
    }

    /// Sends what is missing after the part that an earlier copy left, where that part is right.
    fn send_by_pipe(&self, data: &[u8], path: &str, mode: Mode) -> Result<()> {
        let at = self.path(path);
        let part = if data.len() < WORTH_RESUMING { 0 } else { self.sent_before(data, path)? };
        // Another name of an earlier file must not change with it.
        let start = if part == 0 { format!("rm -f {at} && ") } else { String::new() };
        let script = format!("{start}cat >> {at} && chmod {:o} {at}", mode.bits());
        self.session.run(path, &script, Input::Bytes(&data[part..])).map(|_| ())
    }

    /// How many bytes of a file an earlier copy left.
    fn sent_before(&self, data: &[u8], path: &str) -> Result<usize> {
        let at = self.path(path);
        let script = format!("[ -f {at} ] || exit {ABSENT}; stat -c '%h %s' {at}; sha256sum < {at}");
        let part = self.lookup(path, &script)?.and_then(|part| {
            let mut words = part.split_whitespace();
            let (names, size) = (words.next()?, words.next()?.parse::<usize>().ok()?);
            let right = names == "1" && sha256(data.get(..size)?) == words.next()?;
            right.then_some(size)
        });
        Ok(part.unwrap_or(0))
    }
}

impl Device for Ssh {
    fn facts(&self) -> Result<Facts> {
        Ok(self.facts.clone())
    }

    fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let at = self.path(path);
        self.session.lookup(path, &format!("[ -f {at} ] || exit {ABSENT}; cat {at}"), ABSENT)
    }

    fn read_link(&self, path: &str) -> Result<Option<String>> {
        let at = self.path(path);
        let target = self.lookup(path, &format!("[ -L {at} ] || exit {ABSENT}; readlink {at}"))?;
        Ok(target.map(|target| target.trim_end_matches('\n').to_owned()))
    }

    fn names(&self, folder: &str) -> Result<Vec<String>> {
        let at = self.path(folder);
        let names = self.lookup(folder, &format!("[ -d {at} ] || exit {ABSENT}; ls -1At {at}"))?;
        Ok(names.unwrap_or_default().lines().map(str::to_owned).collect())
    }

    fn hashes(&self, folder: &str) -> Result<BTreeMap<String, String>> {
        let at = self.path(folder);
        let script = format!("cd {at} 2>/dev/null || exit {ABSENT}; find . -type f -exec sha256sum {{}} +");
        let sums = self.lookup(folder, &script)?.unwrap_or_default();
        let parse = |line: &str| {
            let (hash, path) = line.split_once("  ./")?;
            Some((path.to_owned(), hash.to_owned()))
        };
        Ok(sums.lines().filter_map(parse).collect())
    }

    fn create_folder(&self, path: &str) -> Result<()> {
        self.change(path, &format!("mkdir -p {}", self.path(path)))
    }

    fn write(&self, path: &str, data: &[u8], mode: Mode) -> Result<()> {
        let at = self.path(path);
        let script = format!("cat > {at} && chmod {:o} {at}", mode.bits());
        self.session.run(path, &script, Input::Bytes(data)).map(|_| ())
    }

    fn send(&self, content: &Content, path: &str, mode: Mode) -> Result<()> {
        match content {
            Content::File(from) if self.rsync => self.send_by_rsync(from, path, mode),
            Content::File(from) => {
                let data = std::fs::read(from).map_err(|error| DeviceError::Failed {
                    what: from.display().to_string(),
                    message: error.to_string(),
                })?;
                self.send_by_pipe(&data, path, mode)
            }
            Content::Bytes(data) => self.send_by_pipe(data, path, mode),
        }
    }

    fn hard_link(&self, from: &str, to: &str) -> Result<()> {
        let (from, target) = (self.path(from), self.path(to));
        self.change(to, &format!("ln -f {from} {target} 2>/dev/null || cp -p {from} {target}"))
    }

    fn symlink(&self, target: &str, path: &str) -> Result<()> {
        let at = self.path(path);
        self.change(path, &format!("rm -f {at} && ln -s {} {at}", quote(target)))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let (from, target) = (self.path(from), self.path(to));
        // Of two names of one file mv moves neither.
        let twin = format!("[ ! -L {from} ] && [ {from} -ef {target} ]");
        self.change(to, &format!("if {twin}; then rm -f {from}; else mv -fT {from} {target}; fi"))
    }

    fn remove(&self, path: &str) -> Result<()> {
        self.change(path, &format!("rm -rf {}", self.path(path)))
    }

    fn sync(&self) -> Result<()> {
        self.change("sync", "sync")
    }

    fn verify(&self, folder: &str, hash: &str) -> Result<()> {
        let script = verify::script(&self.path(folder), &self.path(layout::TRUSTED_KEY), hash);
        let reason = self.script(folder, &script)?;
        match String::from_utf8_lossy(&reason).trim() {
            "" => Ok(()),
            reason => Err(DeviceError::Tampered { release: folder.to_owned(), reason: reason.to_owned() }),
        }
    }

    fn services(&self) -> Option<&dyn Services> {
        Some(self)
    }
}

impl Services for Ssh {
    fn doctor(&self, folder: &str) -> Result<()> {
        let (program, bundle) = (
            self.path(&format!("{folder}/{}", file::BINARY)),
            self.path(&format!("{folder}/{}", file::BUNDLE)),
        );
        let config = self.path(layout::CONFIG);
        self.change(
            split(folder).1,
            &format!("{program} doctor --config {config} --bundle {bundle} > /dev/null"),
        )
    }

    fn control(&self, action: Action) -> Result<()> {
        let script = match action {
            Action::Reload => "systemd-sysusers metalens.conf; systemctl daemon-reload".to_owned(),
            Action::ReloadRules => "udevadm control --reload && udevadm trigger --action=change".to_owned(),
            // A unit that failed too often is started no more until that is forgotten.
            Action::Restart => {
                format!("systemctl reset-failed {UNIT_NAME} 2>/dev/null; systemctl restart {UNIT_NAME}")
            }
            Action::Stop => format!("systemctl stop {UNIT_NAME}"),
        };
        self.change(&script, &script)
    }

    fn health(&self) -> Result<Option<Health>> {
        let config = self.read(layout::CONFIG)?.unwrap_or_default();
        http::health(&self.session, &http::address(&String::from_utf8_lossy(&config)))
    }

    fn journal(&self, lines: usize) -> Result<String> {
        let script = format!("journalctl --unit {UNIT_NAME} --lines {lines} --no-pager --output cat");
        let text = self.script("journalctl", &script)?;
        Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}
