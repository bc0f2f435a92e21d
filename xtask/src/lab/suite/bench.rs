//! A board on the bench: deployed to by the command that users type, and asked over ssh.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value;

use super::Card;
use crate::lab::board::Board;
use crate::lab::guest::Guest;
use crate::lab::machine::Machine;
use crate::lab::program::Programs;

/// Emulated boards are slow, and this computer may be busy.
pub const LONG: Duration = Duration::from_secs(150);
/// Seconds to a first caption.
const TO_CAPTION: &str = "150";

/// The board, and what is tried on it.
pub struct Bench<'a> {
    pub machine: Machine,
    pub guest: &'a Guest,
    pub programs: &'a Programs,
    /// What commands said in the scenario under way.
    said: String,
}

/// What a command came to.
pub struct Said {
    pub ok: bool,
    pub text: String,
}

impl Said {
    /// Fails where the command failed or did not say that.
    pub fn succeeds(&self, part: &str) -> anyhow::Result<()> {
        anyhow::ensure!(self.ok, "the command failed");
        self.says(part)
    }

    /// Fails where the command succeeded or did not say that.
    pub fn fails(&self, part: &str) -> anyhow::Result<()> {
        anyhow::ensure!(!self.ok, "the command succeeded");
        self.says(part)
    }

    fn says(&self, part: &str) -> anyhow::Result<()> {
        anyhow::ensure!(self.text.contains(part), "it does not say {part:?}");
        Ok(())
    }
}

/// `cargo xtask deploy --root` of a program.
pub fn card_command(
    board: &Board,
    programs: &Programs,
    tree: &Path,
    program: &Path,
) -> anyhow::Result<Command> {
    let mut command = xtask()?;
    command.arg("--root").arg(tree).args(["--profile", &board.profile]);
    command.arg("--bundle").arg(&programs.bundle).arg("--binary").arg(program);
    Ok(command)
}

/// `cargo xtask deploy …`, with nothing after it.
pub fn xtask() -> anyhow::Result<Command> {
    // This very program, even where its file was built anew meanwhile.
    let mut command = Command::new(format!("/proc/{}/exe", std::process::id()));
    command.arg("deploy");
    Ok(command)
}

impl<'a> Bench<'a> {
    /// Boots a board from a fresh card, under that name.
    pub fn start(
        board: &Board,
        name: &str,
        card: Card,
        guest: &'a Guest,
        programs: &'a Programs,
    ) -> anyhow::Result<Self> {
        // One that an interrupted run left would go on writing to the card.
        if let Ok(machine) = Machine::running(name) {
            machine.stop()?;
        }
        let image = crate::lab::fresh_card(board, name, guest, |tree| match card {
            Card::Blank => Ok(()),
            Card::Deployed => {
                crate::run::output(&mut card_command(board, programs, tree, &programs.metalens)?).map(|_| ())
            }
        })?;
        let machine = Machine::start(board, name, guest, &image)?;
        let took = machine.wait()?;
        println!("{:8} is up after {} s", board.name, took.as_secs());
        Ok(Self { machine, guest, programs, said: String::new() })
    }

    /// What commands said since this was asked last.
    pub fn told(&mut self) -> String {
        std::mem::take(&mut self.said)
    }

    /// Runs a command to its end.
    pub fn run(&mut self, command: &mut Command) -> anyhow::Result<Said> {
        let output = command.stdin(Stdio::null()).output().with_context(|| format!("{command:?}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let text = text(&output.stdout) + &text(&output.stderr);
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
        writeln!(self.said, "$ {}\n{}({})", words.join(" "), text, output.status)?;
        Ok(Said { ok: output.status.success(), text })
    }

    fn on(&self, mut command: Command, user: &str) -> Command {
        command.arg(format!("{user}@127.0.0.1")).args(["--port", &self.machine.port.to_string()]);
        command.arg("--ssh-config").arg(self.machine.ssh_config());
        command
    }

    /// `cargo xtask deploy USER@…` of a program, as it should be.
    pub fn command(&self, user: &str, program: &Path) -> anyhow::Result<Command> {
        self.command_of(user, program, &self.programs.bundle)
    }

    /// The same with another bundle.
    pub fn command_of(&self, user: &str, program: &Path, bundle: &Path) -> anyhow::Result<Command> {
        self.command_for(user, program, bundle, &self.machine.board.profile, TO_CAPTION)
    }

    /// The same with another profile, and other seconds to the first caption.
    pub fn command_with(
        &self,
        user: &str,
        program: &Path,
        profile: &str,
        seconds: &str,
    ) -> anyhow::Result<Command> {
        self.command_for(user, program, &self.programs.bundle, profile, seconds)
    }

    fn command_for(
        &self,
        user: &str,
        program: &Path,
        bundle: &Path,
        profile: &str,
        seconds: &str,
    ) -> anyhow::Result<Command> {
        let mut command = self.on(xtask()?, user);
        command.args(["--profile", profile, "--health-timeout", seconds]);
        command.arg("--bundle").arg(bundle).arg("--binary").arg(program);
        Ok(command)
    }

    /// Deploys as root, which spares an emulated board half of the time: every step of `pi` goes through sudo.
    pub fn deploy(&mut self, program: &Path, more: &[&str]) -> anyhow::Result<Said> {
        let mut command = self.command("root", program)?;
        self.run(command.args(more))
    }

    /// `cargo xtask deploy TASK root@…`.
    pub fn maintain(&mut self, task: &str, more: &[&str]) -> anyhow::Result<Said> {
        let mut command = xtask()?;
        command.arg(task);
        let mut command = self.on(command, "root");
        self.run(command.args(more))
    }

    /// What the daemon says of itself; null where it does not answer.
    pub fn health(&self) -> Value {
        self.get("/healthz").unwrap_or_default()
    }

    /// Waits until the daemon says something of itself.
    pub fn wait_for(&self, what: &str, enough: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        let start = Instant::now();
        loop {
            let health = self.health();
            if enough(&health) {
                return Ok(health);
            }
            anyhow::ensure!(
                start.elapsed() < LONG,
                "no {what} within {} s; health: {health}",
                LONG.as_secs()
            );
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// Waits until it captions.
    pub fn captions(&self) -> anyhow::Result<Value> {
        self.wait_for("caption", |health| health["captions"].as_u64() > Some(0))
    }

    /// The release that runs.
    pub fn release(&self) -> anyhow::Result<String> {
        self.machine.root("readlink /opt/metalens/current")
    }

    /// What tells one start of the daemon from another.
    pub fn invocation(&self) -> anyhow::Result<String> {
        self.machine.root("systemctl show --property InvocationID metalens")
    }

    /// A digest of everything that a deploy may change.
    pub fn tree(&self) -> anyhow::Result<String> {
        self.machine.root(
            "cd / && find opt/metalens etc/systemd/system etc/udev/rules.d etc/sysusers.d etc/metalens \
             -printf '%p %m %l\\n' -type f -exec sha256sum {} + 2>/dev/null | sort",
        )
    }
}
