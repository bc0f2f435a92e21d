//! The topics' names, in one place.

use metalens_firmware_config::Mqtt;

/// What [`Topics::available`] says while the daemon runs, and Home Assistant of itself when it has started.
pub const ONLINE: &str = "online";
/// What it says otherwise, by the broker if the daemon cannot.
pub const OFFLINE: &str = "offline";

/// The topics' names.
#[derive(Clone, Debug)]
pub struct Topics {
    /// Whether the daemon runs.
    pub available: String,
    /// The caption, as text.
    pub caption: String,
    /// The caption, with everything that standard output has.
    pub caption_json: String,
    /// How it goes.
    pub stats: String,
    /// What the daemon is told to do.
    pub set: String,
    /// How calibration stands.
    pub state: String,
    /// Home Assistant's, where it is to find the device.
    pub home: Option<Home>,
}

/// Home Assistant's topics.
#[derive(Clone, Debug)]
pub struct Home {
    /// What the device is.
    pub device: String,
    /// Home Assistant says there that it has started.
    pub status: String,
}

impl Topics {
    /// As configured.
    #[must_use]
    pub fn new(settings: &Mqtt) -> Self {
        let of = |topic: &str| format!("{}/{topic}", settings.base);
        Self {
            available: of("available"),
            caption: of("caption"),
            caption_json: of("caption/json"),
            stats: of("stats"),
            set: of("calibrate/set"),
            state: of("calibrate/state"),
            home: settings.discovery.as_ref().map(|prefix| Home {
                device: format!("{prefix}/device/{}/config", settings.node),
                status: format!("{prefix}/status"),
            }),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use metalens_firmware_config::Config;

    use super::*;

    /// `[mqtt]` with these lines beside its url.
    pub fn settings(lines: &str) -> Mqtt {
        let text = format!("source = \"files:x\"\nstate = \"y\"\n[mqtt]\nurl = \"mqtt://broker\"\n{lines}");
        Config::parse(&text).unwrap().mqtt.unwrap()
    }

    #[test]
    fn topics_begin_with_the_base_and_those_of_home_assistant_with_its_prefix() {
        let topics = Topics::new(&settings("node = \"bench-3\"\ndiscovery = \"ha\""));
        let home = topics.home.unwrap();
        assert_eq!(
            [
                topics.available,
                topics.caption,
                topics.caption_json,
                topics.stats,
                topics.set,
                topics.state,
                home.device,
                home.status
            ],
            [
                "metalens/bench-3/available",
                "metalens/bench-3/caption",
                "metalens/bench-3/caption/json",
                "metalens/bench-3/stats",
                "metalens/bench-3/calibrate/set",
                "metalens/bench-3/calibrate/state",
                "ha/device/bench-3/config",
                "ha/status"
            ]
        );
    }

    #[test]
    fn without_discovery_home_assistant_has_no_topics() {
        assert!(Topics::new(&settings("discovery = \"\"")).home.is_none());
    }
}
