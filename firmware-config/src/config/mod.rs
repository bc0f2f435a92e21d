//! The daemon's configuration.

mod board;
mod caption;
mod document;
mod faults;
mod http;
mod keys;
mod log;
mod mqtt;

mod source;
mod url;
mod wording;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use board::{Backend, Board, Pins, Thermal};
pub use caption::{Calibration, Caption};
pub use faults::Faults;
pub use http::Http;
pub use log::Log;
pub use mqtt::Mqtt;
pub use source::{Camera, CommandOutput, Files, PixelFormat, Source, SourceError};
pub use url::{BrokerUrl, UrlError};

use crate::problem::{ConfigError, Problems};
use crate::profile::Profile;

/// The configuration as it is written. Relative paths start from the folder in which the daemon runs.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawConfig {
    /// Where pictures come from: "files:DIR" or "files:DIR/*.jpg", "v4l2:/dev/video0", or "command:PROGRAM".
    #[schemars(with = "String")]
    source: Option<Source>,
    /// The folder of what must survive: calibrations, their pictures, the token.
    state: Option<PathBuf>,
    /// The folder of the model bundle; where not given, METALENS_BUNDLE's, else the one beside the program.
    bundle: Option<PathBuf>,
    /// The board: its name decides what else is not given. "generic" where not given.
    #[schemars(extend("enum" = Profile::NAMES))]
    profile: Option<String>,
    /// Threads that caption; the profile's where not given.
    threads: Option<usize>,
    files: Files,
    camera: source::RawCamera,
    command: source::RawCommand,
    caption: Caption,
    calibration: Calibration,
    http: http::RawHttp,
    mqtt: mqtt::RawMqtt,
    log: log::RawLog,
    board: board::RawBoard,
    thermal: board::RawThermal,
    faults: Faults,
}

/// A configuration that can be: what is not written has its default, and the profile's where it has one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Config {
    /// Where pictures come from.
    pub source: Source,
    /// The folder of what must survive.
    pub state: PathBuf,
    /// The folder of the model bundle; none leaves the choice to the program.
    pub bundle: Option<PathBuf>,
    /// The board.
    pub profile: Profile,
    /// Threads that caption.
    pub threads: usize,
    /// How a folder's pictures are shown.
    pub files: Files,
    /// What a camera is asked for.
    pub camera: Camera,
    /// What a program writes.
    pub command: CommandOutput,
    /// When a caption is published.
    pub caption: Caption,
    /// What helps to calibrate on the device.
    pub calibration: Calibration,
    /// The page and the API; none where they are turned off.
    pub http: Option<Http>,
    /// Captions to a broker.
    pub mqtt: Option<Mqtt>,
    /// Captions on disk.
    pub log: Option<Log>,
    /// Button and light.
    pub board: Board,
    /// When captioning rests because the board is too warm.
    pub thermal: Option<Thermal>,
    /// A source that misbehaves on purpose.
    pub faults: Option<Faults>,
}

impl Config {
    /// Reads and checks a configuration's file.
    ///
    /// # Errors
    /// When the file cannot be read, and as [`Self::parse`]; every problem names the file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Io { path: path.to_owned(), source })?;
        Ok(Self::parse(&text).map_err(|problems| problems.of_file(path))?)
    }

    /// Checks a configuration.
    ///
    /// # Errors
    /// With everything that is wrong, each with its line.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        let (raw, check) = document::read(text)?;
        raw.validate(check)
    }
}

impl RawConfig {
    fn validate(self, mut check: document::Check) -> Result<Config, Problems> {
        let profile = profile(self.profile.as_deref(), &mut check);
        if self.source.is_none() {
            check.problem(
                "source",
                "missing; give source = \"files:DIR\", \"v4l2:/dev/video0\" or \"command:PROGRAM\"",
            );
        }
        if self.state.is_none() {
            check
                .problem("state", "missing; give the folder of what must survive, such as state = \"state\"");
        }
        if self.state.as_ref().is_some_and(|state| state.as_os_str().is_empty()) {
            check.problem("state", "empty; give the folder of what must survive, such as state = \"state\"");
        }
        let threads = self.threads.unwrap_or(profile.threads);
        if !(1..=64).contains(&threads) {
            check.problem("threads", format!("{threads} threads; give 1 to 64"));
        }
        let source = self.source.unwrap_or_else(|| profile.camera.source.clone());
        let config = Config {
            source,
            state: self.state.unwrap_or_default(),
            bundle: self.bundle,
            threads,
            files: self.files,
            camera: self.camera.validate(&profile.camera, &mut check),
            command: self.command.validate(&mut check),
            caption: self.caption.validate(profile.max_rate, &mut check),
            calibration: self.calibration.validate(&mut check),
            http: self.http.validate(&mut check),
            mqtt: self.mqtt.validate(&mut check),
            log: self.log.validate(&mut check),
            board: self.board.validate(&profile.board, &mut check),
            thermal: self.thermal.validate(profile.thermal.as_ref(), &mut check),
            faults: self.faults.validate(&mut check),
            profile,
        };
        check.finish().map_or(Ok(config), Err)
    }
}

/// The named profile; after a problem the generic one, so that the rest can be checked.
fn profile(name: Option<&str>, check: &mut document::Check) -> Profile {
    let name = name.unwrap_or(Profile::GENERIC);
    Profile::named(name).unwrap_or_else(|| {
        check.problem("profile", wording::unknown_value(name, Profile::NAMES.into_iter()));
        Profile::generic()
    })
}
