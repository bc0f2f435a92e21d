//! Button and light of a board, pressed and read from outside; its card was filled without any network.

use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value;

use super::Scenario;
use super::bench::{Bench, LONG};
use crate::lab::{led, press};

/// The scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "a card that `deploy --root` filled captions at its first start", run: first },
    Scenario { name: "the light is green while it captions", run: |bench| burns(bench, "green") },
    Scenario { name: "a short press keeps what is in sight, another one as well", run: keep },
    Scenario { name: "a long press adapts to what was kept", run: adapt },
    Scenario { name: "the light is red while the camera is gone, and green again after", run: unplug },
    Scenario { name: "a very long press goes back", run: undo },
    Scenario { name: "a profile for another board is refused, with those that fit", run: profile },
];

fn first(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    bench.captions()?;
    bench.maintain("status", &[])?.succeeds("current")?;
    let journal = bench.machine.root("journalctl --unit metalens --no-pager --output cat")?;
    anyhow::ensure!(!journal.contains("goes on without button and lights"), "{journal}");
    Ok(())
}

/// Waits for a colour.
fn burns(bench: &mut Bench<'_>, colour: &str) -> anyhow::Result<()> {
    let start = Instant::now();
    loop {
        let seen = led(&bench.machine)?;
        if seen == colour {
            return Ok(());
        }
        anyhow::ensure!(start.elapsed() < LONG, "the light is {seen}, not {colour}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn samples(bench: &Bench<'_>) -> anyhow::Result<usize> {
    Ok(bench.get("/api/samples")?.as_array().context("no list of samples")?.len())
}

fn keep(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    for expected in 1..=2 {
        press(&bench.machine, Duration::from_millis(400))?;
        let start = Instant::now();
        while samples(bench)? < expected {
            anyhow::ensure!(start.elapsed() < LONG, "{} samples, not {expected}", samples(bench)?);
            std::thread::sleep(Duration::from_millis(500));
        }
    }
    Ok(())
}

fn generation(bench: &Bench<'_>) -> anyhow::Result<Value> {
    Ok(bench.calibration()?["generation"].clone())
}

/// Waits for another generation than the one that is there.
fn changes(bench: &Bench<'_>, from: &Value) -> anyhow::Result<Value> {
    let start = Instant::now();
    loop {
        let now = generation(bench)?;
        if now != *from {
            return Ok(now);
        }
        anyhow::ensure!(start.elapsed() < LONG, "still generation {from}: {}", bench.calibration()?);
        std::thread::sleep(Duration::from_millis(500));
    }
}

fn adapt(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let before = generation(bench)?;
    press(&bench.machine, Duration::from_millis(2500))?;
    changes(bench, &before)?;
    burns(bench, "green")
}

fn undo(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let before = generation(bench)?;
    press(&bench.machine, Duration::from_secs(8))?;
    changes(bench, &before).map(|_| ())
}

fn unplug(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let driver = "/sys/bus/platform/drivers/vivid";
    bench.machine.root(&format!("echo vivid.0 > {driver}/unbind"))?;
    let red = burns(bench, "red");
    bench.machine.root(&format!("echo vivid.0 > {driver}/bind"))?;
    red?;
    burns(bench, "green")
}

fn profile(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let mut command = bench.command_with("root", &bench.programs.metalens, "rpi5", "30")?;
    bench.run(&mut command)?.fails("\"Raspberry Pi 3 Model B\"; choose another --profile (generic, rpi3)")
}
