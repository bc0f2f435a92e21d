//! `metalens bench`.

use std::io::{BufRead, BufReader};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::Context;
use metalens_models::Bundle;

use super::{BundleArgument, Outcome, say};
use crate::captioner::milliseconds;
use crate::language::Scene;
use crate::{Captioner, Options, vision};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    bundle: BundleArgument,
    /// Threads that a graph may use.
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    threads: u16,
    /// Captions that are measured, after a few to warm up.
    #[arg(long, default_value = "50", value_name = "N")]
    rounds: NonZeroUsize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Caption the bundle's picture once and print the peak memory: what the parent process measures.
    #[arg(long, hide = true)]
    first_caption: bool,
}

/// Rounds before measuring.
const WARM_UP: usize = 5;
/// Processes started to measure the start.
const STARTS: usize = 10;

#[derive(Clone, Copy, serde::Serialize)]
struct Quantiles {
    median: f64,
    p95: f64,
}

#[derive(serde::Serialize)]
struct Report {
    preprocess_ms: Quantiles,
    encoder_ms: Quantiles,
    /// Of a bundle that carries a detector.
    detector_ms: Option<Quantiles>,
    decoder_step_ms: Quantiles,
    head_ms: Quantiles,
    caption_ms: Quantiles,
    start_ms: Quantiles,
    peak_rss_kib: u64,
    threads: usize,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let folder = arguments.bundle.folder()?;
    if arguments.first_caption {
        return first_caption(&folder);
    }
    let bundle = Bundle::open(&folder)?;
    let mut captioner = Captioner::from_bundle(&bundle, Options::default())?;
    let (start_ms, peak_rss_kib) = starts(&folder)?;
    let threads = usize::from(arguments.threads);
    let report = crate::engine::with_threads(threads, || -> anyhow::Result<Report> {
        let picture = vision::decode(&bundle.read(&bundle.manifest().golden.picture)?)?;
        let mut times: [Vec<f64>; 6] = Default::default();
        for round in 0..WARM_UP + arguments.rounds.get() {
            let measured = round_of(&mut captioner, &picture)?;
            if round >= WARM_UP {
                times.iter_mut().zip(measured).for_each(|(all, one)| all.push(one));
            }
        }
        let [preprocess_ms, encoder_ms, detector_ms, decoder_step_ms, head_ms, caption_ms] =
            times.map(quantiles);
        Ok(Report {
            preprocess_ms,
            encoder_ms,
            detector_ms: bundle.manifest().detector.is_some().then_some(detector_ms),
            decoder_step_ms,
            head_ms,
            caption_ms,
            start_ms,
            peak_rss_kib,
            threads,
        })
    })?;
    if arguments.json {
        say(serde_json::to_string(&report)?)?;
    } else {
        say(table(&report))?;
    }
    Ok(Outcome::Done)
}

/// Milliseconds of the parts, in the order of the report.
fn round_of(captioner: &mut Captioner, picture: &vision::Picture) -> anyhow::Result<[f64; 6]> {
    let began = Instant::now();
    captioner.encoder.preprocess(picture)?;
    let preprocess = milliseconds(began);
    let began = Instant::now();
    captioner.encoder.encode()?;
    let encoder = milliseconds(began);
    let began = Instant::now();
    if let Some(detector) = &mut captioner.detector {
        detector.look(picture)?;
    }
    let detector = milliseconds(began);
    let scene = Scene { seen: captioner.encoder.tokens()?, concepts: &[] };
    captioner.speaker.decoder.look_at(scene)?;
    let began = Instant::now();
    captioner.speaker.decoder.steps.run()?;
    let decoder = milliseconds(began);
    let began = Instant::now();
    captioner.speaker.decoder.run_head(1)?;
    let head = milliseconds(began);
    let began = Instant::now();
    captioner.caption(picture)?;
    Ok([preprocess, encoder, detector, decoder, head, milliseconds(began)])
}

fn quantiles(mut times: Vec<f64>) -> Quantiles {
    times.sort_by(f64::total_cmp);
    let at = |part: f64| times[((times.len() - 1) as f64 * part).round() as usize];
    Quantiles { median: at(0.5), p95: at(0.95) }
}

/// From starting the program to its first caption, and the most memory that it had resident.
fn starts(folder: &Path) -> anyhow::Result<(Quantiles, u64)> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut times = Vec::with_capacity(STARTS);
    let mut peak = 0;
    for _ in 0..STARTS {
        let began = Instant::now();
        let mut child = Command::new(&program)
            .args(["bench", "--first-caption", "--bundle"])
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn()
            .context("starting this program again")?;
        let mut lines = BufReader::new(child.stdout.take().context("the child's output")?).lines();
        lines.next().context("the child printed no caption")??;
        times.push(milliseconds(began));
        let memory = lines.next().context("the child printed no memory")??;
        peak = peak.max(memory.parse().context("the child's memory")?);
        child.wait()?;
    }
    Ok((quantiles(times), peak))
}

/// What the child process does: exactly what `metalens caption` does for one picture.
fn first_caption(folder: &Path) -> anyhow::Result<Outcome> {
    let bundle = Bundle::open(folder)?;
    let mut captioner = Captioner::from_bundle(&bundle, Options::default())?;
    let picture = vision::decode(&bundle.read(&bundle.manifest().golden.picture)?)?;
    say(captioner.caption(&picture)?.text())?;
    say(peak_rss_kib().context("this system does not tell a process's peak memory")?)?;
    Ok(Outcome::Done)
}

/// The most memory that this process had resident, from Linux's /proc.
fn peak_rss_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

fn table(report: &Report) -> String {
    let mut text = format!("{:22}{:>10}{:>10}\n", "milliseconds", "median", "p95");
    let detector = report.detector_ms.map(|times| ("detector", times));
    let rows = [("preprocess", report.preprocess_ms), ("encoder", report.encoder_ms)];
    let rows = rows.into_iter().chain(detector).chain([
        ("decoder step", report.decoder_step_ms),
        ("head", report.head_ms),
        ("whole caption", report.caption_ms),
        ("start to 1st caption", report.start_ms),
    ]);
    for (name, Quantiles { median, p95 }) in rows {
        text += &format!("{name:22}{median:>10.2}{p95:>10.2}\n");
    }
    let peak = report.peak_rss_kib as f64 / 1024.0;
    text + &format!("peak resident memory  {peak:>10.1} MiB, {} thread(s)", report.threads)
}
