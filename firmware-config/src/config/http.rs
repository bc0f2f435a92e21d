//! `[http]`: the page and the API.

use std::net::{Ipv4Addr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::document::Check;

/// The page and the API.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawHttp {
    /// Whether they are served.
    enabled: bool,
    /// Address and port. 127.0.0.1 is seen from the device alone, 0.0.0.0 from its whole network.
    listen: String,
    /// Captions that the page shows of the past.
    history: usize,
    /// A longer request is refused.
    max_body_bytes: usize,
    /// Further origins, such as "https://house.example", whose pages may change things.
    origins: Vec<String>,
}

/// The page and the API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Http {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Captions that the page shows of the past.
    pub history: usize,
    /// A longer request is refused.
    pub max_body_bytes: usize,
    /// Further origins whose pages may change things: scheme, host and port, in lower case, as browsers send them.
    pub origins: Vec<String>,
}

impl Default for RawHttp {
    fn default() -> Self {
        let Http { listen, history, max_body_bytes, origins } = Http::default();
        Self { enabled: true, listen: listen.to_string(), history, max_body_bytes, origins }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            history: 100,
            max_body_bytes: 16 << 20,
            origins: Vec::new(),
        }
    }
}

impl RawHttp {
    /// None where it is turned off.
    pub(super) fn validate(self, check: &mut Check) -> Option<Http> {
        let listen = self.listen.parse().unwrap_or_else(|_| {
            let message =
                format!("\"{}\" is no address with a port; give one such as 127.0.0.1:8080", self.listen);
            check.problem("http.listen", message);
            Http::default().listen
        });
        if self.history > 10_000 {
            check.problem("http.history", format!("{} captions; give 0 to 10000", self.history));
        }
        if !(1 << 10..=256 << 20).contains(&self.max_body_bytes) {
            let message = format!("{} bytes; give 1024 to {}", self.max_body_bytes, 256 << 20);
            check.problem("http.max_body_bytes", message);
        }
        for origin in &self.origins {
            if !is_origin(origin) {
                let message =
                    format!("\"{origin}\" is no origin; give scheme and host, such as https://house.example");
                check.problem("http.origins", message);
            }
        }
        let origins = self.origins.iter().map(|origin| origin.to_ascii_lowercase()).collect();
        let http = Http { listen, history: self.history, max_body_bytes: self.max_body_bytes, origins };
        self.enabled.then_some(http)
    }
}

/// Scheme, host, and perhaps a port. `*` is none: it would let every page in the world change things.
fn is_origin(text: &str) -> bool {
    let host = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@', '*', ' ']))
}
