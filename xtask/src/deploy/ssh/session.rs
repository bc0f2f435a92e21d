//! One ssh connection, shared by every script: the first opens it, the last closes it.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::deploy::device::{DeviceError, Mode, Privilege, Result};

/// Whom to connect to.
#[derive(Clone, Debug)]
pub struct Target {
    /// `USER@HOST`, or a name of the user's ssh configuration.
    pub host: String,
    /// Another port than ssh's own.
    pub port: Option<u16>,
    /// The private key.
    pub identity: Option<PathBuf>,
}

/// How to connect, and what is there; the same for all devices.
#[derive(Clone, Debug)]
pub struct Options {
    /// Another configuration of ssh than the user's.
    pub config: Option<PathBuf>,
    /// Before every path on the device: nothing, but where a test's account stands for a device.
    pub root: String,
}

impl Options {
    /// Of a device.
    pub fn new(config: Option<PathBuf>) -> Self {
        Self { config, root: String::new() }
    }
}

/// What a script reads.
pub enum Input<'a> {
    /// Nothing.
    None,
    /// These bytes.
    Bytes(&'a [u8]),
}

/// A connection.
pub struct Session {
    host: String,
    options: Vec<OsString>,
    /// What becomes root.
    sudo: &'static str,
    /// Holds the socket of the shared connection.
    _folder: TempDir,
}

impl Session {
    /// A connection that the first script opens.
    pub fn open(target: &Target, options: &Options) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("metalens-").tempdir();
        let folder = folder.map_err(|error| failed("a folder for ssh's socket", &error.to_string()))?;
        let mut list: Vec<OsString> = Vec::new();
        if let Some(config) = &options.config {
            list.extend(["-F".into(), config.into()]);
        }
        if let Some(port) = target.port {
            list.extend(["-p".into(), port.to_string().into()]);
        }
        if let Some(identity) = &target.identity {
            list.extend(["-i".into(), identity.into(), "-o".into(), "IdentitiesOnly=yes".into()]);
        }
        let mut socket = OsString::from("ControlPath=");
        socket.push(folder.path().join("socket"));
        let keep = ["BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=3"];
        let share = ["ControlMaster=auto", "ControlPersist=yes"];
        for option in keep.into_iter().chain(share).map(OsString::from).chain([socket]) {
            list.extend(["-o".into(), option]);
        }
        Ok(Self { host: target.host.clone(), options: list, sudo: "", _folder: folder })
    }

    /// As on the command line.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// From now on scripts run as root.
    pub fn become_root(&mut self, privilege: Privilege) {
        self.sudo = if privilege == Privilege::Sudo { "sudo -n " } else { "" };
    }

    /// ssh with this connection's options; what follows are more of them, the host and the command.
    fn ssh(&self) -> Command {
        let mut command = Command::new("ssh");
        command.env("LC_ALL", "C").args(&self.options);
        command
    }

    /// ssh to a port of the device itself.
    pub fn forward(&self, address: &str) -> Command {
        let mut command = self.ssh();
        command.args(["-W", address]).arg(&self.host);
        command
    }

    fn remote(&self, script: &str) -> String {
        format!("{}sh -c {}", self.sudo, quote(&format!("umask 022; export LC_ALL=C; {script}")))
    }

    /// Runs a script on the device, and returns what it printed.
    pub fn run(&self, what: &str, script: &str, input: Input<'_>) -> Result<Vec<u8>> {
        let output = self.output(self.ssh().arg(&self.host).arg(self.remote(script)), input)?;
        self.checked(what, output)
    }

    /// The same, of a script that ends with `absent` where what it should read is not there.
    pub fn lookup(&self, what: &str, script: &str, absent: i32) -> Result<Option<Vec<u8>>> {
        let output = self.output(self.ssh().arg(&self.host).arg(self.remote(script)), Input::None)?;
        if output.status.code() == Some(absent) { Ok(None) } else { self.checked(what, output).map(Some) }
    }

    /// Runs a script of which everything is shown.
    pub fn show(&self, what: &str, script: &str) -> Result<()> {
        let status = self.ssh().arg(&self.host).arg(self.remote(script)).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(failed(what, &status.to_string())),
            Err(error) => Err(failed("ssh", &error.to_string())),
        }
    }

    /// Copies a file; of what an interrupted copy left only the rest is sent.
    pub fn rsync(&self, from: &Path, to: &str, mode: Mode) -> Result<()> {
        let words = self.options.iter().map(|option| quote(&option.to_string_lossy()));
        let ssh = std::iter::once("ssh".to_owned()).chain(words).collect::<Vec<_>>().join(" ");
        let mut command = Command::new("rsync");
        command.env("LC_ALL", "C").args([
            "--partial",
            "--ignore-times",
            "--perms",
            "--no-owner",
            "--no-group",
        ]);
        command.arg(format!("--chmod={:o}", mode.bits())).arg("--rsh").arg(ssh);
        command.arg(format!("--rsync-path={}rsync", self.sudo));
        let output = self.output(command.arg(from).arg(format!("{}:{to}", self.host)), Input::None)?;
        self.checked(to, output).map(|_| ())
    }

    fn output(&self, command: &mut Command, input: Input<'_>) -> Result<Output> {
        let program = command.get_program().to_string_lossy().into_owned();
        let started =
            |error: std::io::Error| failed(&program, &format!("{error}; install it on this computer"));
        let stdin = match input {
            Input::None => Stdio::null(),
            Input::Bytes(_) => Stdio::piped(),
        };
        let mut child =
            command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(started)?;
        if let (Input::Bytes(data), Some(mut stdin)) = (input, child.stdin.take()) {
            // A script that ends early breaks the pipe; its own error says more.
            let _ = stdin.write_all(data);
        }
        child.wait_with_output().map_err(|error| failed(&program, &error.to_string()))
    }

    fn checked(&self, what: &str, output: Output) -> Result<Vec<u8>> {
        if output.status.success() {
            return Ok(output.stdout);
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        let (stderr, stdout) = (text(&output.stderr), text(&output.stdout));
        if stderr.contains("No space left on device") {
            return Err(DeviceError::Full { path: what.to_owned() });
        }
        // What ssh itself could not do; a script's own complaints may sound the same.
        if output.status.code() == Some(255) {
            // Of a shared connection that breaks, ssh says nothing.
            let silent = stderr.is_empty() && stdout.is_empty();
            let broken = silent.then(|| DeviceError::Unreachable {
                host: self.host.clone(),
                reason: "the connection broke off".into(),
            });
            if let Some(error) = no_connection(&self.host, &stderr).or(broken) {
                return Err(error);
            }
        }
        let message = [stderr, stdout].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>();
        let message = if message.is_empty() { output.status.to_string() } else { message.join("; ") };
        Err(failed(what, &message.replace('\n', "; ")))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // A connection that was never opened has nothing to close.
        let _ = self.ssh().args(["-O", "exit"]).arg(&self.host).stderr(Stdio::null()).status();
    }
}

fn failed(what: &str, message: &str) -> DeviceError {
    DeviceError::Failed { what: what.to_owned(), message: message.to_owned() }
}

/// Whether a program is on this computer.
pub fn answers(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A word for a POSIX shell.
pub fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// What ssh's own complaint means; none where ssh did not complain.
pub fn no_connection(host: &str, stderr: &str) -> Option<DeviceError> {
    let host = host.to_owned();
    let has = |part: &str| stderr.contains(part);
    // With a port, known_hosts has the name in brackets; ssh tells it with the command that forgets it.
    let known = stderr.split("ssh-keygen -f").nth(1).and_then(|rest| rest.split("-R ").nth(1));
    let known = known.and_then(|rest| rest.lines().next()).map(|name| name.trim().trim_matches(['"', '\'']));
    let bare = host.rsplit_once('@').map_or(host.as_str(), |(_, name)| name);
    if has("REMOTE HOST IDENTIFICATION HAS CHANGED") {
        return Some(DeviceError::HostKey { name: known.unwrap_or(bare).to_owned(), host });
    }
    if has("Host key verification failed") {
        return Some(DeviceError::UnknownHost { host });
    }
    if has("Permission denied (") || has("Too many authentication failures") {
        return Some(DeviceError::Login { host });
    }
    let reasons = [
        "No route to host",
        "Network is unreachable",
        "Connection refused",
        "Connection timed out",
        "Operation timed out",
        "Could not resolve hostname",
        "Connection closed by",
        "Connection reset by",
        "closed by remote host",
        "Broken pipe",
        "not responding",
        "Connection to",
    ];
    let reason = reasons.into_iter().find(|reason| has(reason))?;
    let line = stderr.lines().find(|line| line.contains(reason)).unwrap_or(reason);
    Some(DeviceError::Unreachable { host, reason: line.trim().to_owned() })
}
