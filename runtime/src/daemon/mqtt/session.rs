//! One connection to the broker, from its first packet to its loss.

use std::sync::Arc;
use std::time::Duration;

use rumqttc::{AsyncClient, Event, EventLoop, Outgoing, Packet, Publish, SubscribeReasonCode};
use serde::Serialize;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::sync::mpsc::{Receiver, Sender};
use tokio::time::{Instant, sleep_until};

use super::command::Answer;
use super::discovery::{self, Thermometer};
use super::error::MqttError;
use super::outbox::{self, Outbox};
use super::stats::stats;
use super::text::short;
use super::topics::{OFFLINE, ONLINE};
use super::{Farewell, Mqtt, connect, json};
use crate::daemon::{Published, Standing};

/// How often it is told how it goes.
const STATS: Duration = Duration::from_secs(10);

/// Home Assistant takes no more of a state.
const LONGEST_STATE: usize = 255;

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The broker has not answered yet.
    Connecting,
    /// Captions are published.
    Open,
    /// The daemon ends; what was handed over is still sent.
    Leaving,
}

/// What is to be told.
enum News {
    Caption(Arc<Published>),
    Standing,
    Answer(Answer),
    Stats,
}

/// How calibration stands, for `calibrate/state`.
#[derive(Serialize)]
struct State<'a> {
    #[serde(flatten)]
    standing: &'a Standing,
    /// What became of the last command since the start.
    answer: &'a Option<Answer>,
}

/// One connection to the broker.
pub struct Session<'a> {
    mqtt: &'a mut Mqtt,
    /// Where commands are done.
    tell: &'a Sender<Vec<u8>>,
    answers: &'a mut Receiver<Answer>,
    stage: Stage,
    stats_due: Instant,
}

impl<'a> Session<'a> {
    /// A connection that is not made yet.
    pub fn new(mqtt: &'a mut Mqtt, tell: &'a Sender<Vec<u8>>, answers: &'a mut Receiver<Answer>) -> Self {
        Self { mqtt, tell, answers, stage: Stage::Connecting, stats_due: Instant::now() }
    }

    /// Connects and publishes, until the daemon ends.
    ///
    /// # Errors
    /// When there is no connection, or no longer.
    pub async fn run(mut self, farewell: &mut Farewell) -> Result<(), MqttError> {
        let Some(options) = self.options(farewell).await? else { return Ok(()) };
        // A new client for every connection: nothing waits in it from before.
        let (client, mut connection) = AsyncClient::new(options, outbox::WAITING);
        let mut outbox = Outbox::new(client);
        loop {
            match self.next(&mut connection, &mut outbox, farewell).await? {
                None | Some(Event::Outgoing(Outgoing::Disconnect)) => return Ok(()),
                Some(Event::Incoming(Packet::ConnAck(_))) => self.open(&mut outbox),
                Some(Event::Incoming(Packet::Publish(publish))) => self.heard(&publish, &mut outbox),
                Some(Event::Incoming(Packet::SubAck(answer))) => {
                    if answer.return_codes.contains(&SubscribeReasonCode::Failure) {
                        tracing::warn!("the broker lets this user read no commands; check its access list");
                    }
                }
                Some(Event::Incoming(Packet::PubAck(_))) => {
                    outbox.confirmed();
                    if self.stage == Stage::Leaving {
                        outbox.close_if_done();
                    }
                }
                Some(_) => {}
            }
        }
    }

    /// How to connect; none if the daemon ends meanwhile.
    async fn options(&self, farewell: &mut Farewell) -> Result<Option<rumqttc::MqttOptions>, MqttError> {
        let (settings, topics) = (self.mqtt.settings.clone(), self.mqtt.topics.clone());
        // A system's certificates are many files.
        let reading = tokio::task::spawn_blocking(move || connect::options(&settings, &topics));
        tokio::select! {
            read = reading => read.expect("reading files does not panic").map(Some),
            _ = farewell => Ok(None),
        }
    }

    /// What happens next at the connection, while news are told; none if it need not be waited for.
    async fn next(
        &mut self,
        connection: &mut EventLoop,
        outbox: &mut Outbox,
        farewell: &mut Farewell,
    ) -> Result<Option<Event>, MqttError> {
        // Never dropped half way: connecting would begin anew, and half a packet would be lost.
        let mut event = std::pin::pin!(connection.poll());
        loop {
            tokio::select! {
                event = &mut event => return match event {
                    // The broker is told of the end by the connection's.
                    Err(_) if self.stage == Stage::Leaving => Ok(None),
                    event => event.map(Some).map_err(|error| MqttError::of(error, &self.mqtt.settings.url)),
                },
                news = self.news(), if self.stage == Stage::Open => self.tell(news, outbox),
                _ = &mut *farewell, if self.stage != Stage::Leaving => {
                    if self.stage == Stage::Connecting {
                        return Ok(None);
                    }
                    self.leave(outbox);
                }
            }
        }
    }

    async fn news(&mut self) -> News {
        loop {
            tokio::select! {
                caption = self.mqtt.captions.recv() => match caption {
                    Ok(caption) => return News::Caption(caption),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => std::future::pending().await,
                },
                Ok(()) = self.mqtt.standing.changed() => return News::Standing,
                Some(answer) = self.answers.recv() => return News::Answer(answer),
                () = sleep_until(self.stats_due) => return News::Stats,
            }
        }
    }

    fn tell(&mut self, news: News, outbox: &mut Outbox) {
        match news {
            News::Caption(caption) => self.caption(caption, outbox),
            News::Standing => self.state(outbox),
            News::Answer(answer) => {
                self.mqtt.answer = Some(answer);
                self.state(outbox);
            }
            News::Stats => {
                self.stats_due = Instant::now() + STATS;
                outbox.news(&self.mqtt.topics.stats, stats(&self.mqtt.daemon));
                if outbox.take_missed() {
                    self.announce(outbox);
                    self.state(outbox);
                }
            }
        }
    }

    /// Tells everything that is retained, for the broker may have forgotten it, and asks for commands.
    fn open(&mut self, outbox: &mut Outbox) {
        tracing::info!("captions go to {}", self.mqtt.settings.url);
        self.mqtt.told = None;
        self.stage = Stage::Open;
        outbox.subscribe(&self.mqtt.topics.set);
        if let Some(home) = &self.mqtt.topics.home {
            outbox.subscribe(&home.status);
        }
        self.announce(outbox);
        self.mqtt.standing.mark_unchanged();
        self.state(outbox);
        let last = self.waiting().pop().or_else(|| self.mqtt.last.clone());
        if let Some(last) = last {
            self.caption(last, outbox);
        }
    }

    /// Tells what the device is, and then that it is there.
    fn announce(&self, outbox: &mut Outbox) {
        let Mqtt { daemon, settings, topics, .. } = &*self.mqtt;
        if let Some(home) = &topics.home {
            let zone = daemon.config.thermal.as_ref().map(|thermal| &thermal.zone);
            let thermometer = match zone {
                Some(zone) if zone.exists() => Thermometer::Present,
                _ => Thermometer::Absent,
            };
            let device = discovery::device(settings, topics, &daemon.release, thermometer);
            outbox.fact(&home.device, device.to_string());
        }
        outbox.fact(&topics.available, ONLINE);
    }

    fn state(&self, outbox: &mut Outbox) {
        let state = State { standing: &self.mqtt.daemon.workshop.standing(), answer: &self.mqtt.answer };
        outbox.fact(&self.mqtt.topics.state, json(&state));
    }

    fn caption(&mut self, caption: Arc<Published>, outbox: &Outbox) {
        outbox.caption(&self.mqtt.topics, short(&caption.caption, LONGEST_STATE), caption.line());
        self.mqtt.last = Some(caption);
    }

    /// The captions that nobody has taken yet.
    fn waiting(&mut self) -> Vec<Arc<Published>> {
        let mut waiting = Vec::new();
        loop {
            match self.mqtt.captions.try_recv() {
                Ok(caption) => waiting.push(caption),
                Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => return waiting,
            }
        }
    }

    fn heard(&mut self, publish: &Publish, outbox: &mut Outbox) {
        let topics = &self.mqtt.topics;
        if publish.retain {
            // It was said to somebody before; a reconnect must not calibrate again.
        } else if publish.topic == topics.set {
            if self.tell.try_send(publish.payload.to_vec()).is_err() {
                self.mqtt.answer = Some(Answer::refused(&"too many commands at once; give it again"));
                self.state(outbox);
            }
        } else if topics.home.as_ref().is_some_and(|home| publish.topic == home.status)
            && publish.payload == ONLINE
        {
            self.announce(outbox);
            self.stats_due = Instant::now();
        }
    }

    /// Tells the last captions, and that there will be no more.
    fn leave(&mut self, outbox: &mut Outbox) {
        self.stage = Stage::Leaving;
        for caption in self.waiting() {
            self.caption(caption, outbox);
        }
        outbox.fact(&self.mqtt.topics.available, OFFLINE);
    }
}
