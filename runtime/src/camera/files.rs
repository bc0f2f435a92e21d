//! Pictures from files: for demonstrations, tests and replays.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use metalens_firmware_config::Files;

use super::{CameraError, Format, Frame, FrameSource, Next, Pace};

/// Endings of names that are pictures.
const ENDINGS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// No picture that is decoded here has so many bytes.
const MAX_BYTES: u64 = 512 << 20;

/// The pictures of a folder or of a pattern, in the order of their names.
///
/// Looped, it is like a camera: pictures come at their rate, whether somebody looks or not. Once, it is a replay: at most
/// at its rate, and every picture is looked at.
pub struct FilesSource {
    pattern: PathBuf,
    interval: Duration,
    looped: bool,
    pictures: Vec<PathBuf>,
    place: usize,
    due: Instant,
}

impl FilesSource {
    /// Pictures of `pattern`: a folder, or a path with `*`, `?` and `[…]` in it.
    #[must_use]
    pub fn new(pattern: &Path, files: &Files) -> Self {
        Self {
            pattern: pattern.to_owned(),
            interval: files.rate.period(),
            looped: files.repeat,
            pictures: Vec::new(),
            place: 0,
            due: Instant::now(),
        }
    }

    fn impossible(&self, reason: String) -> CameraError {
        CameraError::Impossible { source_name: format!("files:{}", self.pattern.display()), reason }
    }

    fn find(&self) -> Result<Vec<PathBuf>, CameraError> {
        let mut pictures: Vec<PathBuf> = if self.pattern.is_dir() {
            let entries = self.pattern.read_dir().map_err(|error| self.impossible(error.to_string()))?;
            entries.filter_map(Result::ok).map(|entry| entry.path()).collect()
        } else {
            let pattern = self.pattern.to_string_lossy();
            let found = glob::glob(&pattern).map_err(|error| self.impossible(error.to_string()))?;
            found.filter_map(Result::ok).collect()
        };
        pictures.retain(|path| {
            let ending = path.extension().and_then(|ending| ending.to_str());
            ending.is_some_and(|ending| ENDINGS.contains(&ending.to_ascii_lowercase().as_str()))
        });
        pictures.sort();
        if pictures.is_empty() {
            let endings = ENDINGS.join(", ");
            return Err(
                self.impossible(format!("no pictures ({endings}) there; name a folder or pattern of some"))
            );
        }
        Ok(pictures)
    }
}

impl FrameSource for FilesSource {
    fn open(&mut self) -> Result<(), CameraError> {
        self.pictures = self.find()?;
        (self.place, self.due) = (0, Instant::now());
        Ok(())
    }

    fn next(&mut self, frame: &mut Frame, wait: Duration) -> Result<Next, CameraError> {
        if self.place == self.pictures.len() && !self.looped {
            return Ok(Next::Ended);
        }
        let left = self.due.saturating_duration_since(Instant::now());
        std::thread::sleep(left.min(wait));
        if left > wait {
            return Ok(Next::NotYet);
        }
        // A source that was kept waiting does not hurry afterwards.
        self.due = (self.due + self.interval).max(Instant::now());
        if self.place >= self.pictures.len() {
            self.place = 0;
        }
        let path = &self.pictures[self.place];
        self.place += 1;
        frame.data.clear();
        let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut frame.data));
        read.map_err(|error| CameraError::Unreadable { path: path.clone(), reason: error.to_string() })?;
        frame.format = Format::Encoded;
        frame.file.clear();
        frame.file.push_str(&path.to_string_lossy());
        frame.stamp();
        Ok(Next::Frame)
    }

    fn pace(&self) -> Pace {
        if self.looped { Pace::Live } else { Pace::Replay }
    }

    fn patience(&self) -> Option<Duration> {
        None
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use metalens_firmware_config::FramesPerSecond;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn source(folder: &Path, pattern: &str, repeat: bool) -> FilesSource {
        for name in ["b.jpg", "a.PNG", "notes.txt"] {
            std::fs::write(folder.join(name), name).unwrap();
        }
        FilesSource::new(
            &folder.join(pattern),
            &Files { rate: FramesPerSecond::new(1000.0).unwrap(), repeat },
        )
    }

    fn names(source: &mut FilesSource, most: usize) -> Vec<String> {
        source.open().unwrap();
        let mut frame = Frame::default();
        let mut names = Vec::new();
        while names.len() < most && source.next(&mut frame, SECOND).unwrap() == Next::Frame {
            assert!(frame.file.ends_with(std::str::from_utf8(&frame.data).unwrap()));
            names.push(String::from_utf8(frame.data.clone()).unwrap());
        }
        names
    }

    #[test]
    fn pictures_come_in_the_order_of_their_names_and_end() {
        let folder = tempfile::tempdir().unwrap();
        let mut once = source(folder.path(), "", false);
        assert_eq!(names(&mut once, 9), ["a.PNG", "b.jpg"]);
        assert_eq!(once.pace(), Pace::Replay);
        assert_eq!(names(&mut source(folder.path(), "*.jpg", false), 9), ["b.jpg"]);
    }

    #[test]
    fn a_loop_starts_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut looped = source(folder.path(), "", true);
        assert_eq!(names(&mut looped, 5), ["a.PNG", "b.jpg", "a.PNG", "b.jpg", "a.PNG"]);
        assert_eq!(looped.pace(), Pace::Live);
    }

    #[test]
    fn a_file_that_is_gone_is_told_and_the_next_one_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut source = source(folder.path(), "", false);
        source.open().unwrap();
        std::fs::remove_file(folder.path().join("a.PNG")).unwrap();
        let mut frame = Frame::default();
        let error = source.next(&mut frame, SECOND).unwrap_err().to_string();
        assert!(error.contains("a.PNG: No such file"), "{error}");
        assert_eq!(source.next(&mut frame, SECOND).unwrap(), Next::Frame);
    }

    #[test]
    fn a_folder_without_pictures_is_impossible() {
        let folder = tempfile::tempdir().unwrap();
        let mut source = source(folder.path(), "*.gif", false);
        let error = source.open().unwrap_err();
        assert!(matches!(error, CameraError::Impossible { .. }));
        assert!(error.to_string().contains("*.gif: no pictures (jpg, jpeg, png, webp) there"), "{error}");
    }

    #[test]
    fn whoever_asks_early_is_sent_away() {
        let folder = tempfile::tempdir().unwrap();
        let mut source = source(folder.path(), "", true);
        source.interval = Duration::from_secs(60);
        source.open().unwrap();
        let mut frame = Frame::default();
        assert_eq!(source.next(&mut frame, Duration::ZERO).unwrap(), Next::Frame);
        assert_eq!(source.next(&mut frame, Duration::from_millis(1)).unwrap(), Next::NotYet);
    }
}
