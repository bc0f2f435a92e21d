//! The daemon under test: started, listened to, asked over HTTP, and killed.

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::http::{self, Response};

/// For what must not be waited for longer, however busy the machine is.
pub const LONG: Duration = Duration::from_secs(60);

/// A running daemon; it is killed when it is dropped.
pub struct Daemon {
    child: Child,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its state's folder.
    pub state: PathBuf,
}

/// An address of this machine that nobody listens at.
///
/// # Errors
/// When there is none.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

impl Daemon {
    /// Starts `program` with a bundle, in a folder of its own; `settings` is the configuration but for `state`, `bundle` and
    /// `http.listen`: keys first, tables after them.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(program: &Path, bundle: &Path, folder: &Path, settings: &str) -> anyhow::Result<Self> {
        let (address, state) = (free_address()?, folder.join("state"));
        Self::start_at(program, bundle, folder, settings, address, &state)
    }

    /// The same at an address and with a state of one's own.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_at(
        program: &Path,
        bundle: &Path,
        folder: &Path,
        settings: &str,
        address: SocketAddr,
        state: &Path,
    ) -> anyhow::Result<Self> {
        let path = folder.join("metalens.toml");
        let text =
            format!("state = {state:?}\nbundle = {bundle:?}\n{settings}\n[http]\nlisten = \"{address}\"\n");
        std::fs::write(&path, text)?;
        let mut child = Command::new(program)
            .args(["run", "--config"])
            .arg(&path)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("{}", program.display()))?;
        let stdout = lines(child.stdout.take().context("no standard output")?);
        let stderr = lines(child.stderr.take().context("no standard error")?);
        Ok(Self { child, stdout, stderr, address, state: state.to_owned() })
    }

    /// The next caption on standard output.
    ///
    /// # Errors
    /// When none came within the time, or the daemon ended.
    pub fn caption(&self, wait: Duration) -> anyhow::Result<Value> {
        match self.stdout.recv_timeout(wait) {
            Ok(line) => serde_json::from_str(&line).with_context(|| line.clone()),
            Err(RecvTimeoutError::Timeout) => bail!("no caption within {wait:?}; {}", self.told()),
            Err(RecvTimeoutError::Disconnected) => bail!("the daemon ended; {}", self.told()),
        }
    }

    /// Captions until `enough` says so of one.
    ///
    /// # Errors
    /// When that is not so within the time.
    pub fn caption_that(&self, wait: Duration, enough: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let deadline = Instant::now() + wait;
        loop {
            let caption = self.caption(deadline.saturating_duration_since(Instant::now()))?;
            if enough(&caption) {
                return Ok(caption);
            }
        }
    }

    /// What it told on standard error since this was asked last.
    #[must_use]
    pub fn told(&self) -> String {
        self.stderr.try_iter().collect::<Vec<_>>().join("\n")
    }

    /// The token for changes.
    ///
    /// # Errors
    /// When it has none.
    pub fn token(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.state.join("token"))?.trim().to_owned())
    }

    /// Asks for something that changes nothing.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn get(&self, path: &str) -> anyhow::Result<Response> {
        self.request("GET", path, &[], b"")
    }

    /// Changes something, with the token.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn change(&self, method: &str, path: &str, body: &Value) -> anyhow::Result<Response> {
        let token = format!("Bearer {}", self.token()?);
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        self.request(method, path, &[("Authorization", &token), ("Content-Type", "application/json")], &body)
    }

    /// Asks anything.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<Response> {
        http::request(&self.address.to_string(), method, path, headers, body)
    }

    /// Waits until `ready` says so.
    ///
    /// # Errors
    /// When that is not so within the time.
    pub fn wait_until(&self, wait: Duration, mut ready: impl FnMut(&Self) -> bool) -> anyhow::Result<()> {
        let deadline = Instant::now() + wait;
        while !ready(self) {
            ensure!(Instant::now() < deadline, "still not so after {wait:?}; {}", self.told());
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// A metric's value; 0 where it is not there.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let text = String::from_utf8(self.get("/metrics")?.body)?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        Ok(value.unwrap_or_default())
    }

    /// Resident memory in KiB.
    ///
    /// # Errors
    /// When it is not running.
    pub fn resident_kib(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal by name, such as TERM.
    ///
    /// # Errors
    /// When that fails.
    pub fn signal(&self, name: &str) -> anyhow::Result<()> {
        send(name, self.id())
    }

    /// Whether it has ended, and how.
    ///
    /// # Errors
    /// When that cannot be told.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it does not end within the time.
    pub fn end(&mut self, wait: Duration) -> anyhow::Result<ExitStatus> {
        let deadline = Instant::now() + wait;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "still running after {wait:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Kills it as a power cut would.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a signal by name to a process.
///
/// # Errors
/// When there is no such process, or no `kill`.
pub fn send(signal: &str, process: u32) -> anyhow::Result<()> {
    let done = Command::new("kill").args([&format!("-{signal}"), &process.to_string()]).status()?;
    ensure!(done.success(), "kill -{signal} {process} failed");
    Ok(())
}

/// The lines of a pipe as they come, by a thread that ends with it.
fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}
