//! Brokers that do not let the daemon in, or that it does not trust.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::broker::{Broker, Peer, free_port, has};
use crate::device::{Device, program};
use crate::{AVAILABLE, CAPTION, is, url};

fn run(folder: &Path, program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_wrong_password_is_one_line_and_a_right_one_serves_without_a_restart() {
    if !has("mosquitto") || !has("mosquitto_passwd") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    run(folder.path(), "mosquitto_passwd", &["-b", "-c", "users", "device", "open-sesame"]);
    let users = folder.path().join("users");
    let broker = Broker::with(folder.path(), |port| {
        format!("listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {}\n", users.display())
    });
    let password = folder.path().join("password");
    std::fs::write(&password, "wrong-sesame\n").unwrap();
    let settings = format!("{}\nusername = \"device\"\npassword_file = {password:?}", url(&broker));
    let device = Device::watch(folder.path(), &settings);
    let line = device.tells("mqtt.username: ");
    assert!(line.contains("check the name and its password"), "{line}");
    device.captions_go_on(30);
    assert_eq!((device.told("the broker is lost"), device.losses()), (1, 1.0), "{}", device.log());

    std::fs::write(&password, "open-sesame\n").unwrap();
    device.tells("captions go to mqtt://");
    Peer::log_in(broker.port, Some(("device", "open-sesame"))).wait(0, AVAILABLE, is("online"));
    assert_eq!(device.told("sesame"), 0, "{}", device.log());
    drop(device);
    let everything = told_in_full(folder.path());
    assert!(everything.contains("captions go to mqtt://") && !everything.contains("sesame"), "{everything}");
}

/// What the daemon in a folder tells, until it has a broker, when it is asked to tell everything.
fn told_in_full(folder: &Path) -> String {
    let mut command = Command::new(program());
    command.args(["run", "--log", "trace", "--config"]).arg(folder.join("metalens.toml"));
    let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = String::new();
    for line in BufReader::new(process.stderr.take().unwrap()).lines() {
        told += &line.unwrap();
        told.push('\n');
        if told.contains("captions go to") {
            break;
        }
    }
    process.kill().unwrap();
    process.wait().unwrap();
    told
}

#[test]
fn a_broker_that_was_never_there_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let device = Device::watch(folder.path(), &format!("url = \"mqtt://127.0.0.1:{}\"", free_port()));
    let line = device.tells("the broker is lost");
    assert!(line.contains("Connection refused"), "{line}");
    device.captions_go_on(15);
    assert_eq!((device.told("the broker is lost"), device.losses()), (1, 1.0), "{}", device.log());
}

/// A certificate authority, and a broker's certificate that it signed.
fn certificates(folder: &Path, authority: &str) {
    let (key, pem) = (format!("{authority}.key"), format!("{authority}.pem"));
    let name = format!("/CN={authority}");
    let new = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", &name];
    run(folder, "openssl", &[&new[..], &["-keyout", &key, "-out", &pem]].concat());
    let request = ["req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"];
    run(folder, "openssl", &[&request[..], &["-keyout", "broker.key", "-out", "broker.csr"]].concat());
    std::fs::write(folder.join("names"), "subjectAltName = DNS:localhost, IP:127.0.0.1\n").unwrap();
    let sign = ["x509", "-req", "-in", "broker.csr", "-days", "2", "-extfile", "names", "-out", "broker.pem"];
    run(folder, "openssl", &[&sign[..], &["-CA", &pem, "-CAkey", &key, "-CAcreateserial"]].concat());
}

#[test]
fn a_broker_is_trusted_by_its_certificate_and_by_no_other() {
    if !has("mosquitto") || !has("openssl") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path(), "stranger");
    certificates(folder.path(), "authority");
    let plain = free_port();
    let broker = Broker::with(folder.path(), |port| {
        let file = |name: &str| folder.path().join(name).display().to_string();
        format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\ncertfile {}\nkeyfile {}\n\
             listener {plain} 127.0.0.1\nallow_anonymous true\n",
            file("broker.pem"),
            file("broker.key"),
        )
    });
    let settings = |host: &str, authority: &str| {
        let file = folder.path().join(format!("{authority}.pem"));
        format!("url = \"mqtts://{host}:{}\"\nca_file = {file:?}", broker.port)
    };
    let peer = Peer::connect(plain);
    for host in ["localhost", "127.0.0.1"] {
        let from = peer.heard.len();
        let _device = Device::watch(folder.path(), &settings(host, "authority"));
        peer.wait(from, CAPTION, |_| true);
    }
    peer.wait(0, AVAILABLE, is("offline"));

    let device = Device::watch(folder.path(), &settings("localhost", "stranger"));
    let line = device.tells("the broker is lost");
    assert!(
        line.contains("mqtt.url: no TLS with mqtts://localhost:") && line.contains("UnknownIssuer"),
        "{line}"
    );
    device.captions_go_on(10);
}
