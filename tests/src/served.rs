//! `metalens run`, as a script sees it: what it tells on standard output and standard error, and its address.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::http::{self, Response};

/// How long something may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// The bundle of the checkout.
pub const BUNDLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/flickr8k-lite0");

/// A daemon that runs; it is killed when it is dropped.
pub struct Daemon {
    child: Child,
    /// Where its page is, as `127.0.0.1:PORT`.
    pub address: String,
    state: PathBuf,
    output: Lines,
    errors: Lines,
}

type Lines = Arc<Mutex<Vec<String>>>;

impl Daemon {
    /// Starts the program on the pictures of a folder, `rate` of them a second, again and again, each captioned; its state
    /// is in the folder beside them. `more` is added to its configuration.
    ///
    /// # Errors
    /// When it does not serve its page.
    pub fn start(program: &Path, pictures: &Path, rate: f32, more: &str) -> anyhow::Result<Self> {
        let state = pictures.with_file_name("state");
        let text = format!(
            "source = \"files:{}\"\nstate = {state:?}\nbundle = {BUNDLE:?}\n[files]\nrate = {rate:.1}\n\
             [caption]\nmin_change = 0.0\n[http]\nlisten = \"127.0.0.1:0\"\n{more}\n",
            pictures.display()
        );
        let config = pictures.with_file_name("metalens.toml");
        std::fs::write(&config, text)?;
        let mut command = Command::new(program);
        command.arg("run").arg("--config").arg(&config).env_remove("METALENS_LOG");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let output = collect(child.stdout.take().context("standard output")?);
        let errors = collect(child.stderr.take().context("standard error")?);
        let mut new = Self { child, address: String::new(), state, output, errors };
        let found = wait("the address of its page", || {
            let lines = lines(&new.errors);
            lines.iter().find_map(|line| {
                Some(line.split_once("http://")?.1.strip_suffix(" shows what the camera sees")?.to_owned())
            })
        });
        new.address = found.with_context(|| lines(&new.errors).join("\n"))?;
        Ok(new)
    }

    /// The lines on standard output so far: captions.
    #[must_use]
    pub fn output(&self) -> Vec<String> {
        lines(&self.output)
    }

    /// The lines on standard error so far.
    #[must_use]
    pub fn errors(&self) -> Vec<String> {
        lines(&self.errors)
    }

    /// The token for changes.
    ///
    /// # Errors
    /// When there is none.
    pub fn token(&self) -> anyhow::Result<String> {
        Ok(std::fs::read_to_string(self.token_file())?.trim().to_owned())
    }

    /// Where the token is kept.
    #[must_use]
    pub fn token_file(&self) -> PathBuf {
        self.state.join("token")
    }

    /// Asks with the token.
    ///
    /// # Errors
    /// When there is no whole answer.
    pub fn ask(&self, method: &str, path: &str, body: &str) -> anyhow::Result<Response> {
        let bearer = format!("Bearer {}", self.token()?);
        http::request(&self.address, method, path, &[("Authorization", &bearer)], body.as_bytes())
    }

    /// How long the next `count` captions take.
    ///
    /// # Errors
    /// When they do not come.
    pub fn captions_take(&self, count: usize) -> anyhow::Result<Duration> {
        // From one caption to another, so that no part of an interval counts.
        let came = |count| wait("captions", || (self.output().len() >= count).then(Instant::now));
        let first = self.output().len() + 1;
        let began = came(first)?;
        Ok(came(first + count)?.duration_since(began))
    }

    /// Asks it to end, as a service manager does.
    ///
    /// # Errors
    /// When it does not.
    pub fn stop(mut self) -> anyhow::Result<ExitStatus> {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        wait("its end", || self.child.try_wait().ok().flatten())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lines(lines: &Lines) -> Vec<String> {
    lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn collect(from: impl Read + Send + 'static) -> Lines {
    let into = Lines::default();
    let all = into.clone();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            into.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }
    });
    all
}

/// Waits until there is something.
///
/// # Errors
/// When that takes too long.
pub fn wait<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> anyhow::Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return Ok(found);
        }
        anyhow::ensure!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}
