//! The daemon under test, with a broker in its configuration.

use std::cell::RefCell;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Instant;

use metalens_tests::bundles::Bundles;
use metalens_tests::daemon::{Daemon, LONG};
use metalens_tests::drawing;
use serde_json::Value;

/// The kind that a new word is taught with: a blue square.
pub const SQUARE: usize = 2;

/// Two pictures, for tests that are not about what is on them.
pub const ANY: [(usize, u32); 2] = [(0, 0), (1, 0)];

pub fn bundle() -> &'static Path {
    static BUNDLES: OnceLock<Bundles> = OnceLock::new();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("daemon-mqtt");
    &BUNDLES.get_or_init(|| Bundles::make(&folder).unwrap()).words
}

pub fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_metalens-under-test"))
}

/// A daemon that looks at drawn pictures.
pub struct Device {
    pub daemon: Daemon,
    log: RefCell<String>,
}

impl Device {
    /// Looks at pictures of these kinds and places, with these lines in its configuration.
    pub fn start(folder: &Path, pictures: &[(usize, u32)], files: &str, mqtt: &str) -> Self {
        let drawn = folder.join("pictures");
        std::fs::create_dir_all(&drawn).unwrap();
        for (number, (kind, place)) in pictures.iter().enumerate() {
            drawing::picture(*kind, *place).save(drawn.join(format!("{number}.png"))).unwrap();
        }
        let settings = format!(
            "source = \"files:{}\"\n[files]\n{files}\n[caption]\nmin_change = 0.0\n[mqtt]\n{mqtt}\n",
            drawn.display()
        );
        let daemon = Daemon::start(program(), bundle(), folder, &settings).unwrap();
        Self { daemon, log: RefCell::default() }
    }

    /// Looks at two pictures over and over again, ten times a second.
    pub fn watch(folder: &Path, mqtt: &str) -> Self {
        Self::start(folder, &ANY, "rate = 10.0\nloop = true", mqtt)
    }

    /// Waits until it has captioned so many frames from now on.
    pub fn captions_go_on(&self, frames: u64) {
        let until = self.daemon.metric("metalens_frames_captured_total").unwrap() as u64 + frames;
        self.daemon.caption_that(LONG, |line| line["sequence"].as_u64() > Some(until)).unwrap();
    }

    /// Captions that nobody has taken yet of a daemon that has ended.
    pub fn rest(&self) -> Vec<Value> {
        std::iter::from_fn(|| self.daemon.caption(LONG).ok()).collect()
    }

    /// Everything on standard error.
    pub fn log(&self) -> String {
        let mut log = self.log.borrow_mut();
        for line in self.daemon.told().lines() {
            *log += line;
            log.push('\n');
        }
        log.clone()
    }

    /// How many lines of the log have this in them.
    pub fn told(&self, part: &str) -> usize {
        self.log().lines().filter(|line| line.contains(part)).count()
    }

    /// Waits for a line of the log with this in it.
    pub fn tells(&self, part: &str) -> String {
        let deadline = Instant::now() + LONG;
        loop {
            let log = self.log();
            if let Some(line) = log.lines().find(|line| line.contains(part)) {
                return line.to_owned();
            }
            assert!(Instant::now() < deadline, "waited in vain for {part:?}; there was\n{log}");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// How often the broker was lost.
    pub fn losses(&self) -> f64 {
        self.daemon.metric("metalens_errors_total{kind=\"mqtt\"}").unwrap()
    }

    /// Captions and file names of the samples that are kept.
    pub fn samples(&self) -> Vec<(String, String)> {
        let text =
            std::fs::read_to_string(self.daemon.state.join("support/captions.tsv")).unwrap_or_default();
        text.lines()
            .map(|line| line.split_once('\t').unwrap())
            .map(|(file, caption)| (caption.to_owned(), file.to_owned()))
            .collect()
    }
}
