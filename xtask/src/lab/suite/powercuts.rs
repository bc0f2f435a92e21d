//! Power cuts in the middle of deploys: the board's reset, with whatever it had not written yet lost.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Context;
use metalens_firmware_config::Profile;

use super::Scenario;
use super::bench::{Bench, LONG};
use super::cut::{Cut, Step};
use crate::deploy::layout;
use crate::deploy::machine::Deploy;
use crate::deploy::release::{Parts, Release};
use crate::deploy::ssh::{Options, Ssh, Target};

/// The scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "power cut while files are copied: the old release captions, the next deploy succeeds",
        run: |bench| cut(bench, "copying", |_| Step::Sent("/metalens"), Some(Ran::Old)),
    },
    Scenario {
        name: "power cut once the release has its name: the old release captions, the next deploy succeeds",
        run: |bench| cut(bench, "naming", |release| Step::Settled(release), Some(Ran::Old)),
    },
    Scenario {
        name: "power cut between mark and switch: the old release captions, the next deploy succeeds",
        run: |bench| cut(bench, "marking", |_| Step::Settled(layout::MARKER), Some(Ran::Old)),
    },
    Scenario {
        name: "power cut while the switch is written: either release captions, the next deploy succeeds",
        run: |bench| cut(bench, "writing", |_| Step::Renamed(layout::CURRENT), None),
    },
    Scenario {
        name: "power cut right after the switch: the new release captions, the next deploy succeeds",
        run: |bench| cut(bench, "switching", |_| Step::Settled(layout::CURRENT), Some(Ran::New)),
    },
    Scenario {
        name: "power cut before the first caption: the new release captions, the next deploy succeeds",
        run: |bench| cut(bench, "starting", |_| Step::Restarted, Some(Ran::New)),
    },
];

/// Which release captions after a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ran {
    Old,
    New,
}

/// A program that no other scenario deployed.
fn variant(bench: &Bench<'_>, tail: &str) -> anyhow::Result<PathBuf> {
    let path = bench.programs.metalens.with_file_name(tail);
    let mut bytes = fs::read(&bench.programs.metalens)?;
    bytes.extend(tail.as_bytes());
    fs::write(&path, bytes).with_context(|| path.display().to_string())?;
    Ok(path)
}

fn cut(
    bench: &mut Bench<'_>,
    tail: &str,
    step: fn(&str) -> Step<'_>,
    expected: Option<Ran>,
) -> anyhow::Result<()> {
    let program = variant(bench, tail)?;
    let profile = Profile::named(&bench.machine.board.profile).context("no such profile")?;
    let bundle = &bench.programs.bundle;
    let parts =
        Parts { version: env!("CARGO_PKG_VERSION"), binary: &program, bundle, profile: &profile, key: None };
    let release = Release::of(&parts)?;
    let before = bench.release()?;
    {
        let target = Target { host: "root@127.0.0.1".into(), port: Some(bench.machine.port), identity: None };
        let ssh = Ssh::connect(&target, &Options::new(Some(bench.machine.ssh_config())))?;
        let folder = release.name.folder();
        let device = Cut::new(&ssh, &bench.machine, step(&folder));
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let deploy = Deploy {
            device: &device,
            release: &release,
            profile: &profile,
            health_timeout: LONG,
            now,
            say: &|_| {},
        };
        let outcome = deploy.run();
        anyhow::ensure!(device.is_cut.get(), "the deploy did not come to that step: {outcome:?}");
    }
    bench.machine.wait()?;
    bench.captions()?;
    let after = bench.release()?;
    let ran = if after == before { Ran::Old } else { Ran::New };
    anyhow::ensure!(expected.is_none_or(|expected| ran == expected), "{after} runs, before it was {before}");
    anyhow::ensure!(ran == Ran::Old || after == release.name.link(), "{after} runs");
    bench.deploy(&program, &[])?.succeeds(&release.name.to_string())?;
    anyhow::ensure!(bench.release()? == release.name.link(), "the next deploy did not switch");
    let marker = bench.machine.root("ls /opt/metalens")?;
    anyhow::ensure!(!marker.contains("unconfirmed"), "the mark is still there");
    Ok(())
}
