//! Captions on standard output and in a log file, by a thread of its own: a full pipe or medium stalls nobody.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use metalens_firmware_config::Log;

use super::hub::Hub;
use super::metrics::Kind;
use super::published::Published;
use crate::camera::Pace;

/// Captions that wait to be written.
const WAITING: usize = 64;

/// Where captions are handed to the thread that writes them.
pub struct Output {
    lines: SyncSender<Arc<Published>>,
    pace: Pace,
}

impl Output {
    /// For a source of that pace: of a replay, every caption is written, however long that takes; of a camera, those are lost
    /// for which a slow reader has no time.
    #[must_use]
    pub fn new(pace: Pace) -> (Self, Receiver<Arc<Published>>) {
        let (lines, receiver) = sync_channel(WAITING);
        (Self { lines, pace }, receiver)
    }

    /// Hands a caption over.
    pub fn tell(&self, published: &Arc<Published>) {
        match self.pace {
            // The writer ends after the last sender.
            Pace::Replay => drop(self.lines.send(published.clone())),
            Pace::Live => {
                if let Err(TrySendError::Full(_)) = self.lines.try_send(published.clone()) {
                    tracing::debug!("standard output is behind; a caption is not written");
                }
            }
        }
    }
}

/// Writes captions until nobody hands any more over.
pub fn write(lines: &Receiver<Arc<Published>>, log: Option<&Log>, hub: &Hub) {
    let mut log = log.map(|settings| Rotating::new(settings.clone()));
    let (mut reader, mut medium) = (true, true);
    for published in lines {
        let line = published.line();
        let mut out = io::stdout().lock();
        tell_once(&mut reader, writeln!(out, "{line}").and_then(|()| out.flush()), "standard output");
        if let Some(log) = &mut log {
            let done = log.write(&line);
            if done.is_err() {
                hub.metrics.error(Kind::disk);
            }
            tell_once(&mut medium, done, &log.settings.path.display().to_string());
        }
    }
}

/// Warns of the first error of several; `well` is whether the last one went well.
fn tell_once(well: &mut bool, result: io::Result<()>, name: &str) {
    match result {
        Ok(()) => *well = true,
        Err(error) => {
            if std::mem::replace(well, false) {
                tracing::warn!("{name}: {error}; captions are lost there until it goes well again");
            }
        }
    }
}

/// A file of lines; when it is full, it becomes NAME.1, that one NAME.2, and so on.
struct Rotating {
    settings: Log,
    file: Option<(File, u64)>,
}

impl Rotating {
    fn new(settings: Log) -> Self {
        Self { settings, file: None }
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        let (file, length) = match self.file.take() {
            Some(open) => open,
            None => self.open()?,
        };
        let more = line.len() as u64 + 1;
        let (mut file, length) = if length > 0 && length + more > self.settings.max_bytes {
            drop(file);
            self.rotate()?;
            self.open()?
        } else {
            (file, length)
        };
        // One call a line: half a line is left by a full medium only.
        file.write_all(format!("{line}\n").as_bytes())?;
        self.file = Some((file, length + more));
        Ok(())
    }

    fn open(&self) -> io::Result<(File, u64)> {
        let file = OpenOptions::new().create(true).append(true).open(&self.settings.path)?;
        let length = file.metadata()?.len();
        Ok((file, length))
    }

    fn rotate(&self) -> io::Result<()> {
        for number in (1..self.settings.keep).rev() {
            match std::fs::rename(self.name(number), self.name(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        if self.settings.keep == 0 {
            return std::fs::remove_file(&self.settings.path);
        }
        std::fs::rename(&self.settings.path, self.name(1))
    }

    fn name(&self, number: usize) -> PathBuf {
        let mut name = self.settings.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_is_put_aside_and_the_oldest_one_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("captions.jsonl");
        let mut log = Rotating::new(Log { path: path.clone(), max_bytes: 10, keep: 2 });
        for line in ["one", "two", "three", "four", "a line longer than all", "six"] {
            log.write(line).unwrap();
        }
        let text = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        assert_eq!(text("captions.jsonl"), "six\n");
        assert_eq!(text("captions.jsonl.1"), "a line longer than all\n");
        assert_eq!(text("captions.jsonl.2"), "four\n");
        assert_eq!(folder.path().read_dir().unwrap().count(), 3);
        // A new start goes on in the same file.
        Rotating::new(Log { path, max_bytes: 10, keep: 2 }).write("7").unwrap();
        assert_eq!(text("captions.jsonl"), "six\n7\n");
    }
}
