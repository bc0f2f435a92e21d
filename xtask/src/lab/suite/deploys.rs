//! Deploys that work, and releases that do not.

use anyhow::Context;

use super::Scenario;
use super::bench::{Bench, LONG, card_command, xtask};
use crate::deploy::layout;
use crate::lab::card;

/// From nothing to the first caption.
pub const FIRST: &[Scenario] = &[
    Scenario { name: "a card without metalens says so", run: nothing },
    Scenario { name: "a deploy over ssh from nothing ends with the first caption", run: first },
    Scenario { name: "a second deploy of the same copies nothing and restarts nothing", run: again },
    Scenario { name: "a dry run changes nothing", run: dry },
];

/// On a device that captions.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "an upgrade of the program copies the program alone", run: upgrade },
    Scenario { name: "a rollback lets the release before run", run: rollback },
    Scenario { name: "a release that fails its own test is never switched to", run: unfit },
    Scenario { name: "a release that never captions is taken back", run: mute },
    Scenario { name: "a release that crashes is taken back by the device itself", run: crashing },
    Scenario { name: "a crashing release is taken back without any computer", run: alone },
    Scenario {
        name: "another bundle learns again what was taught, and a rollback still knows it",
        run: bundle,
    },
    Scenario { name: "an inventory deploys to the board, whatever another device does", run: inventory },
];

/// What ends a device's life.
pub const LAST: &[Scenario] = &[
    Scenario { name: "a card has the same files as the device", run: tree },
    Scenario { name: "what is removed leaves what was learned, and the next deploy finds it", run: remove },
];

fn nothing(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    bench.maintain("status", &[])?.succeeds("none; `cargo xtask deploy` installs one")
}

fn first(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    // As on Raspberry Pi OS: a user who becomes root by sudo.
    let mut command = bench.command("pi", &bench.programs.metalens)?;
    bench.run(&mut command)?.succeeds("files,")?;
    let health = bench.captions()?;
    anyhow::ensure!(health["version"] == env!("CARGO_PKG_VERSION"), "{health}");
    bench.maintain("status", &[])?.succeeds("current")?;
    let user = bench.machine.root("ps -o user= -C metalens")?;
    anyhow::ensure!(user.trim() == "metalens" || bench.machine.board.unit.is_some(), "it runs as {user}");
    Ok(())
}

fn again(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let before = (bench.invocation()?, bench.tree()?);
    bench.deploy(&bench.programs.metalens, &[])?.succeeds("0 files, 0 bytes copied, nothing restarted")?;
    anyhow::ensure!(before == (bench.invocation()?, bench.tree()?), "something changed");
    Ok(())
}

fn dry(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let before = (bench.invocation()?, bench.tree()?);
    bench.deploy(&bench.programs.upgrade, &["--dry-run"])?.succeeds("metalens")?;
    anyhow::ensure!(before == (bench.invocation()?, bench.tree()?), "something changed");
    Ok(())
}

fn upgrade(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let before = bench.release()?;
    let bytes = std::fs::metadata(&bench.programs.upgrade)?.len();
    let said = bench.deploy(&bench.programs.upgrade, &[])?;
    // The program and the list of sums that it stands in.
    said.succeeds(": 2 files, ")?;
    let copied = said
        .text
        .lines()
        .rev()
        .find_map(|line| line.split(" files, ").nth(1)?.split(' ').next()?.parse().ok());
    let copied: u64 = copied.context("it does not say how many bytes")?;
    anyhow::ensure!(
        (bytes..bytes + 4096).contains(&copied),
        "{copied} bytes copied, the program has {bytes}"
    );
    anyhow::ensure!(bench.release()? != before, "nothing was switched");
    Ok(())
}

fn rollback(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let before = bench.release()?;
    bench.maintain("rollback", &["--health-timeout", "150"])?.succeeds("runs")?;
    let after = bench.release()?;
    anyhow::ensure!(after != before, "{after} still runs");
    bench.captions().map(|_| ())
}

/// A deploy that does not end with the new release; the old one captions and the mark is gone.
fn stays(bench: &mut Bench<'_>, program: &std::path::Path, timeout: &str, says: &str) -> anyhow::Result<()> {
    let before = bench.release()?;
    let mut command = bench.command_with("root", program, &bench.machine.board.profile, timeout)?;
    bench.run(&mut command)?.fails(says)?;
    anyhow::ensure!(bench.release()? == before, "the old release is not back");
    bench.captions()?;
    let files = bench.machine.root("ls -A /opt/metalens /opt/metalens/releases")?;
    anyhow::ensure!(!files.contains("unconfirmed"), "the mark is still there");
    Ok(())
}

fn unfit(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let before = bench.invocation()?;
    stays(bench, &bench.programs.unfit, "30", "nothing was switched: golden caption: says nothing")?;
    anyhow::ensure!(bench.invocation()? == before, "the daemon was restarted");
    Ok(())
}

fn mute(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    stays(bench, &bench.programs.mute, "15", "is back and captions")
}

fn crashing(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    stays(bench, &bench.programs.crashing, "150", "it failed twice, and the device went back by itself")
}

/// As after a power cut in mid-deploy: the mark is there, and nobody waits for a caption.
fn alone(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let before = bench.release()?;
    let previous = before.trim_start_matches("releases/").to_owned();
    let bad = "0.0.1-0123456789ab";
    let folder = format!("{}/{bad}", layout::RELEASES);
    bench.machine.root(&format!(
        "cp -r {current}/ {folder} && printf '#!/bin/sh\\nexit 1\\n' > {folder}/metalens && \
         printf 'release={bad}\\nprevious={previous}\\nstarts=0\\n' > {marker} && \
         ln -sfn releases/{bad} {current} && sync && systemctl --no-block restart metalens",
        current = layout::CURRENT,
        marker = layout::MARKER,
    ))?;
    let start = std::time::Instant::now();
    while bench.machine.root("ls -A /opt/metalens")?.contains("unconfirmed") {
        anyhow::ensure!(start.elapsed() < LONG, "the guard does not take it back");
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    bench.wait_for("caption of the old release", |health| {
        health["captions"].as_u64() > Some(0) && health["release"] == previous.as_str()
    })?;
    anyhow::ensure!(bench.release()? == before, "{} runs", bench.release()?);
    bench.machine.root(&format!("rm -r {folder}")).map(|_| ())
}

/// The same bundle under another id.
fn bundle(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let before = bench.calibration()?["generation"].as_u64().context("nothing was learned yet")?;
    let folder = tempfile::tempdir()?;
    let newer = folder.path().join("bundle");
    card::copy_tree(&bench.programs.bundle, &newer)?;
    metalens_models::record_score(&newer, "of-another-day", serde_json::json!(1))?;
    let mut command = bench.command_of("root", &bench.programs.metalens, &newer)?;
    bench.run(&mut command)?.succeeds("started")?;
    let after = bench.calibration()?["generation"].clone();
    anyhow::ensure!(after.as_u64() > Some(before), "generation {before} became {after}");
    bench.maintain("rollback", &["--health-timeout", "150"])?.succeeds("runs")?;
    let after = bench.calibration()?["generation"].clone();
    anyhow::ensure!(after == before, "after the rollback generation {before} became {after}");
    Ok(())
}

fn inventory(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let path = bench.programs.metalens.with_file_name("inventory.toml");
    let port = bench.machine.port;
    let other = crate::lab::machine::free_port()?;
    let device = |name: &str, port: u16| {
        format!(
            "[[device]]\nname = \"{name}\"\nhost = \"root@127.0.0.1\"\nport = {port}\nprofile = \"generic\"\n"
        )
    };
    std::fs::write(&path, device("board", port) + &device("gone", other).replace("127.0.0.1", "localhost"))?;
    let mut command = xtask()?;
    command.arg("--inventory").arg(&path).arg("--ssh-config").arg(bench.machine.ssh_config());
    command.arg("--bundle").arg(&bench.programs.bundle).arg("--binary").arg(&bench.programs.metalens);
    let said = bench.run(command.args(["--health-timeout", "150"]))?;
    said.fails("1 of 2 devices failed")?;
    anyhow::ensure!(said.text.contains("no connection"), "it does not say why");
    bench.captions().map(|_| ())
}

/// The trees that a deploy writes, file for file: content, mode, and where links lead.
fn tree(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let list = "find opt/metalens etc/systemd/system/metalens.service \
        etc/systemd/system/multi-user.target.wants/metalens.service etc/udev/rules.d/99-metalens.rules \
        etc/sysusers.d/metalens.conf \\( -type d -printf '%p %m\\n' -o -type l -printf '%p %l\\n' \\
        -o -printf '%p %m ' -exec sh -c 'sha256sum < \"$1\"' sh {} \\; \\) | sort";
    let keep = bench.release()?;
    // Only what one deploy writes: a card knows no releases of the past.
    bench.machine.root(&format!(
        "cd {} && for name in *; do [ releases/$name = {keep} ] || rm -r $name; done",
        layout::RELEASES
    ))?;
    bench.deploy(&bench.programs.upgrade, &[])?.succeeds("")?;
    let now = bench.release()?;
    bench.machine.root(&format!(
        "cd {} && for name in *; do [ releases/$name = {now} ] || rm -r $name; done",
        layout::RELEASES
    ))?;
    let theirs = bench.machine.root(&format!("cd / && {list}"))?;
    let folder = bench.programs.metalens.with_file_name("card");
    card::copy_tree(&bench.guest.system(), &folder)?;
    let board = &bench.machine.board;
    let mut command = card_command(board, bench.programs, &folder, &bench.programs.upgrade)?;
    bench.run(&mut command)?.succeeds("")?;
    let ours = crate::run::output(std::process::Command::new("sh").args(["-c", list]).current_dir(&folder))?;
    std::fs::remove_dir_all(&folder)?;
    anyhow::ensure!(theirs.trim() == ours.trim(), "on the device:\n{theirs}\non the card:\n{ours}");
    Ok(())
}

fn remove(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let before = bench.get("/api/calibration")?["generation"].clone();
    bench.maintain("remove", &[])?.succeeds("stay")?;
    let left = bench.machine.root(
        "ls -d /opt/metalens /etc/systemd/system/metalens.service 2>/dev/null; \
         systemctl is-active metalens; ls -d /var/lib/metalens /etc/metalens/metalens.toml",
    )?;
    anyhow::ensure!(
        left == "inactive\n/etc/metalens/metalens.toml\n/var/lib/metalens",
        "what is left: {left}"
    );
    bench.deploy(&bench.programs.metalens, &[])?.succeeds("started")?;
    let after = bench.get("/api/calibration")?["generation"].clone();
    anyhow::ensure!(before == after && before.is_number(), "generation {before} became {after}");
    Ok(())
}
