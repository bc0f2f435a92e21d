//! Where frames come from: cameras, programs that write frames, and files.
//!
//! A [`FrameSource`] is opened, asked for frames one after another, and opened again after it was lost. It never blocks
//! for longer than it is told to, so that whoever reads it can stop at any time.
//!
//! Important terms: a *frame* is a picture as the source gives it, encoded or raw; it becomes a
//! [`Picture`](crate::vision::Picture) when somebody looks at it ([`Decoder`]).

mod command;
mod decoder;
mod faults;
mod files;
mod frame;
mod jpeg_stream;
mod raw;
#[cfg(feature = "v4l2")]
mod v4l2;

use std::path::PathBuf;
use std::time::Duration;

use metalens_firmware_config::{Config, Source};

use crate::vision::DecodeError;

pub use command::CommandSource;
pub use decoder::Decoder;
pub use faults::FaultInjector;
pub use files::FilesSource;
pub use frame::{Format, Frame};
#[cfg(feature = "v4l2")]
pub use v4l2::V4l2Source;

/// Why there is no frame.
#[derive(Debug, thiserror::Error)]
pub enum CameraError {
    /// The source cannot be opened; it may be there later.
    #[error("{source_name}: {reason}")]
    Closed {
        /// The source, as the configuration names it.
        source_name: String,
        /// Why, and what to do.
        reason: String,
    },
    /// The source was there and is gone; opening it again may help.
    #[error("{source_name} is gone: {reason}")]
    Gone {
        /// The source, as the configuration names it.
        source_name: String,
        /// What was seen of it.
        reason: String,
    },
    /// One frame cannot be had; the next one may.
    #[error("{}: {reason}", path.display())]
    Unreadable {
        /// The frame's file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The source will never have a frame.
    #[error("{source_name}: {reason}")]
    Impossible {
        /// The source, as the configuration names it.
        source_name: String,
        /// Why, and what to do.
        reason: String,
    },
}

/// What became of asking for a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is in the buffer.
    Frame,
    /// None came within the time.
    NotYet,
    /// There are no more.
    Ended,
}

/// How a source goes with whoever looks at its frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// It goes on by itself; frames that nobody has time for are lost.
    Live,
    /// It waits: every frame is looked at.
    Replay,
}

/// Gives frames.
pub trait FrameSource: Send {
    /// Opens the source, or opens it again.
    ///
    /// # Errors
    /// [`CameraError::Closed`] when that may work later, [`CameraError::Impossible`] when it never will.
    fn open(&mut self) -> Result<(), CameraError>;

    /// Puts the next frame into `frame`, whose buffer is used again; waits for at most `wait`.
    ///
    /// # Errors
    /// [`CameraError::Gone`] when the source has to be opened again, [`CameraError::Unreadable`] when this frame cannot be
    /// had. What is in `frame` is then of no use.
    fn next(&mut self, frame: &mut Frame, wait: Duration) -> Result<Next, CameraError>;

    /// Frames that the source itself lost since this was asked last.
    fn lost(&mut self) -> u64 {
        0
    }

    /// Whether it waits for whoever looks at its frames.
    fn pace(&self) -> Pace {
        Pace::Live
    }

    /// After how long without a frame it counts as lost; none for one that may be slow.
    fn patience(&self) -> Option<Duration>;
}

/// The source that a configuration names, not yet opened.
///
/// # Errors
/// When this program was built without it.
pub fn source(config: &Config) -> Result<Box<dyn FrameSource>, CameraError> {
    let source: Box<dyn FrameSource> = match &config.source {
        Source::Files(pictures) => Box::new(FilesSource::new(pictures, &config.files)),
        Source::Command(command) => Box::new(CommandSource::new(command, config)),
        Source::V4l2(device) => v4l2(device, config)?,
    };
    Ok(match &config.faults {
        Some(faults) => Box::new(FaultInjector::new(source, faults)),
        None => source,
    })
}

#[cfg(feature = "v4l2")]
fn v4l2(device: &std::path::Path, config: &Config) -> Result<Box<dyn FrameSource>, CameraError> {
    Ok(Box::new(V4l2Source::new(device, &config.camera)))
}

#[cfg(not(feature = "v4l2"))]
fn v4l2(device: &std::path::Path, _: &Config) -> Result<Box<dyn FrameSource>, CameraError> {
    Err(CameraError::Impossible {
        source_name: format!("v4l2:{}", device.display()),
        reason: "this program was built without cameras; build it with `--features v4l2`".to_owned(),
    })
}

/// Why a frame did not become a picture.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// An encoded frame is damaged.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A raw frame has more or fewer bytes than its format says.
    #[error("a raw frame of {width}x{height} pixels has {found} bytes instead of {expected}")]
    Size {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// Bytes.
        found: usize,
        /// Bytes.
        expected: usize,
    },
}

#[cfg(all(test, not(feature = "v4l2")))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_that_this_program_cannot_read_is_impossible_and_says_what_to_do() {
        let config = Config::parse("source = \"v4l2:/dev/video0\"\nstate = \"s\"").unwrap();
        let error = source(&config).map(drop).unwrap_err();
        assert_eq!(
            error.to_string(),
            "v4l2:/dev/video0: this program was built without cameras; build it with `--features v4l2`"
        );
    }
}
