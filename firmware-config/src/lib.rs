//! Device profiles, the configuration of the daemon, systemd units and udev rules.
//!
//! ```
//! use metalens_firmware_config::Config;
//!
//! let config = Config::parse("source = 'files:pictures'\nstate = 'state'").unwrap();
//! assert_eq!(config.files.rate.get(), 1.0);
//!
//! let problems = Config::parse("source = 'files:pictures'\nsate = 'state'").unwrap_err();
//! assert_eq!(
//!     problems.to_string(),
//!     "line 1: state: missing; give the folder of what must survive, such as state = \"state\"\n\
//!      line 2: sate: unknown key; did you mean `state`?"
//! );
//! ```

mod config;
mod files;
mod problem;
mod profile;
mod schema;
mod secret;
mod units;

pub use config::{
    Backend, Board, BrokerUrl, Calibration, Camera, Caption, CommandOutput, Config, Faults, Files, Http, Log,
    Mqtt, Pins, PixelFormat, Source, SourceError, Thermal, UrlError,
};
pub use files::{EXAMPLE, GUARD, SYSUSERS, UDEV_RULES, UNIT, UNIT_NAME, starter};
pub use problem::{ConfigError, Problem, Problems};
pub use profile::{Profile, ProfileCamera};
pub use schema::schema;
pub use secret::{Revealed, Secret, SecretError};
pub use units::{Celsius, FramesPerSecond, OutOfRange, Probability};
