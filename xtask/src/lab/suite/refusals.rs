//! What is refused, in one line that says what to do, with the device unchanged.

use std::fs;
use std::process::Command;

use super::Scenario;
use super::bench::{Bench, xtask};

/// The scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "a profile for another board is refused", run: |bench| unchanged(bench, profile) },
    Scenario { name: "a user without sudo is refused", run: |bench| unchanged(bench, no_sudo) },
    Scenario { name: "a program for another processor is refused", run: |bench| unchanged(bench, machine) },
    Scenario { name: "another host key is refused", run: |bench| unchanged(bench, host_key) },
    Scenario { name: "a closed port is told", run: |bench| unchanged(bench, no_route) },
    Scenario { name: "a clock in 1970 is refused", run: |bench| unchanged(bench, clock) },
    Scenario { name: "a full disk is refused, and captions go on", run: |bench| unchanged(bench, full) },
    Scenario {
        name: "a device that trusts a key refuses what is not signed, and verifies what is",
        run: signed,
    },
];

/// What a refusal leaves: the same files, the same process.
fn unchanged(bench: &mut Bench<'_>, refused: fn(&mut Bench<'_>) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let before = (bench.invocation()?, bench.tree()?);
    refused(bench)?;
    anyhow::ensure!(before == (bench.invocation()?, bench.tree()?), "something changed");
    Ok(())
}

/// One line, which says that.
fn refuses(bench: &mut Bench<'_>, command: &mut Command, part: &str) -> anyhow::Result<()> {
    let said = bench.run(command)?;
    said.fails(part)?;
    let lines = said.text.lines().count();
    anyhow::ensure!(lines == 1, "{lines} lines instead of one");
    Ok(())
}

fn profile(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let mut command = bench.command_with("pi", &bench.programs.upgrade, "rpi4", "30")?;
    refuses(bench, &mut command, "profile rpi4 is not for this board")
}

fn no_sudo(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let mut command = bench.command("guest", &bench.programs.upgrade)?;
    refuses(bench, &mut command, "no sudo without a password there")
}

fn machine(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let foreign = folder.path().join("metalens");
    // Not `current_exe`: the lab builds the workspace, and with it may have put another file in the place of its own.
    fs::copy("/proc/self/exe", &foreign)?;
    let mut command = bench.command("pi", &foreign)?;
    refuses(bench, &mut command, "the device is aarch64, the program was built for x86_64")
}

fn host_key(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (known, config) = (folder.path().join("known"), folder.path().join("config"));
    let mut keygen = Command::new("ssh-keygen");
    crate::run::run(keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(folder.path().join("other")))?;
    fs::write(&known, format!("lab {}", fs::read_to_string(folder.path().join("other.pub"))?))?;
    let text = fs::read_to_string(bench.machine.ssh_config())?;
    let line = |line: &str| match line.trim().starts_with("UserKnownHostsFile") {
        true => format!("UserKnownHostsFile {}", known.display()),
        false => line.to_owned(),
    };
    fs::write(&config, text.lines().map(line).collect::<Vec<_>>().join("\n"))?;
    let mut command = bench.command("pi", &bench.programs.upgrade)?;
    // The last one of an option that is given twice is taken by neither clap nor ssh, so it is replaced.
    let arguments: Vec<_> = command.get_args().map(std::ffi::OsStr::to_owned).collect();
    let own = bench.machine.ssh_config();
    let mut other = Command::new(command.get_program());
    other.args(
        arguments
            .iter()
            .map(|argument| if **argument == *own.as_os_str() { config.as_os_str() } else { argument }),
    );
    command = other;
    refuses(bench, &mut command, "its ssh key is not the one that is known here")
}

fn no_route(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let mut command = xtask()?;
    command.args(["pi@127.0.0.1", "--profile", "generic", "--port"]);
    command.arg(crate::lab::machine::free_port()?.to_string());
    command.arg("--ssh-config").arg(bench.machine.ssh_config());
    refuses(bench, &mut command, "check that the device is on")
}

fn clock(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    // The kernel takes no time before its own start.
    bench.machine.root("date -u -s @$(($(cut -d. -f1 /proc/uptime) + 60))")?;
    let mut command = bench.command("pi", &bench.programs.upgrade)?;
    let refused = refuses(bench, &mut command, "s after 1970; set it: `sudo date -u -s @");
    let now = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH)?.as_secs();
    bench.machine.root(&format!("date -u -s @{now}"))?;
    refused
}

fn full(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let file = "/var/tmp/filling";
    bench.machine.root(&format!(
        "fallocate -l $(($(df -Pk / | sed -n 2p | tr -s ' ' | cut -d' ' -f4) - 8192))K {file}"
    ))?;
    let mut command = bench.command("pi", &bench.programs.upgrade)?;
    let refused = refuses(bench, &mut command, "MiB are free on the device and the release needs");
    // To the last byte: the daemon goes on.
    bench.machine.root("cat /dev/zero > /var/tmp/filling.rest 2>/dev/null; true")?;
    let before = bench.captions()?["captions"].as_u64();
    let flows = bench.wait_for("caption on a full disk", |health| health["captions"].as_u64() > before);
    bench.machine.root(&format!("rm {file} {file}.rest"))?;
    refused?;
    flows.map(|_| ())
}

fn signed(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let key = folder.path().join("release.key");
    let pair = minisign::KeyPair::generate_unencrypted_keypair()?;
    fs::write(&key, pair.sk.to_box(None)?.to_string())?;
    let key = key.display().to_string();
    let mut command = bench.command("root", &bench.programs.metalens)?;
    bench.run(command.args(["--sign-key", &key]))?.succeeds("files,")?;
    let trusts = signed_only(bench, &key);
    bench.machine.root("rm /etc/metalens/release.pub")?;
    trusts
}

/// On a device that trusts that key.
fn signed_only(bench: &mut Bench<'_>, key: &str) -> anyhow::Result<()> {
    let release = bench.release()?;
    let mut command = bench.command("pi", &bench.programs.upgrade)?;
    refuses(bench, &mut command, "this release is not signed")?;
    // A byte that changes under way or on the card is seen before anything is switched.
    bench.machine.root(&format!("printf x >> /opt/metalens/{release}/bundle/vocabulary.txt"))?;
    let mut command = bench.command("root", &bench.programs.metalens)?;
    // The file, and a new signature.
    bench.run(command.args(["--sign-key", key]))?.succeeds(": 2 files,")?;
    bench.captions().map(|_| ())
}
