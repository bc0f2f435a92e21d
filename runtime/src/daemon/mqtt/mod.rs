//! Captions to a broker, and to Home Assistant.
//!
//! | topic | payload | retained |
//! |---|---|---|
//! | `BASE/available` | `online`, or `offline`: also when the daemon is killed, by the broker | yes |
//! | `BASE/caption` | the caption, at most 255 characters | yes |
//! | `BASE/caption/json` | the line of standard output | yes |
//! | `BASE/stats` | every 10 s: phase, captions, rate, frames, temperature, generation, version | no |
//! | `BASE/calibrate/set` | what to do: see [`command`] | ignored if it is |
//! | `BASE/calibrate/state` | how calibration stands, and the answer to the last command | yes |
//! | `DISCOVERY/device/NODE/config` | what the device is, for Home Assistant: see [`discovery`] | yes |
//! | `DISCOVERY/status` | `online` when Home Assistant has started; it is told everything again | – |
//!
//! Captions wait for nothing here. While there is no connection they pass by, and the last one is told when there is one
//! again, with everything else that is retained: the broker may have forgotten it.

mod backoff;
mod command;
mod connect;
mod discovery;
mod error;
mod outbox;
mod session;
mod stats;
mod text;
mod topics;

use std::mem::{Discriminant, discriminant};
use std::sync::Arc;
use std::time::Instant;

use metalens_firmware_config::Mqtt as Settings;
use serde::Serialize;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::metrics::Kind;
use super::workshop::Standing;
use super::{Daemon, Published};
use backoff::Backoff;
use command::Answer;
use error::MqttError;
use session::Session;
use topics::Topics;

/// Commands that wait to be done, and answers that wait to be told.
const WAITING: usize = 8;

/// When the daemon is about to end, or has forgotten the client.
pub type Farewell = oneshot::Receiver<()>;

/// A client of the broker, with what outlives a connection.
pub struct Mqtt {
    daemon: Daemon,
    settings: Settings,
    topics: Topics,
    captions: broadcast::Receiver<Arc<Published>>,
    standing: watch::Receiver<Standing>,
    last: Option<Arc<Published>>,
    answer: Option<Answer>,
    /// Why there is no connection, as it was told last; none while there is one.
    told: Option<Discriminant<MqttError>>,
}

impl Mqtt {
    /// As the daemon is configured; none without a broker.
    #[must_use]
    pub fn new(daemon: &Daemon) -> Option<Self> {
        let settings = daemon.config.mqtt.clone()?;
        Some(Self {
            topics: Topics::new(&settings),
            settings,
            captions: daemon.hub.captions(),
            standing: daemon.workshop.watch(),
            daemon: daemon.clone(),
            last: None,
            answer: None,
            told: None,
        })
    }

    /// Publishes until the daemon ends, and then says so; looks for the broker whenever it is lost.
    pub async fn run(mut self, mut farewell: Farewell) {
        let (tell, told) = mpsc::channel(WAITING);
        let (answer, mut answers) = mpsc::channel(WAITING);
        tokio::spawn(command::obey(self.daemon.workshop.clone(), told, answer));
        let mut backoff = Backoff::default();
        loop {
            let began = Instant::now();
            let Err(error) = Session::new(&mut self, &tell, &mut answers).run(&mut farewell).await else {
                return;
            };
            self.lost(&error);
            tokio::select! {
                () = tokio::time::sleep(backoff.after(began.elapsed())) => {}
                _ = &mut farewell => return,
            }
        }
    }

    /// Told once for each reason, however long the broker is away.
    fn lost(&mut self, error: &MqttError) {
        if self.told.is_none() {
            self.daemon.hub.metrics.error(Kind::mqtt);
        }
        if self.told.replace(discriminant(error)) != Some(discriminant(error)) {
            tracing::warn!("the broker is lost and looked for: {error}");
        }
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("text, numbers and lists of them can be written as JSON")
}
