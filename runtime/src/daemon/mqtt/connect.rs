//! How the broker is connected to: who, with which password, trusting which certificates.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use metalens_firmware_config::Mqtt;
use rumqttc::{LastWill, MqttOptions, QoS, TlsConfiguration, Transport};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::error::MqttError;
use super::topics::{OFFLINE, Topics};

/// A broker that is silent for twice as long is gone; it says "offline" of a device that is silent for half as long again.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Bytes of the longest message. MQTT 3.1.1 has no way to tell the broker, so a longer one costs the connection.
const LONGEST: usize = 1 << 20;

/// How to connect, from what stands in files and the environment now.
///
/// # Errors
/// When the password or the certificates cannot be read.
pub fn options(settings: &Mqtt, topics: &Topics) -> Result<MqttOptions, MqttError> {
    let url = &settings.url;
    let mut options = MqttOptions::new(format!("metalens-{}", settings.node), &url.host, url.port);
    options.set_keep_alive(KEEP_ALIVE).set_max_packet_size(LONGEST, LONGEST);
    options.set_last_will(LastWill::new(&topics.available, OFFLINE, QoS::AtLeastOnce, true));
    if let Some(username) = &settings.username {
        let password = settings.password.as_ref().map(|secret| secret.reveal()).transpose()?;
        options.set_credentials(username, password.as_ref().map_or("", |password| password.expose()));
    }
    if url.tls {
        let roots = match &settings.ca_file {
            Some(path) => roots_of(path)?,
            None => roots_of_system()?,
        };
        let client = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has the ciphers of every version of TLS")
            .with_root_certificates(roots)
            .with_no_client_auth();
        options.set_transport(Transport::tls_with_config(TlsConfiguration::from(client)));
    }
    Ok(options)
}

fn roots_of(path: &Path) -> Result<RootCertStore, MqttError> {
    let refused = |reason: String| MqttError::CaFile { path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| refused(error.to_string()))? {
        let certificate = certificate.map_err(|error| refused(error.to_string()))?;
        roots.add(certificate).map_err(|error| refused(error.to_string()))?;
    }
    if roots.is_empty() { Err(refused("holds no certificate".to_owned())) } else { Ok(roots) }
}

fn roots_of_system() -> Result<RootCertStore, MqttError> {
    let mut roots = RootCertStore::empty();
    // One that cannot be read is one that nothing is signed with.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(MqttError::NoRoots) } else { Ok(roots) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::topics::tests::settings;
    use super::*;

    fn connect(lines: &str) -> Result<MqttOptions, MqttError> {
        let settings = settings(lines);
        options(&settings, &Topics::new(&settings))
    }

    #[test]
    fn the_broker_says_offline_of_a_daemon_that_is_gone() {
        let will = connect("").unwrap().last_will().unwrap();
        assert_eq!((will.topic.as_str(), &*will.message), ("metalens/metalens/available", &b"offline"[..]));
        assert!(will.retain);
    }

    #[test]
    fn the_password_is_looked_up_at_each_connection() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        let lines = format!("username = \"me\"\npassword_file = {path:?}");
        let error = connect(&lines).unwrap_err().to_string();
        assert!(error.starts_with("mqtt: no password: ") && error.contains("/password: "), "{error}");
        for password in ["sesame", "open"] {
            std::fs::write(&path, password).unwrap();
            let login = connect(&lines).unwrap().credentials().unwrap();
            assert_eq!((login.username.as_str(), login.password.as_str()), ("me", password));
        }
    }

    #[test]
    fn certificates_that_are_none_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let mut settings = settings("");
        settings.url = "mqtts://broker".parse().unwrap();
        settings.ca_file = Some(path.clone());
        let topics = Topics::new(&settings);
        for content in
            [None, Some(""), Some("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")]
        {
            if let Some(content) = content {
                std::fs::write(&path, content).unwrap();
            }
            let error = options(&settings, &topics).unwrap_err().to_string();
            assert!(error.starts_with(&format!("mqtt.ca_file: {}: ", path.display())), "{error}");
        }
    }
}
