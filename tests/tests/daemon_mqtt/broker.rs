//! A real mosquitto, and somebody who listens to it.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use metalens_tests::daemon::{free_address, send};
use rumqttc::{Client, Event, MqttOptions, Packet, QoS};
use serde_json::Value;

use crate::seen::Seen;

/// Where a program is; system programs are not on everybody's path.
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(program)).find(|path| path.exists())
}

/// Whether a program is there; otherwise one line says that a test was skipped.
pub fn has(program: &str) -> bool {
    let found = find(program).is_some();
    if !found {
        println!("skipped: no {program}");
    }
    found
}

/// A broker, which is killed when it is dropped.
pub struct Broker {
    pub port: u16,
    config: PathBuf,
    process: Option<Child>,
}

impl Broker {
    /// One that lets everybody in.
    pub fn start(folder: &Path) -> Self {
        Self::with(folder, |port| format!("listener {port} 127.0.0.1\nallow_anonymous true\n"))
    }

    /// One whose configuration is made for a free port. It keeps nothing when it is killed.
    pub fn with(folder: &Path, config: impl Fn(u16) -> String) -> Self {
        let path = folder.join("mosquitto.conf");
        let port = free_port();
        // Started as root, it would become another user, who cannot read a test's files.
        std::fs::write(&path, format!("persistence false\nuser root\n{}", config(port))).unwrap();
        let mut broker = Self { port, config: path, process: None };
        broker.restart();
        broker
    }

    /// Starts it again at the same port.
    pub fn restart(&mut self) {
        let mut command = Command::new(find("mosquitto").unwrap());
        command.arg("-c").arg(&self.config).stdout(Stdio::null()).stderr(Stdio::null());
        self.process = Some(command.spawn().unwrap());
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "mosquitto does not listen; see {}", self.config.display());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// Sends it a signal, such as `STOP`.
    pub fn signal(&self, name: &str) {
        send(name, self.process.as_ref().unwrap().id()).unwrap();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn free_port() -> u16 {
    free_address().unwrap().port()
}

/// A message.
#[derive(Clone, Debug)]
pub struct Message {
    pub topic: String,
    pub payload: String,
    /// Whether it was there before somebody listened.
    pub retained: bool,
}

impl Message {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.payload).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// Somebody who listens to everything, and can speak.
pub struct Peer {
    client: Client,
    pub heard: Seen<Message>,
}

impl Peer {
    pub fn connect(port: u16) -> Self {
        Self::log_in(port, None)
    }

    pub fn log_in(port: u16, login: Option<(&str, &str)>) -> Self {
        static PEERS: AtomicUsize = AtomicUsize::new(0);
        let name = format!("peer-{}", PEERS.fetch_add(1, Ordering::Relaxed));
        let mut options = MqttOptions::new(name, "127.0.0.1", port);
        options.set_max_packet_size(1 << 20, 1 << 20);
        if let Some((user, password)) = login {
            options.set_credentials(user, password);
        }
        let (client, mut connection) = Client::new(options, 64);
        let peer = Self { client: client.clone(), heard: Seen::default() };
        let (heard, ready) = (peer.heard.clone(), Seen::default());
        let subscribed = ready.clone();
        std::thread::spawn(move || {
            for event in connection.iter() {
                match event {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => {
                        client.try_subscribe("#", QoS::AtLeastOnce).unwrap()
                    }
                    Ok(Event::Incoming(Packet::SubAck(_))) => subscribed.push(()),
                    Ok(Event::Incoming(Packet::Publish(publish))) => heard.push(Message {
                        topic: publish.topic,
                        payload: String::from_utf8(publish.payload.to_vec()).unwrap(),
                        retained: publish.retain,
                    }),
                    Ok(_) => {}
                    Err(_) => std::thread::sleep(Duration::from_millis(100)),
                }
            }
        });
        ready.wait("the subscription", |ready| (!ready.is_empty()).then_some(()));
        peer
    }

    pub fn say(&self, topic: &str, payload: &str) {
        self.client.publish(topic, QoS::AtLeastOnce, false, payload).unwrap();
    }

    pub fn say_retained(&self, topic: &str, payload: &str) {
        self.client.publish(topic, QoS::AtLeastOnce, true, payload).unwrap();
    }

    /// Payloads of a topic, in their order.
    pub fn payloads(&self, topic: &str) -> Vec<String> {
        self.heard.all().into_iter().filter(|heard| heard.topic == topic).map(|heard| heard.payload).collect()
    }

    /// Waits for a message on a topic, among those from the `from`th on.
    pub fn wait(&self, from: usize, topic: &str, find: impl Fn(&Message) -> bool) -> Message {
        self.heard.wait(topic, |heard| {
            heard[from..].iter().find(|heard| heard.topic == topic && find(heard)).cloned()
        })
    }
}
