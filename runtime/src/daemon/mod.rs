//! The daemon: captions what a camera sees, for as long as there is power, and learns meanwhile.
//!
//! ```text
//! capture ──slot──> caption ──> output (standard output, log)
//!                      └──> hub ──> http, mqtt
//! workshop: samples, calibration, undo (asked by http, mqtt and the board's button)
//! upkeep: temperature, watchdog
//! panel: the board's button and lights
//! ```
//!
//! Each has a thread; `http` and `mqtt` share one. The captioning thread waits for nobody: it takes the latest frame from
//! the `slot`, the head from the `hub`, and hands captions to channels that lose what a slow reader has no time for.
//!
//! Important terms: a *frame* comes from the camera; it is *looked at* when it was decoded and encoded; what is new of it is
//! *captioned*, and captions are *published*. A frame that somebody keeps, with a caption of his own, is a *sample*.

mod caption;
mod capture;
mod change;
mod health;
pub mod http;
mod hub;
mod jpeg;
mod metrics;
mod mqtt;
mod output;
mod panel;
mod published;
mod release;
mod slot;
mod suggestions;
mod upkeep;
mod workshop;

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::Context;
use metalens_firmware_config::{Caption as CaptionSettings, Config};
use metalens_models::Bundle;
use tokio::sync::oneshot;

use crate::adaptation::Initialization;
use crate::camera::{self, CameraError};
use crate::{Captioner, Options, engine};

pub use health::{CameraHealth, Health, Phase};
pub use hub::{Head, Hub};
pub use metrics::{Kind, Metrics, Stage};
pub use published::Published;
pub use release::Release;
pub use suggestions::{Offer, Suggestions};
pub use workshop::{Outcome, SampleStanding, Standing, Workshop, WorkshopError};

use caption::Narrator;
use mqtt::Mqtt;
use output::Output;

/// How long a caption that is under way may take when the daemon is asked to end.
const FAREWELL: Duration = Duration::from_millis(1500);

/// How long the broker may then take to hear of it.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// Why the daemon ends.
enum Event {
    /// There are no more frames, or there never can be.
    Captured(Result<(), CameraError>),
    /// The captioning thread is done.
    Captioned,
    /// Somebody asked.
    Stop,
    /// Somebody asked for the configuration to be read again.
    Reload,
}

/// What `http`, `mqtt` and the board need to know of the daemon.
#[derive(Clone)]
pub struct Daemon {
    /// What the threads share.
    pub hub: Arc<Hub>,
    /// Where it learns.
    pub workshop: Arc<Workshop>,
    /// What it asks about.
    pub suggestions: Suggestions,
    /// How it was configured.
    pub config: Arc<Config>,
    /// Which program and bundle it is.
    pub release: Release,
}

/// Captions until the source ends, or a signal asks for the end.
///
/// # Errors
/// When the bundle is refused, an address is in use, or the source can never have a frame.
pub fn run(path: &Path, config: Config, bundle: &Path) -> anyhow::Result<()> {
    let (sender, events) = channel();
    let daemon = Running::start(config, bundle, &sender)?;
    upkeep::notify(&[sd_notify::NotifyState::Ready]);
    daemon.wait(path, &events)
}

struct Running {
    daemon: Daemon,
    capture: JoinHandle<()>,
    caption: JoinHandle<()>,
    output: JoinHandle<()>,
    net: Net,
    panel: Option<JoinHandle<()>>,
}

impl Running {
    fn start(config: Config, bundle: &Path, events: &Sender<Event>) -> anyhow::Result<Self> {
        // What is wrong with the configuration is told before anything slow.
        let mut source = camera::source(&config)?;
        let listener = config.http.as_ref().map(|http| http::Listener::bind(http.listen)).transpose()?;

        let bundle = Bundle::open(bundle)?;
        let release = Release::of(&bundle);
        let captioner = Captioner::from_bundle(&bundle, options(&config.caption))?;
        let initialization = match Initialization::of_bundle(&bundle) {
            Ok(initialization) => Some(Arc::new(initialization)),
            Err(error) => {
                tracing::warn!("captions, and cannot be calibrated: {error}");
                None
            }
        };
        let metrics = Metrics::new(&release.version, &release.bundle);
        let history = config.http.as_ref().map_or(0, |http| http.history);
        let hub = Arc::new(Hub::new(metrics, config.caption.clone(), history));
        let workshop = Workshop::open(bundle, options(&config.caption), config.state.clone(), hub.clone());
        let suggestions =
            Suggestions::new(&config.state, config.calibration.suggestions, initialization, &hub);
        let daemon = Daemon { hub: hub.clone(), workshop, suggestions, config: Arc::new(config), release };

        let panel = panel::start(&daemon)?;
        let net = Net::start(daemon.clone(), listener, events.clone())?;
        let (filler, looker) = slot::slot();
        let (output, lines) = Output::new(source.pace());
        let config = daemon.config.clone();
        let output_thread = spawn("output", {
            let (hub, config) = (hub.clone(), config.clone());
            move || output::write(&lines, config.log.as_ref(), &hub)
        })?;
        spawn("upkeep", {
            let (hub, config) = (hub.clone(), config.clone());
            move || upkeep::upkeep(&hub, config.thermal.as_ref())
        })?;
        let caption = spawn("caption", {
            let (hub, events, suggestions) = (hub.clone(), events.clone(), daemon.suggestions.clone());
            let pace = source.pace();
            move || {
                let narrator = Narrator::new(captioner, pace, suggestions);
                engine::with_threads(config.threads, || {
                    narrator.run(looker, &hub, |published| output.tell(published));
                });
                drop(output);
                tell(&events, Event::Captioned);
            }
        })?;
        let capture = spawn("capture", {
            let events = events.clone();
            move || {
                let captured = capture::capture(&mut *source, filler, &hub);
                // A program that writes frames ends with its source.
                drop(source);
                tell(&events, Event::Captured(captured));
            }
        })?;
        Ok(Self { daemon, capture, caption, output: output_thread, net, panel })
    }

    fn wait(self, path: &Path, events: &Receiver<Event>) -> anyhow::Result<()> {
        let mut result = Ok(());
        for event in events {
            match event {
                Event::Captured(Ok(())) => {}
                Event::Captured(Err(error)) => {
                    result = Err(error.into());
                    break;
                }
                Event::Captioned | Event::Stop => break,
                Event::Reload => reload(path, &self.daemon),
            }
        }
        upkeep::notify(&[sd_notify::NotifyState::Stopping]);
        self.daemon.hub.stop();
        let deadline = Instant::now() + FAREWELL;
        for thread in [self.caption, self.output, self.capture].into_iter().chain(self.panel) {
            wait_until(deadline, &thread);
        }
        self.net.leave();
        result
    }
}

/// What hangs is left behind: the process ends with all of its threads.
fn wait_until(deadline: Instant, thread: &JoinHandle<()>) {
    while !thread.is_finished() && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(5));
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> anyhow::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(work).context("no thread can be started")
}

fn tell(events: &Sender<Event>, event: Event) {
    // Nobody listens any more when the daemon is about to end.
    let _ = events.send(event);
}

/// The thread of everything that waits for others: signals, the page, the broker.
struct Net {
    thread: JoinHandle<()>,
    farewell: oneshot::Sender<()>,
}

impl Net {
    fn start(
        daemon: Daemon,
        listener: Option<http::Listener>,
        events: Sender<Event>,
    ) -> anyhow::Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("no event loop")?;
        let server = match listener {
            Some(listener) => Some(http::Server::new(&daemon, listener)?),
            None => None,
        };
        let mqtt = Mqtt::new(&daemon);
        let (farewell, leaving) = oneshot::channel();
        let thread = spawn("net", move || {
            runtime.block_on(async {
                if let Some(server) = server {
                    tokio::spawn(server.serve());
                }
                tokio::spawn(async move {
                    if let Err(error) = signals(&events).await {
                        tracing::warn!("signals are not heard: {error}");
                    }
                });
                match mqtt {
                    Some(mqtt) => mqtt.run(leaving).await,
                    None => drop(leaving.await),
                }
            });
            // Whatever else waits ends with the process.
            runtime.shutdown_background();
        })?;
        Ok(Self { thread, farewell })
    }

    /// Lets the broker know that the daemon ends, after its last caption.
    fn leave(self) {
        let deadline = Instant::now() + LAST_WORDS;
        // The thread may be gone.
        let _ = self.farewell.send(());
        wait_until(deadline, &self.thread);
    }
}

async fn signals(events: &Sender<Event>) -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => tell(events, Event::Stop),
            _ = interrupt.recv() => tell(events, Event::Stop),
            _ = hangup.recv() => tell(events, Event::Reload),
        }
    }
}

/// What of the captions' settings is built into the captioner.
fn options(caption: &CaptionSettings) -> Options {
    Options { beam: caption.beam, detector: caption.detector }
}

/// Reads the configuration again, does what can be done at once, and says what cannot.
fn reload(path: &Path, daemon: &Daemon) {
    let new = match Config::read(path) {
        Ok(new) => new,
        Err(error) => {
            tracing::warn!("the configuration stays as it is: {error}");
            return;
        }
    };
    daemon.hub.set_settings(new.caption.clone());
    // Of the captions' settings, beam and detector are built into the captioner.
    let (beam, detector) = (daemon.config.caption.beam, daemon.config.caption.detector);
    let mut as_before = Config { caption: daemon.config.caption.clone(), ..new.clone() };
    (as_before.caption.beam, as_before.caption.detector) = (new.caption.beam, new.caption.detector);
    let before = Config { caption: as_before.caption.clone(), ..(*daemon.config).clone() };
    if as_before == before && (new.caption.beam, new.caption.detector) == (beam, detector) {
        tracing::info!("the configuration was read again");
    } else {
        tracing::warn!(
            "the configuration was read again; [caption] applies but for beam and detector, everything else applies after a restart"
        );
    }
}
