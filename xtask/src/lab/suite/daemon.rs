//! The daemon on a board: captions flow, it learns, and it survives what boards go through.

use std::time::Duration;

use serde_json::Value;

use super::Scenario;
use super::bench::Bench;

/// The scenarios.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { name: "captions flow from the camera", run: flow },
    Scenario { name: "two samples that are kept over HTTP calibrate it", run: calibrate },
    Scenario { name: "an unplugged camera is told, and captions go on once it is back", run: unplug },
    Scenario { name: "a daemon that is killed is started again, calibrated", run: kill },
    Scenario { name: "a daemon that hangs is started again by its watchdog", run: hang },
    Scenario { name: "a power cut while it captions loses no calibration", run: reset },
    Scenario {
        name: "a changed configuration is read without a new start, a wrong one is not taken",
        run: reload,
    },
];

fn flow(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let before = bench.captions()?["captions"].as_u64().unwrap_or_default();
    bench.wait_for("three more captions", |health| health["captions"].as_u64() >= Some(before + 3))?;
    Ok(())
}

fn generation(bench: &Bench<'_>) -> anyhow::Result<Value> {
    Ok(bench.get("/api/calibration")?["generation"].clone())
}

fn calibrate(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    for caption in ["a Testbild shines", "a Testbild shines"] {
        bench.keep(caption)?;
        std::thread::sleep(Duration::from_secs(1));
    }
    bench.post("/api/calibration", &Value::Null)?;
    let standing = bench.calibration()?;
    anyhow::ensure!(
        standing["outcome"] == "committed" && standing["generation"] == 1,
        "the calibration: {standing}"
    );
    bench.wait_for("caption after the calibration", |health| health["captions"].as_u64() > Some(0))?;
    Ok(())
}

fn unplug(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let driver = "/sys/bus/platform/drivers/vivid";
    bench.machine.root(&format!("echo vivid.0 > {driver}/unbind"))?;
    let missing = bench.wait_for("missing camera", |health| health["status"] == "no_camera");
    bench.machine.root(&format!("echo vivid.0 > {driver}/bind"))?;
    let before = missing?["captions"].as_u64();
    bench.wait_for("caption once it is back", |health| {
        health["status"] == "captioning" && health["captions"].as_u64() > before
    })?;
    Ok(())
}

/// What brings another process, in the state of the one before.
fn again(bench: &mut Bench<'_>, script: &str) -> anyhow::Result<()> {
    let before = (bench.invocation()?, generation(bench)?);
    bench.machine.root(script)?;
    let start = std::time::Instant::now();
    while bench.invocation()? == before.0 {
        anyhow::ensure!(start.elapsed() < super::bench::LONG, "it was not started again");
        std::thread::sleep(Duration::from_millis(500));
    }
    bench.captions()?;
    let after = generation(bench)?;
    anyhow::ensure!(after == before.1, "generation {} became {after}", before.1);
    Ok(())
}

fn kill(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    again(bench, "systemctl kill --signal=KILL metalens")
}

fn hang(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    again(bench, "systemctl kill --signal=STOP metalens")
}

fn reset(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let before = generation(bench)?;
    bench.machine.reset()?;
    bench.machine.wait()?;
    bench.captions()?;
    let after = generation(bench)?;
    anyhow::ensure!(after == before, "generation {before} became {after}");
    Ok(())
}

fn reload(bench: &mut Bench<'_>) -> anyhow::Result<()> {
    let before = bench.invocation()?;
    let config = "/etc/metalens/metalens.toml";
    let told = |bench: &Bench<'_>, value: &str| -> anyhow::Result<String> {
        let change = format!("sed -i 's/^max_rate = .*/max_rate = {value}/' {config}");
        bench.machine.root(&format!("{change} && systemctl reload metalens && sleep 1"))?;
        bench
            .machine
            .root("journalctl --unit metalens --lines 50 --no-pager --output cat | grep configuration")
    };
    let journal = told(bench, "1.5")?;
    anyhow::ensure!(journal.contains("the configuration was read again"), "{journal}");
    let journal = told(bench, "-1")?;
    anyhow::ensure!(journal.contains("the configuration stays as it is"), "{journal}");
    told(bench, "2.0")?;
    let count = bench.captions()?["captions"].as_u64();
    bench.wait_for("caption after the reload", |health| health["captions"].as_u64() > count)?;
    anyhow::ensure!(bench.invocation()? == before, "it was started anew");
    Ok(())
}
