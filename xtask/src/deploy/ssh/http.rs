//! The daemon's health, over a forwarded connection: the device needs no tool for it, and the daemon no open port.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use serde::Deserialize;

use super::session::{Session, no_connection};
use crate::deploy::device::{DeviceError, Health, Result};

/// A daemon that answers at all answers sooner.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a daemon of this configuration answers on the device itself.
pub fn address(config: &str) -> String {
    #[derive(Default, Deserialize)]
    struct Config {
        #[serde(default)]
        http: Http,
    }
    #[derive(Default, Deserialize)]
    struct Http {
        listen: Option<SocketAddr>,
    }
    // What the daemon does not understand keeps it from starting, and it says so itself.
    let listen = toml::from_str::<Config>(config).unwrap_or_default().http.listen;
    let listen = listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080)));
    match listen.ip() {
        ip if !ip.is_unspecified() => listen.to_string(),
        _ => format!("localhost:{}", listen.port()),
    }
}

/// Asks the daemon; none where it does not answer.
pub fn health(session: &Session, address: &str) -> Result<Option<Health>> {
    let failed =
        |error: std::io::Error| DeviceError::Failed { what: "ssh -W".into(), message: error.to_string() };
    let mut command = session.forward(address);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let (sender, receiver) = mpsc::channel();
    if let (Some(stdin), Some(mut stdout)) = (&mut child.stdin, child.stdout.take()) {
        // A connection that was refused is told on stderr.
        let _ = stdin.write_all(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n");
        std::thread::spawn(move || {
            let mut answer = Vec::new();
            let _ = stdout.read_to_end(&mut answer);
            let _ = sender.send(answer);
        });
    }
    let answer = receiver.recv_timeout(PATIENCE).unwrap_or_default();
    // Ended already, unless it hangs.
    let _ = child.kill();
    let output = child.wait_with_output().map_err(failed)?;
    if let Some(health) = parse(&answer) {
        return Ok(Some(health));
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("administratively prohibited") {
        let message = "the device's sshd forbids forwarding; set AllowTcpForwarding to yes or local there";
        return Err(DeviceError::Failed { what: "the daemon's health".into(), message: message.into() });
    }
    match no_connection(session.host(), &stderr) {
        // That of the daemon's port, not of the device.
        Some(DeviceError::Unreachable { .. })
            if stderr.contains("open failed") || stderr.contains("forward") =>
        {
            Ok(None)
        }
        Some(error) => Err(error),
        None => Ok(None),
    }
}

/// The health in an answer, of whatever status: a daemon that is not well says why.
pub fn parse(answer: &[u8]) -> Option<Health> {
    let text = std::str::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/").then(|| serde_json::from_str(body).ok())?
}
