//! What Home Assistant is told of the device, in the one message of its device discovery (2024.12 or later).
//!
//! <https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload>

use metalens_firmware_config::Mqtt;
use serde_json::{Value, json};

use super::topics::Topics;
use crate::daemon::Release;

/// Whether the board's temperature is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thermometer {
    /// There is a sensor of it.
    Present,
    /// There is none.
    Absent,
}

/// The device: its caption, its rates, and what it can be told to do.
#[must_use]
pub fn device(settings: &Mqtt, topics: &Topics, release: &Release, thermometer: Thermometer) -> Value {
    let id = |what: &str| format!("metalens_{}_{what}", settings.node);
    let temperature = match thermometer {
        Thermometer::Present => json!({
            "platform": "sensor",
            "unique_id": id("temperature"),
            "device_class": "temperature",
            "unit_of_measurement": "°C",
            "state_class": "measurement",
            "entity_category": "diagnostic",
            "state_topic": topics.stats,
            "value_template": "{{ value_json.temperature_celsius }}",
        }),
        // A component without anything but its platform goes, if it was there.
        Thermometer::Absent => json!({ "platform": "sensor" }),
    };
    let button = |what: &str, name: &str, icon: &str| {
        json!({
            "platform": "button",
            "unique_id": id(what),
            "name": name,
            "icon": icon,
            "command_topic": topics.set,
            "payload_press": what,
        })
    };
    json!({
        "device": {
            "identifiers": [format!("metalens_{}", settings.node)],
            "name": settings.node,
            "manufacturer": "Metalens",
            "model": release.bundle_name,
            "sw_version": release.version,
        },
        "origin": { "name": "metalens", "sw_version": release.version },
        "availability_topic": topics.available,
        "qos": 1,
        "components": {
            "caption": {
                "platform": "sensor",
                "unique_id": id("caption"),
                "name": "Caption",
                "icon": "mdi:subtitles-outline",
                "state_topic": topics.caption,
                "json_attributes_topic": topics.caption_json,
            },
            "rate": {
                "platform": "sensor",
                "unique_id": id("rate"),
                "name": "Captions per second",
                "icon": "mdi:speedometer",
                "unit_of_measurement": "1/s",
                "state_class": "measurement",
                "entity_category": "diagnostic",
                "state_topic": topics.stats,
                "value_template": "{{ value_json.captions_per_second }}",
            },
            "temperature": temperature,
            "adapt": button("adapt", "Calibrate", "mdi:school-outline"),
            "undo": button("undo", "Undo calibration", "mdi:undo"),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::super::topics::tests::settings;
    use super::*;

    fn release() -> Release {
        Release {
            version: "1.2.3".to_owned(),
            release: None,
            bundle_name: "flickr8k-lite0".to_owned(),
            bundle: "abc".to_owned(),
        }
    }

    #[test]
    fn home_assistant_is_told_of_one_device_with_its_sensors_and_buttons() {
        let settings = settings("node = \"bench\"");
        let found = device(&settings, &Topics::new(&settings), &release(), Thermometer::Present);
        let expected = json!({
            "device": {
                "identifiers": ["metalens_bench"],
                "name": "bench",
                "manufacturer": "Metalens",
                "model": "flickr8k-lite0",
                "sw_version": "1.2.3"
            },
            "origin": { "name": "metalens", "sw_version": "1.2.3" },
            "availability_topic": "metalens/bench/available",
            "qos": 1,
            "components": {
                "caption": {
                    "platform": "sensor",
                    "unique_id": "metalens_bench_caption",
                    "name": "Caption",
                    "icon": "mdi:subtitles-outline",
                    "state_topic": "metalens/bench/caption",
                    "json_attributes_topic": "metalens/bench/caption/json"
                },
                "rate": {
                    "platform": "sensor",
                    "unique_id": "metalens_bench_rate",
                    "name": "Captions per second",
                    "icon": "mdi:speedometer",
                    "unit_of_measurement": "1/s",
                    "state_class": "measurement",
                    "entity_category": "diagnostic",
                    "state_topic": "metalens/bench/stats",
                    "value_template": "{{ value_json.captions_per_second }}"
                },
                "temperature": {
                    "platform": "sensor",
                    "unique_id": "metalens_bench_temperature",
                    "device_class": "temperature",
                    "unit_of_measurement": "°C",
                    "state_class": "measurement",
                    "entity_category": "diagnostic",
                    "state_topic": "metalens/bench/stats",
                    "value_template": "{{ value_json.temperature_celsius }}"
                },
                "adapt": {
                    "platform": "button",
                    "unique_id": "metalens_bench_adapt",
                    "name": "Calibrate",
                    "icon": "mdi:school-outline",
                    "command_topic": "metalens/bench/calibrate/set",
                    "payload_press": "adapt"
                },
                "undo": {
                    "platform": "button",
                    "unique_id": "metalens_bench_undo",
                    "name": "Undo calibration",
                    "icon": "mdi:undo",
                    "command_topic": "metalens/bench/calibrate/set",
                    "payload_press": "undo"
                }
            }
        });
        assert_eq!(found, expected, "{found:#}");
    }

    #[test]
    fn a_board_without_a_thermometer_has_no_sensor_of_it() {
        let settings = settings("");
        let found = device(&settings, &Topics::new(&settings), &release(), Thermometer::Absent);
        assert_eq!(found["components"]["temperature"], json!({ "platform": "sensor" }));
    }
}
