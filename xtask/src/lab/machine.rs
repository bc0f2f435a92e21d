//! A board that runs: QEMU in the background, and ssh into it.

use std::fs;
use std::io::Read as _;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::board::{Board, Disk, Network};
use super::cache;
use super::guest::{Guest, Keys};
use super::qemu::{Level, Monitor};

/// An emulated board takes half a minute on an idle computer.
const BOOT: Duration = Duration::from_secs(300);

/// A board that was started.
pub struct Machine {
    folder: PathBuf,
    /// For ssh, on this computer.
    pub port: u16,
    /// Which board.
    pub board: Board,
    keys: Keys,
}

impl Machine {
    /// Starts a board with a card's image; `name` tells it from others of its kind.
    pub fn start(board: &Board, name: &str, guest: &Guest, image: &Path) -> anyhow::Result<Self> {
        let folder = folder(name)?;
        let machine = Self { folder, port: free_port()?, board: board.clone(), keys: Keys::make()? };
        let _ = machine.stop();
        fs::create_dir_all(&machine.folder)?;
        fs::write(machine.folder.join("board"), format!("{}\n{}\n", board.name, machine.port))?;
        machine.write_ssh_config()?;
        let log = fs::File::create(machine.folder.join("qemu.log"))?;
        let mut qemu = machine.qemu(guest, image)?;
        qemu.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // Signals that a terminal sends to this command are not for the board.
        std::os::unix::process::CommandExt::process_group(&mut qemu, 0);
        let child = qemu.spawn().context("qemu-system-aarch64; the package qemu-system-arm has it")?;
        fs::write(machine.folder.join("pid"), child.id().to_string())?;
        Ok(machine)
    }

    /// The board that runs under that name.
    pub fn running(name: &str) -> anyhow::Result<Self> {
        let folder = folder(name)?;
        let text = fs::read_to_string(folder.join("board"));
        let text =
            text.with_context(|| format!("{name} does not run; `cargo xtask lab up {name}` starts it"))?;
        let mut lines = text.lines();
        let board = Board::named(lines.next().unwrap_or_default())?;
        let port = lines.next().and_then(|port| port.parse().ok()).context("its port is not known")?;
        Ok(Self { folder, port, board, keys: Keys::make()? })
    }

    fn qemu(&self, guest: &Guest, image: &Path) -> anyhow::Result<Command> {
        let mut qemu = Command::new("qemu-system-aarch64");
        qemu.args(["-machine", &self.board.machine, "-display", "none", "-nodefaults"]);
        if let Some(cpu) = &self.board.cpu {
            qemu.args(["-cpu", cpu]);
        }
        qemu.args(["-smp", &self.board.cores.to_string(), "-m", &self.board.memory_mib.to_string()]);
        qemu.arg("-kernel").arg(guest.kernel()?).arg("-initrd").arg(guest.first_program());
        qemu.args(["-append", &self.board.command_line()]);
        if let Some(name) = &self.board.device_tree {
            qemu.arg("-dtb").arg(guest.device_tree(name)?);
        }
        // This computer does not lose its power: a guest's flush may return at once.
        let drive = format!("file={},format=raw,cache=unsafe", image.display());
        match self.board.disk {
            Disk::Virtio => qemu
                .args(["-device", "virtio-blk-device,drive=card", "-drive"])
                .arg(format!("{drive},if=none,id=card")),
            Disk::Sd => qemu.arg("-drive").arg(format!("{drive},if=sd")),
        };
        let network = match self.board.network {
            Network::Virtio => "virtio-net-device",
            Network::Usb => "usb-net",
        };
        qemu.args(["-device", &format!("{network},netdev=net"), "-netdev"]);
        qemu.arg(format!("user,id=net,hostfwd=tcp:127.0.0.1:{}-:22", self.port));
        // The second port of a Raspberry Pi 3 is the one that its device tree calls the console.
        let console = format!("file:{}", self.folder.join("console").display());
        if self.board.console.starts_with("ttyS1") {
            qemu.args(["-serial", "null"]);
        }
        qemu.args(["-serial", &console]);
        let socket = |name: &str| format!("unix:{},server=on,wait=off", self.folder.join(name).display());
        qemu.args(["-qmp", &socket("qmp"), "-qtest", &socket("qtest"), "-qtest-log", "none"]);
        Ok(qemu)
    }

    /// For deploys and for ssh: the lab's keys, and nothing of the user's own configuration.
    fn write_ssh_config(&self) -> anyhow::Result<()> {
        let text = format!(
            "Host *\n  HostKeyAlias lab\n  UserKnownHostsFile {known}\n  GlobalKnownHostsFile none\n  \
             StrictHostKeyChecking yes\n  IdentityFile {user}\n  IdentitiesOnly yes\n  LogLevel ERROR\n  \
             ServerAliveInterval 5\n  ServerAliveCountMax 6\n  ConnectTimeout 30\n",
            known = self.keys.known_hosts().display(),
            user = self.keys.user().display()
        );
        fs::write(self.ssh_config(), text).context("the configuration of ssh")
    }

    /// ssh's configuration for this board.
    pub fn ssh_config(&self) -> PathBuf {
        self.folder.join("ssh_config")
    }

    fn options(&self) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.env("LC_ALL", "C").arg("-F").arg(self.ssh_config()).args(["-p", &self.port.to_string()]);
        // Every new connection takes an emulated board a second.
        let socket = format!("ControlPath={}", self.folder.join("ssh-%r").display());
        ssh.args(["-o", "ControlMaster=auto", "-o", "ControlPersist=yes", "-o", &socket]);
        ssh
    }

    /// Ends the shared connections, which would wait for a board that is gone.
    fn hang_up(&self) {
        for user in ["root", "pi", "guest"] {
            let mut ssh = self.options();
            ssh.args(["-O", "exit", &format!("{user}@127.0.0.1")]);
            // Most were never opened.
            let _ = ssh.stdout(Stdio::null()).stderr(Stdio::null()).status();
        }
    }

    /// ssh, as that user.
    pub fn ssh(&self, user: &str) -> Command {
        let mut ssh = self.options();
        ssh.arg(format!("{user}@127.0.0.1"));
        ssh
    }

    /// ssh to a port of the board itself.
    pub fn forward(&self, address: &str) -> Command {
        let mut ssh = self.options();
        ssh.args(["-W", address, "root@127.0.0.1"]);
        ssh
    }

    /// Runs a script as root, and returns what it printed.
    pub fn root(&self, script: &str) -> anyhow::Result<String> {
        let output = self.ssh("root").arg(script).stdin(Stdio::null()).output().context("ssh")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        anyhow::ensure!(
            output.status.success(),
            "{script}: {}: {}{}",
            output.status,
            text(&output.stdout),
            text(&output.stderr)
        );
        Ok(text(&output.stdout))
    }

    /// Waits until ssh answers, and returns how long that took.
    pub fn wait(&self) -> anyhow::Result<Duration> {
        let start = Instant::now();
        self.let_go()?;
        while start.elapsed() < BOOT {
            if self.greets() && self.root("true").is_ok() {
                return Ok(start.elapsed());
            }
            anyhow::ensure!(
                self.is_running(),
                "QEMU ended: {}",
                fs::read_to_string(self.folder.join("qemu.log")).unwrap_or_default().trim_end()
            );
            std::thread::sleep(Duration::from_millis(200));
        }
        let console = fs::read(self.folder.join("console")).unwrap_or_default();
        let console = String::from_utf8_lossy(&console[console.len().saturating_sub(2000)..]).into_owned();
        anyhow::bail!(
            "{} did not come up within {} s; its console ends:\n{console}",
            self.board.name,
            BOOT.as_secs()
        )
    }

    /// Whether sshd answers. QEMU takes connections before the board does and tries ever more rarely to hand them on, so a new
    /// one every second finds out sooner.
    fn greets(&self) -> bool {
        let second = Some(Duration::from_secs(1));
        let mut greeting = [0; 4];
        TcpStream::connect(("127.0.0.1", self.port))
            .and_then(|mut stream| {
                stream.set_read_timeout(second)?;
                stream.read_exact(&mut greeting)
            })
            .is_ok_and(|()| greeting == *b"SSH-")
    }

    /// QEMU knows no resistor that pulls a pin up: a button that nobody presses is made high.
    fn let_go(&self) -> anyhow::Result<()> {
        let Some(pins) = &self.board.pins else { return Ok(()) };
        let start = Instant::now();
        loop {
            match self.monitor().drive(pins, pins.button, Level::High) {
                Err(_) if start.elapsed() < Duration::from_secs(10) => {
                    std::thread::sleep(Duration::from_millis(100));
                }
                result => return result,
            }
        }
    }

    fn process(&self) -> Option<String> {
        let pid = fs::read_to_string(self.folder.join("pid")).ok()?;
        // Numbers are given to other processes later. (The command line would be empty for a moment after the start.)
        let program = fs::read_link(format!("/proc/{pid}/exe")).ok()?;
        program.file_name().is_some_and(|name| name == "qemu-system-aarch64").then_some(pid)
    }

    /// Whether QEMU runs.
    pub fn is_running(&self) -> bool {
        self.process().is_some()
    }

    /// Talks to QEMU.
    pub fn monitor(&self) -> Monitor {
        Monitor::new(self.folder.join("qmp"), self.folder.join("qtest"))
    }

    /// Cuts the board's power and gives it back.
    pub fn reset(&self) -> anyhow::Result<()> {
        self.hang_up();
        self.monitor().reset()
    }

    /// Ends the emulation; that there is none is no error.
    pub fn stop(&self) -> anyhow::Result<()> {
        self.hang_up();
        if let Some(pid) = self.process() {
            crate::run::run(Command::new("kill").arg(&pid))?;
            let start = Instant::now();
            while self.is_running() && start.elapsed() < Duration::from_secs(10) {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        if self.folder.is_dir() {
            fs::remove_dir_all(&self.folder).with_context(|| self.folder.display().to_string())?;
        }
        Ok(())
    }

    /// Where the card of a board of that name lies.
    pub fn image(name: &str) -> anyhow::Result<PathBuf> {
        let cards = cache::folder()?.join("cards");
        fs::create_dir_all(&cards)?;
        Ok(cards.join(format!("{name}.img")))
    }
}

fn folder(name: &str) -> anyhow::Result<PathBuf> {
    let folder = cache::folder()?.join("run").join(name);
    // A socket's path must fit into 108 bytes.
    anyhow::ensure!(
        folder.as_os_str().len() < 95,
        "{}: too long a path for sockets; set XDG_CACHE_HOME",
        folder.display()
    );
    Ok(folder)
}

/// A port of this computer that nobody listens at.
pub fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
