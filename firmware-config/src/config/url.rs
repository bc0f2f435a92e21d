//! A broker's address.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// A broker's address. It never holds a password: a url is logged and shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BrokerUrl {
    /// Whether the connection is encrypted, `mqtts://`.
    pub tls: bool,
    /// Name or address; that of IPv6 without brackets.
    pub host: String,
    /// The port; 1883 where the url has none, 8883 with TLS.
    pub port: u16,
}

/// Why a url names no broker. No message repeats the url, which may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// There is no `://`.
    #[error("is no url; give mqtt://host:1883, or mqtts://host:8883 for TLS")]
    NoScheme,
    /// Another scheme than MQTT's.
    #[error("{0}:// is not spoken; give mqtt://host:1883, or mqtts://host:8883 for TLS")]
    Scheme(String),
    /// User name or password stand in it.
    #[error(
        "holds a user or a password, which would be logged; use username, and password_file or password_env"
    )]
    Credentials,
    /// Something follows the port.
    #[error("goes on after host and port; MQTT has no paths, topics begin with what mqtt.base says")]
    Path,
    /// There is no host.
    #[error("has no host; give mqtt://host:1883")]
    NoHost,
    /// The port is none.
    #[error("has no port that exists; give 1 to 65535, such as mqtt://host:1883")]
    Port,
}

impl FromStr for BrokerUrl {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::NoScheme)?;
        if rest.contains('@') {
            return Err(UrlError::Credentials);
        }
        let tls = match scheme {
            "mqtt" => false,
            "mqtts" => true,
            other => return Err(UrlError::Scheme(other.to_owned())),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#']) {
            return Err(UrlError::Path);
        }
        let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or(UrlError::Port)?)),
            None => rest.split_once(':').map_or((rest, None), |(host, port)| (host, Some(port))),
        };
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(UrlError::NoHost);
        }
        let port = match port.map(str::parse) {
            None => {
                if tls {
                    8883
                } else {
                    1883
                }
            }
            Some(Ok(port)) if port > 0 => port,
            Some(_) => return Err(UrlError::Port),
        };
        Ok(Self { tls, host: host.to_owned(), port })
    }
}

impl fmt::Display for BrokerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "mqtts" } else { "mqtt" };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, UrlError> {
        text.parse().map(|url: BrokerUrl| url.to_string())
    }

    #[test]
    fn the_port_follows_from_the_scheme() {
        assert_eq!(parse("mqtt://broker").as_deref(), Ok("mqtt://broker:1883"));
        assert_eq!(parse("mqtts://broker/").as_deref(), Ok("mqtts://broker:8883"));
        assert_eq!(parse("mqtt://broker:99").as_deref(), Ok("mqtt://broker:99"));
    }

    #[test]
    fn an_address_of_ipv6_stands_in_brackets() {
        assert_eq!(parse("mqtt://[::1]").as_deref(), Ok("mqtt://[::1]:1883"));
        assert_eq!(parse("mqtt://[fe80::2]:18").as_deref(), Ok("mqtt://[fe80::2]:18"));
    }

    #[test]
    fn a_password_in_the_url_is_refused_and_not_repeated() {
        for url in ["mqtt://me:sesame@broker", "http://me:sesame@broker"] {
            let error = parse(url).unwrap_err();
            assert_eq!(error, UrlError::Credentials);
            assert!(!error.to_string().contains("sesame"));
        }
    }

    #[test]
    fn what_is_no_broker_is_refused_with_its_reason() {
        assert_eq!(parse("broker:1883"), Err(UrlError::NoScheme));
        assert_eq!(parse("tcp://broker"), Err(UrlError::Scheme("tcp".to_owned())));
        assert_eq!(parse("mqtt://"), Err(UrlError::NoHost));
        assert_eq!(parse("mqtt://broker:0"), Err(UrlError::Port));
        assert_eq!(parse("mqtt://broker:70000"), Err(UrlError::Port));
        assert_eq!(parse("mqtt://broker/topic"), Err(UrlError::Path));
    }
}
