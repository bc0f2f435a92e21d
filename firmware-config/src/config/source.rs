//! Where pictures come from: `source`, `[files]`, `[camera]` and `[command]`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::document::Check;
use crate::profile::ProfileCamera;
use crate::units::FramesPerSecond;

/// Where pictures come from. As text: `files:DIR`, `v4l2:/dev/video0`, `command:rpicam-vid …`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Source {
    /// The pictures of a folder, or those that a pattern such as `pictures/*.jpg` names.
    Files(PathBuf),
    /// A camera with a driver of Video4Linux: its device, or better its link under `/dev/v4l/by-id`, which it keeps when it is
    /// plugged in again.
    V4l2(PathBuf),
    /// A program that writes pictures on its standard output; `sh -c` runs it.
    Command(String),
}

/// Why a text names no source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// It does not begin as a source does.
    #[error("\"{0}\" names no source; give files:DIR, v4l2:/dev/video0 or command:PROGRAM")]
    Unknown(String),
    /// Nothing follows.
    #[error("nothing follows {0}; give files:DIR, v4l2:/dev/video0 or command:PROGRAM")]
    Empty(&'static str),
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        type Make = fn(&str) -> Source;
        let kinds: [(&'static str, Make); 3] = [
            ("files:", |rest| Self::Files(rest.into())),
            ("v4l2:", |rest| Self::V4l2(rest.into())),
            ("command:", |rest| Self::Command(rest.to_owned())),
        ];
        for (prefix, make) in kinds {
            match text.strip_prefix(prefix).map(str::trim) {
                Some("") => return Err(SourceError::Empty(prefix)),
                Some(rest) => return Ok(make(rest)),
                None => {}
            }
        }
        Err(SourceError::Unknown(text.to_owned()))
    }
}

impl TryFrom<String> for Source {
    type Error = SourceError;

    fn try_from(text: String) -> Result<Self, SourceError> {
        text.parse()
    }
}

impl From<Source> for String {
    fn from(source: Source) -> Self {
        source.to_string()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(path) => write!(f, "files:{}", path.display()),
            Self::V4l2(path) => write!(f, "v4l2:{}", path.display()),
            Self::Command(command) => write!(f, "command:{command}"),
        }
    }
}

/// How a folder's pictures are shown. Only for `files:` sources.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Files {
    /// Frames per second.
    pub rate: FramesPerSecond,
    /// Whether the first picture follows the last; without, the daemon ends after the last one, with exit code 0.
    #[serde(rename = "loop")]
    pub repeat: bool,
}

impl Default for Files {
    fn default() -> Self {
        Self { rate: FramesPerSecond::ONE, repeat: true }
    }
}

/// What the camera is asked for. Only for `v4l2:` sources.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawCamera {
    /// Pixels; the profile's where not given, 640 in most. A driver may choose its nearest.
    width: Option<u32>,
    /// Pixels; the profile's where not given, 480 in most.
    height: Option<u32>,
    /// Frames per second; the profile's where not given, 15 in most.
    rate: Option<FramesPerSecond>,
    /// A camera that gives no frame for so many milliseconds is opened again; 2000 where not given.
    timeout_ms: Option<u64>,
    /// How a frame is encoded: "mjpg", "yuyv", or "auto", where not given: MJPG if the camera has it.
    format: PixelFormat,
}

/// What the camera is asked for.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Camera {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Frames per second.
    pub rate: FramesPerSecond,
    /// A camera that gives no frame for so many milliseconds is opened again.
    pub timeout_ms: u64,
    /// How a frame is encoded.
    pub format: PixelFormat,
}

/// How a camera encodes a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PixelFormat {
    /// MJPG where the camera has it, else YUYV.
    #[default]
    Auto,
    /// A JPEG a frame.
    Mjpg,
    /// Two bytes a pixel; the horizontal neighbours of a pair share their colour.
    Yuyv,
}

impl RawCamera {
    pub(super) fn validate(self, profile: &ProfileCamera, check: &mut Check) -> Camera {
        let (width, height) = size(self.width, self.height, "camera", check);
        let timeout_ms = self.timeout_ms.unwrap_or(2000);
        if !(100..=600_000).contains(&timeout_ms) {
            check.problem("camera.timeout_ms", format!("{timeout_ms} ms; give 100 to 600000"));
        }
        Camera {
            width: width.unwrap_or(profile.width),
            height: height.unwrap_or(profile.height),
            rate: self.rate.unwrap_or(profile.rate),
            timeout_ms,
            format: self.format,
        }
    }
}

/// What the program writes. Only for `command:` sources.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawCommand {
    /// "mjpeg", where not given: one JPEG after the other; or "yuv420": raw planes, whose size must be given.
    format: CommandFormat,
    /// Pixels of a raw frame, even.
    width: Option<u32>,
    /// Pixels of a raw frame, even.
    height: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum CommandFormat {
    #[default]
    Mjpeg,
    Yuv420,
}

/// What a program writes on its standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "format")]
pub enum CommandOutput {
    /// One JPEG after the other.
    Mjpeg,
    /// Raw planes, Y then U then V, without padding: `width * height * 3 / 2` bytes a frame.
    Yuv420 {
        /// Pixels, even.
        width: u32,
        /// Pixels, even.
        height: u32,
    },
}

impl RawCommand {
    pub(super) fn validate(self, check: &mut Check) -> CommandOutput {
        let (width, height) = size(self.width, self.height, "command", check);
        let CommandFormat::Yuv420 = self.format else { return CommandOutput::Mjpeg };
        for (name, pixels) in [("width", width), ("height", height)] {
            let key = format!("command.{name}");
            match pixels {
                None => check
                    .problem(&key, format!("missing; raw frames do not tell their size, give the {name}")),
                Some(odd) if odd % 2 == 1 => {
                    check.problem(
                        &key,
                        format!("{odd} is odd; yuv420 has a colour for two pixels, give an even {name}"),
                    );
                }
                Some(_) => {}
            }
        }
        CommandOutput::Yuv420 { width: width.unwrap_or(0), height: height.unwrap_or(0) }
    }
}

/// The largest width and height that are believed.
const MAX_PIXELS: u32 = 8192;

fn size(
    width: Option<u32>,
    height: Option<u32>,
    section: &str,
    check: &mut Check,
) -> (Option<u32>, Option<u32>) {
    for (name, pixels) in [("width", width), ("height", height)] {
        if let Some(pixels) = pixels
            && !(16..=MAX_PIXELS).contains(&pixels)
        {
            check.problem(&format!("{section}.{name}"), format!("{pixels} pixels; give 16 to {MAX_PIXELS}"));
        }
    }
    (width, height)
}
