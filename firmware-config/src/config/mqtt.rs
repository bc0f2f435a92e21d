//! `[mqtt]`: captions to a broker, and to Home Assistant.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::document::Check;
use super::url::BrokerUrl;
use crate::secret::Secret;

/// Captions to a broker, and to Home Assistant. Off without `url`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawMqtt {
    /// The broker: "mqtt://host:1883", or "mqtts://host:8883" with TLS.
    url: Option<String>,
    /// The topics' beginning; "metalens/NODE" where not given.
    base: Option<String>,
    /// The device's name for the broker and Home Assistant: letters, digits, - and _; "metalens" where not given.
    node: Option<String>,
    /// Home Assistant's discovery prefix; "homeassistant" where not given, "" turns discovery off.
    discovery: Option<String>,
    /// Who the broker is told to let in.
    username: Option<String>,
    /// A file with the password.
    password_file: Option<PathBuf>,
    /// An environment variable with the password.
    password_env: Option<String>,
    /// Certificates that the broker's is checked against, as PEM; the well-known ones where not given.
    ca_file: Option<PathBuf>,
}

/// Captions to a broker, and to Home Assistant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mqtt {
    /// The broker.
    pub url: BrokerUrl,
    /// The topics' beginning, without a slash at its end.
    pub base: String,
    /// The device's name: letters, digits, `-` and `_`.
    pub node: String,
    /// Home Assistant's discovery prefix; none turns discovery off.
    pub discovery: Option<String>,
    /// Who the broker is told to let in.
    pub username: Option<String>,
    /// Where the password is.
    pub password: Option<Secret>,
    /// Certificates that the broker's is checked against, as PEM; the well-known ones where not given.
    pub ca_file: Option<PathBuf>,
}

impl RawMqtt {
    /// None without the section.
    pub(super) fn validate(self, check: &mut Check) -> Option<Mqtt> {
        if !check.has("mqtt") {
            return None;
        }
        let url = self.url(check);
        let node = self.node.clone().unwrap_or_else(|| "metalens".to_owned());
        if node.is_empty() || !node.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
            check.problem(
                "mqtt.node",
                format!("\"{node}\" is no name for a device; use letters, digits, - and _"),
            );
        }
        let base = self.base.clone().unwrap_or_else(|| format!("metalens/{node}"));
        check_topic("mqtt.base", &base, check);
        let discovery = self.discovery.clone().unwrap_or_else(|| "homeassistant".to_owned());
        if !discovery.is_empty() {
            check_topic("mqtt.discovery", &discovery, check);
        }
        let password = self.password(check);
        if password.is_some() && self.username.is_none() {
            check.problem("mqtt.username", "missing; MQTT has no password without a user name, give both");
        }
        if self.ca_file.is_some() && url.as_ref().is_some_and(|url| !url.tls) {
            check.problem(
                "mqtt.ca_file",
                "certificates are for TLS; give an mqtts:// url, or take the key out",
            );
        }
        let discovery = (!discovery.is_empty()).then_some(discovery);
        url.map(|url| Mqtt {
            url,
            base,
            node,
            discovery,
            username: self.username,
            password,
            ca_file: self.ca_file,
        })
    }

    fn url(&self, check: &mut Check) -> Option<BrokerUrl> {
        let Some(url) = &self.url else {
            check.problem(
                "mqtt.url",
                "missing; give the broker, such as mqtt://host:1883, or take the section out",
            );
            return None;
        };
        url.parse().map_err(|error: super::url::UrlError| check.problem("mqtt.url", error.to_string())).ok()
    }

    fn password(&self, check: &mut Check) -> Option<Secret> {
        match (&self.password_file, &self.password_env) {
            (Some(_), Some(_)) => {
                check.problem("mqtt.password_env", "password_file is given too; take one of them out");
                None
            }
            (Some(path), None) => Some(Secret::File(path.clone())),
            (None, Some(name)) if name.is_empty() || name.contains(['=', '\0']) => {
                check.problem(
                    "mqtt.password_env",
                    "is no name of an environment variable; give one, not the password",
                );
                None
            }
            (None, Some(name)) => Some(Secret::Env(name.clone())),
            (None, None) => None,
        }
    }
}

/// A topic that others are made of: wildcards and empty levels have meanings of their own.
fn check_topic(key: &str, topic: &str, check: &mut Check) {
    let refused =
        topic.contains(['+', '#', '\0']) || topic.split('/').any(str::is_empty) || topic.starts_with('$');
    if refused {
        let message =
            format!("\"{topic}\" is no beginning of topics; give words with / between, without + # and $");
        check.problem(key, message);
    }
}
