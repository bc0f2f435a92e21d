//! Frames that a program writes on its standard output: CSI cameras are no plain V4L2 devices, and `rpicam-vid`,
//! `gst-launch-1.0 nvarguscamerasrc …` or `ffmpeg` know how to read them.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use metalens_firmware_config::{CommandOutput, Config};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};

use super::jpeg_stream::JpegStream;
use super::{CameraError, Format, Frame, FrameSource, Next};

/// What one read takes from the program.
const PART: usize = 64 << 10;

/// Reads frames from a program, which is started by `sh -c` and ended with all that it started.
pub struct CommandSource {
    command: String,
    output: CommandOutput,
    patience: Duration,
    running: Option<Running>,
}

/// The program, and what was read of the frame under way.
struct Running {
    child: Child,
    stdout: ChildStdout,
    stream: JpegStream,
    part: Box<[u8; PART]>,
    /// What of `part` was not used yet.
    unused: std::ops::Range<usize>,
    frame: Vec<u8>,
}

impl CommandSource {
    /// The program is not started yet.
    #[must_use]
    pub fn new(command: &str, config: &Config) -> Self {
        Self {
            command: command.to_owned(),
            output: config.command,
            patience: Duration::from_millis(config.camera.timeout_ms),
            running: None,
        }
    }

    fn start(&self) -> std::io::Result<Running> {
        let mut child = Command::new("sh")
            .args(["-c", &self.command])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let missing = || std::io::Error::other("it was started without its output");
        let stdout = child.stdout.take().ok_or_else(missing)?;
        if let Some(stderr) = child.stderr.take() {
            // Ends with the program.
            std::thread::spawn(move || {
                for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                    tracing::info!(target: "camera", "the camera's program: {line}");
                }
            });
        }
        Ok(Running {
            child,
            stdout,
            stream: JpegStream::new(),
            part: Box::new([0; PART]),
            unused: 0..0,
            frame: Vec::new(),
        })
    }
}

impl Running {
    /// Uses what was read; whether a frame is whole.
    fn advance(&mut self, output: &CommandOutput) -> bool {
        let bytes = &self.part[self.unused.clone()];
        let (used, whole) = match output {
            CommandOutput::Mjpeg => self.stream.push(bytes, &mut self.frame),
            CommandOutput::Yuv420 { width, height } => {
                let missing = (width * height * 3 / 2) as usize - self.frame.len();
                let used = missing.min(bytes.len());
                self.frame.extend_from_slice(&bytes[..used]);
                (used, used == missing)
            }
        };
        self.unused.start += used;
        whole
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(group) = Pid::from_raw(self.child.id() as i32) {
            // It may have ended by itself.
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

impl FrameSource for CommandSource {
    fn open(&mut self) -> Result<(), CameraError> {
        self.running = None;
        let closed = |error: std::io::Error| CameraError::Closed {
            source_name: name(&self.command),
            reason: format!("cannot be started: {error}"),
        };
        self.running = Some(self.start().map_err(closed)?);
        Ok(())
    }

    fn next(&mut self, frame: &mut Frame, wait: Duration) -> Result<Next, CameraError> {
        let command = &self.command;
        let gone = |reason: String| CameraError::Gone { source_name: name(command), reason };
        let Some(running) = &mut self.running else { return Err(gone("it was not started".to_owned())) };
        let deadline = Instant::now() + wait;
        while !running.advance(&self.output) {
            let left = deadline.saturating_duration_since(Instant::now());
            let ready = wait_for(&running.stdout, left).map_err(|error| gone(error.to_string()))?;
            if !ready {
                return Ok(Next::NotYet);
            }
            let read = running.stdout.read(&mut *running.part).map_err(|error| gone(error.to_string()))?;
            if read == 0 {
                let status = running.child.wait().map(|status| status.to_string());
                self.running = None;
                return Err(gone(format!("the program ended ({})", status.unwrap_or_default())));
            }
            running.unused = 0..read;
        }
        std::mem::swap(&mut frame.data, &mut running.frame);
        running.frame.clear();
        frame.format = match self.output {
            CommandOutput::Mjpeg => Format::Encoded,
            CommandOutput::Yuv420 { width, height } => Format::Yuv420 { width, height },
        };
        frame.file.clear();
        frame.stamp();
        Ok(Next::Frame)
    }

    fn patience(&self) -> Option<Duration> {
        Some(self.patience)
    }
}

/// As the configuration names it.
fn name(command: &str) -> String {
    format!("command:{command}")
}

/// Whether there is something to read, or an end, within the time.
fn wait_for(stdout: &ChildStdout, wait: Duration) -> std::io::Result<bool> {
    let mut polled = [PollFd::new(stdout, PollFlags::IN)];
    let wait = Timespec { tv_sec: wait.as_secs() as i64, tv_nsec: i64::from(wait.subsec_nanos()) };
    match poll(&mut polled, Some(&wait)) {
        Ok(ready) => Ok(ready > 0),
        Err(rustix::io::Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(5);

    fn source(command: &str, more: &str) -> CommandSource {
        let text = format!("source = \"command:x\"\nstate = \"s\"\n{more}");
        CommandSource::new(command, &Config::parse(&text).unwrap())
    }

    fn next(source: &mut CommandSource, frame: &mut Frame) -> Result<Next, CameraError> {
        source.next(frame, SECOND)
    }

    #[test]
    fn pictures_are_read_until_the_program_ends_and_again_when_it_is_opened_again() {
        let hopper = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/pictures/hopper.jpg");
        let mut source = source(&format!("cat {hopper} {hopper}"), "");
        let mut frame = Frame::default();
        for _ in 0..2 {
            source.open().unwrap();
            for _ in 0..2 {
                assert_eq!(next(&mut source, &mut frame).unwrap(), Next::Frame);
                assert_eq!(frame.data, std::fs::read(hopper).unwrap());
            }
            let error = next(&mut source, &mut frame).unwrap_err();
            assert!(
                matches!(&error, CameraError::Gone { reason, .. } if reason.contains("exit status: 0")),
                "{error}"
            );
        }
    }

    #[test]
    fn raw_frames_are_cut_by_their_size() {
        let mut source = source(
            "head -c 100 /dev/zero; sleep 0.05; head -c 668 /dev/zero; sleep 9",
            "[command]\nformat = \"yuv420\"\nwidth = 16\nheight = 16\n",
        );
        source.open().unwrap();
        let mut frame = Frame::default();
        for _ in 0..2 {
            assert_eq!(next(&mut source, &mut frame).unwrap(), Next::Frame);
            assert_eq!((frame.data.len(), frame.format), (384, Format::Yuv420 { width: 16, height: 16 }));
        }
        assert_eq!(source.next(&mut frame, Duration::from_millis(20)).unwrap(), Next::NotYet);
    }

    #[test]
    fn a_program_is_ended_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let marker = folder.path().join("alive");
        let mut source = source(&format!("(sleep 0.5; touch {}) & sleep 60", marker.display()), "");
        source.open().unwrap();
        drop(source);
        std::thread::sleep(Duration::from_millis(900));
        assert!(!marker.exists());
    }
}
