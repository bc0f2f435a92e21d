//! The system's own ssh: what its words mean, and a deploy to an account of this machine that stands for a device.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use metalens_firmware_config::starter;
use tempfile::TempDir;

use super::parts::{Source, profile};
use super::releases::{deploy, deploy_saying};
use crate::deploy::device::{Content, Device, DeviceError, Health, Mode, Privilege, Services};
use crate::deploy::elf::Glibc;
use crate::deploy::layout;
use crate::deploy::ssh::{Options, Ssh, Target, address, health_in, no_connection, parse_facts};

/// As OpenSSH 9.2 says them.
#[test]
fn what_ssh_says_becomes_what_to_do() {
    let changed = "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n\
        Offending ED25519 key in /home/me/.ssh/known_hosts:3\n  remove with:\n  \
        ssh-keygen -f \"/home/me/.ssh/known_hosts\" -R \"[lens]:2222\"\nHost key verification failed.";
    for (stderr, part) in [
        (changed, "ssh-keygen -R [lens]:2222"),
        ("Host key verification failed.", "run `ssh pi@lens` once"),
        ("ssh: connect to host lens port 22: No route to host", "no connection (ssh: connect to host lens"),
        ("ssh: connect to host lens port 22: Connection refused", "Connection refused"),
        ("ssh: Could not resolve hostname lens: Name or service not known", "Could not resolve hostname"),
        ("Connection to lens closed by remote host.", "check that the device is on"),
        ("pi@lens: Permission denied (publickey,password).", "ssh-copy-id pi@lens"),
    ] {
        let error = no_connection("pi@lens", stderr).unwrap().to_string();
        assert!(error.contains(part) && error.starts_with("pi@lens: "), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
    assert!(no_connection("pi@lens", "cat: /etc/shadow: Permission denied").is_none());
}

#[test]
fn what_a_device_tells_of_itself_is_read_and_what_it_cannot_tell_is_unknown() {
    let text = "machine=aarch64\nbits=32\nglibc=2.36-9+rpt2\nmodel=Raspberry Pi 4 Model B Rev 1.4\n\
        free_kib=2048\nclock=72\nrsync=yes\nprivilege=sudo\n";
    let gathered = parse_facts(text);
    let facts = gathered.facts;
    assert!(gathered.rsync);
    assert_eq!((facts.machine.as_deref(), facts.bits), (Some("aarch64"), Some(32)));
    assert_eq!((facts.glibc, facts.free_bytes, facts.clock), (Some(Glibc(2, 36)), Some(2 << 20), Some(72)));
    assert_eq!(facts.privilege, Privilege::Sudo);
    let gathered = parse_facts("machine=\nbits=\nglibc=\nmodel=\nfree_kib=\nclock=\nprivilege=user\n");
    let facts = gathered.facts;
    assert!(!gathered.rsync && facts.machine.is_none() && facts.glibc.is_none() && facts.model.is_none());
    assert_eq!(facts.privilege, Privilege::User);
}

#[test]
fn a_daemon_is_asked_where_its_configuration_lets_it_listen() {
    for (config, expected) in [
        ("", "127.0.0.1:8080"),
        ("source = 'v4l2:/dev/video0'\n[http]\nlisten = '127.0.0.1:9000'", "127.0.0.1:9000"),
        ("[http]\nlisten = '0.0.0.0:80'", "localhost:80"),
        ("[http]\nlisten = '[::]:80'", "localhost:80"),
        ("[http]\nlisten = '192.168.1.5:80'", "192.168.1.5:80"),
        ("no = configuration", "127.0.0.1:8080"),
    ] {
        assert_eq!(address(config), expected);
    }
    assert_eq!(address(&starter(&profile())), "127.0.0.1:8080");
}

#[test]
fn a_daemon_that_is_not_well_is_heard_as_well() {
    let answer = |status: &str, body: &str| format!("HTTP/1.0 {status}\r\ncontent-type: x\r\n\r\n{body}");
    let body = r#"{"status":"no camera","version":"0.1.0","release":null,"captions":0,"more":[1]}"#;
    let expected = Health { status: "no camera".into(), version: "0.1.0".into(), release: None, captions: 0 };
    for status in ["200 OK", "503 Service Unavailable"] {
        assert_eq!(health_in(answer(status, body).as_bytes()), Some(expected.clone()));
    }
    assert_eq!(health_in(answer("200 OK", "{\"status\":").as_bytes()), None);
    assert_eq!(health_in(b"SSH-2.0-OpenSSH_9.2\r\n\r\n{}"), None);
}

/// An sshd for this user, and a folder that stands for the device's `/`.
struct Server {
    folder: TempDir,
    sshd: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A device's programs that this machine may not have or that would touch it.
const STUBS: &[(&str, &str)] = &[
    ("systemctl", "echo \"$@\" >> \"$0.log\""),
    ("systemd-sysusers", ""),
    ("udevadm", ""),
    ("sync", ""),
    ("journalctl", "echo the last line"),
    ("sudo", "[ \"$1\" = -n ] && shift; exec \"$@\""),
];

impl Server {
    /// None where this machine has no sshd.
    fn start() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        if !Path::new("/usr/sbin/sshd").exists() {
            println!("skipped: no /usr/sbin/sshd; the package openssh-server has it");
            return None;
        }
        // sshd wants that folder where root starts it.
        let _ = std::fs::create_dir_all("/run/sshd");
        for key in ["host", "other", "user"] {
            let mut keygen = Command::new("ssh-keygen");
            let made = keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(path(key)).status().unwrap();
            assert!(made.success());
        }
        std::fs::copy(path("user.pub"), path("authorized_keys")).unwrap();
        for folder in ["bin", "device/opt", "device/var/lib"] {
            std::fs::create_dir_all(path(folder)).unwrap();
        }
        for (name, script) in STUBS {
            let stub = path("bin").join(name);
            std::fs::write(&stub, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&stub, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let (port, at) = (free_port(), folder.path().display());
        std::fs::write(
            path("sshd_config"),
            format!(
                "ListenAddress 127.0.0.1\nPort {port}\nHostKey {at}/host\nPidFile none\nUsePAM no\nStrictModes no\n\
                 AuthorizedKeysFile {at}/authorized_keys\nPermitRootLogin prohibit-password\n\
                 SetEnv PATH={at}/bin:/usr/bin:/bin\n"
            ),
        )
        .unwrap();
        let log = std::fs::File::create(path("sshd.log")).unwrap();
        let mut sshd = Command::new("/usr/sbin/sshd");
        let sshd = sshd.args(["-D", "-e", "-f"]).arg(path("sshd_config")).stderr(log).spawn().unwrap();
        let server = Self { folder, sshd, port };
        server.know("host");
        for _ in 0..100 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return Some(server);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("sshd: {}", std::fs::read_to_string(server.path("sshd.log")).unwrap());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Lets this computer take that key for the server's.
    fn know(&self, key: &str) {
        let at = self.folder.path().display();
        let public = std::fs::read_to_string(self.path(&format!("{key}.pub"))).unwrap();
        let known = format!("[127.0.0.1]:{} {public}", self.port);
        std::fs::write(self.path("known_hosts"), known).unwrap();
        std::fs::write(
            self.path("ssh_config"),
            format!(
                "UserKnownHostsFile {at}/known_hosts\nGlobalKnownHostsFile none\nStrictHostKeyChecking yes\n"
            ),
        )
        .unwrap();
    }

    /// Lets the device's daemon be the one at that port.
    fn listen(&self, port: u16) -> String {
        let config =
            format!("source = 'files:pictures'\nstate = 'state'\n[http]\nlisten = '0.0.0.0:{port}'\n");
        std::fs::create_dir_all(self.path("device/etc/metalens")).unwrap();
        std::fs::write(self.path("device/etc/metalens/metalens.toml"), &config).unwrap();
        config
    }

    fn connect(&self, key: &str) -> Result<Ssh, DeviceError> {
        let user = std::env::var("USER").unwrap_or_else(|_| "root".into());
        let target = Target {
            host: format!("{user}@127.0.0.1"),
            port: Some(self.port),
            identity: Some(self.path(key)),
        };
        Ssh::connect(
            &target,
            &Options {
                config: Some(self.path("ssh_config")),
                root: self.path("device").display().to_string(),
            },
        )
    }
}

/// Answers as a daemon of the release that `current` points to.
fn daemon(current: PathBuf) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1024]);
            let release = std::fs::read_link(&current).unwrap_or_default();
            let release = release.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let body =
                format!(r#"{{"status":"running","version":"0.1.0","release":{release:?},"captions":3}}"#);
            let _ = write!(stream, "HTTP/1.0 200 OK\r\n\r\n{body}");
        }
    });
    port
}

#[test]
fn a_deploy_through_a_real_ssh_installs_upgrades_and_copies_only_what_is_new() {
    let Some(server) = Server::start() else { return };
    let current = server.path("device").join(&layout::CURRENT[1..]);
    let device = server.connect("user").unwrap();
    let config = server.listen(daemon(current));
    // A program that succeeds at whatever it is asked, its own test included, and some bytes to tell two of them apart.
    let succeeds = std::fs::read("/bin/true").unwrap();
    let [old, new] =
        ["old", "new"].map(|tail| Source::with(&[&succeeds, tail.as_bytes()].concat()).release());

    let outcome = deploy_to_any_board(&device, &old);
    assert_eq!((outcome.0, outcome.1), (old.files.len(), true));
    let log = std::fs::read_to_string(server.path("bin/systemctl.log")).unwrap();
    assert!(
        log.ends_with("daemon-reload\nreset-failed metalens.service\nrestart metalens.service\n"),
        "{log}"
    );
    assert_eq!(deploy_to_any_board(&device, &old), (0, false));
    assert_eq!(std::fs::read_to_string(server.path("bin/systemctl.log")).unwrap(), log);
    assert_eq!(deploy_to_any_board(&device, &new), (2, true));
    assert_eq!(device.read(layout::MARKER).unwrap(), None);
    assert_eq!(device.read_link(layout::CURRENT).unwrap(), Some(new.name.link()));
    // A damaged file is mended by the one of the release before, beside those that both folders share.
    let words = server.path("device").join(&new.name.folder()[1..]).join("bundle/vocabulary.txt");
    std::fs::remove_file(&words).unwrap();
    std::fs::write(&words, "damaged").unwrap();
    assert_eq!(deploy_to_any_board(&device, &new), (0, true));
    assert!(std::fs::read_to_string(words).unwrap().starts_with("the bytes of"));
    let names = [new.name.to_string(), old.name.to_string()];
    assert_eq!(device.names(layout::RELEASES).unwrap(), names);
    let mode =
        |path: &str| server.path("device").join(&path[1..]).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(layout::GUARD), mode(layout::UNIT)), (0o755, 0o644));
    assert_eq!(mode(&format!("{}/metalens", new.name.folder())), 0o755);

    // The same tree as on a card, the device's own files aside.
    let card = tempfile::tempdir().unwrap();
    // A card of this machine's kind.
    std::fs::create_dir_all(card.path().join("usr/bin")).unwrap();
    std::fs::write(card.path().join("usr/bin/dash"), &succeeds).unwrap();
    let root = crate::deploy::root::Root::at(card.path()).unwrap();
    root.create_folder("/etc/metalens").unwrap();
    std::fs::write(card.path().join(&layout::CONFIG[1..]), config).unwrap();
    for release in [&old, &new] {
        deploy(&root, release).unwrap();
    }
    for folder in [layout::HOME, "/etc"] {
        assert_eq!(device.hashes(folder).unwrap(), root.hashes(folder).unwrap());
    }
    assert_eq!(device.read_link(layout::WANTED).unwrap(), root.read_link(layout::WANTED).unwrap());
    assert_eq!(device.journal(5).unwrap(), "the last line");
}

/// Files that were copied, and whether the daemon was started.
fn deploy_to_any_board(device: &Ssh, release: &crate::deploy::release::Release) -> (usize, bool) {
    let (outcome, said) = deploy_saying(device, release);
    let outcome = outcome.unwrap_or_else(|error| panic!("{error}: {said:?}"));
    (outcome.files, outcome.restarted)
}

#[test]
fn a_copy_that_was_cut_goes_on_where_it_was_and_not_into_a_files_other_name() {
    let Some(server) = Server::start() else { return };
    let device = server.connect("user").unwrap();
    device.create_folder("/opt/metalens").unwrap();
    let file = |name: &str| server.path("device/opt/metalens").join(name);
    let whole: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    std::fs::write(server.path("whole"), &whole).unwrap();
    let longer = [whole.as_slice(), b"more"].concat();
    // A file goes through rsync where both ends have it, bytes through ssh alone.
    for content in [Content::Bytes(whole.clone()), Content::File(server.path("whole"))] {
        let send = |name: &str| {
            device.send(&content, &format!("/opt/metalens/{name}"), Mode::Program).unwrap();
            assert!(std::fs::read(file(name)).unwrap() == whole, "{content:?}");
            assert_eq!(file(name).metadata().unwrap().permissions().mode() & 0o777, 0o755);
        };
        send("part");
        for before in [&whole[..70_000], b"another", &longer, b""] {
            std::fs::write(file("part"), before).unwrap();
            send("part");
        }
        std::fs::write(file("twin"), &whole[..70_000]).unwrap();
        let _ = std::fs::remove_file(file("other"));
        std::fs::hard_link(file("twin"), file("other")).unwrap();
        send("other");
        assert!(std::fs::read(file("twin")).unwrap() == whole[..70_000]);
    }
}

#[test]
fn wrong_keys_and_closed_ports_of_a_real_ssh_are_told_apart() {
    let Some(server) = Server::start() else { return };
    let device = server.connect("user").unwrap();
    server.listen(free_port());
    assert_eq!(device.health().unwrap(), None);
    drop(device);
    assert!(matches!(server.connect("other"), Err(DeviceError::Login { .. })));
    server.know("other");
    match server.connect("user") {
        Err(DeviceError::HostKey { name, .. }) => assert_eq!(name, format!("[127.0.0.1]:{}", server.port)),
        other => panic!("{:?}", other.err()),
    }
    std::fs::write(server.path("known_hosts"), "").unwrap();
    assert!(matches!(server.connect("user"), Err(DeviceError::UnknownHost { .. })));
    let closed = Server {
        port: free_port(),
        sshd: Command::new("true").stdin(Stdio::null()).spawn().unwrap(),
        folder: tempfile::tempdir().unwrap(),
    };
    std::fs::write(closed.path("ssh_config"), "").unwrap();
    assert!(matches!(closed.connect("user"), Err(DeviceError::Unreachable { .. })));
}
