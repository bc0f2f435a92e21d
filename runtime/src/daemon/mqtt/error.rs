//! Why there is no connection to the broker. No message has the password in it.

use std::path::PathBuf;

use metalens_firmware_config::{BrokerUrl, SecretError};
use rumqttc::{ConnectReturnCode, ConnectionError, StateError, TlsError};

/// Why there is no connection to the broker.
#[derive(Debug, thiserror::Error)]
pub enum MqttError {
    /// The password cannot be looked up.
    #[error("mqtt: no password: {0}")]
    Password(#[from] SecretError),
    /// The certificates cannot be used.
    #[error("mqtt.ca_file: {path}: {reason}; give certificates as PEM", path = path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system has no certificates.
    #[error("mqtt.ca_file: missing, and this system has no certificates of its own; give the broker's")]
    NoRoots,
    /// The broker's certificate is not trusted, or it does not speak TLS.
    #[error("mqtt.url: no TLS with {url}: {reason}; check mqtt.ca_file, and that the port is that of TLS")]
    Tls {
        /// The broker.
        url: BrokerUrl,
        /// What TLS says.
        reason: String,
    },
    /// The broker does not let the daemon in.
    #[error("mqtt.username: {0} does not let it in; check the name and its password")]
    Credentials(BrokerUrl),
    /// The broker wants no connection of this kind.
    #[error("mqtt.url: {url} refuses the connection ({code:?}); ask who runs it")]
    Refused {
        /// The broker.
        url: BrokerUrl,
        /// Its reason.
        code: ConnectReturnCode,
    },
    /// There is no connection, or no longer.
    #[error("mqtt.url: {url}: {reason}")]
    Lost {
        /// The broker.
        url: BrokerUrl,
        /// What happened.
        reason: String,
    },
}

impl MqttError {
    /// What the connection to `url` failed with.
    #[must_use]
    pub fn of(error: ConnectionError, url: &BrokerUrl) -> Self {
        let url = url.clone();
        let reason = match error {
            ConnectionError::ConnectionRefused(
                ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized,
            ) => return Self::Credentials(url),
            ConnectionError::ConnectionRefused(code) => return Self::Refused { url, code },
            ConnectionError::Tls(TlsError::Io(error)) => return Self::Tls { url, reason: error.to_string() },
            ConnectionError::Tls(error) => return Self::Tls { url, reason: error.to_string() },
            ConnectionError::Io(error) => error.to_string(),
            ConnectionError::MqttState(StateError::ConnectionAborted) => {
                "the connection was closed".to_owned()
            }
            ConnectionError::MqttState(StateError::AwaitPingResp)
            | ConnectionError::NetworkTimeout
            | ConnectionError::FlushTimeout => "the broker does not answer".to_owned(),
            error => error.to_string(),
        };
        Self::Lost { url, reason }
    }
}
