//! What is tried on emulated boards, in runs: one scenario after the other on one card, so that each finds what the others left.

mod bench;
mod cut;
mod daemon;
mod deploys;
mod http;
mod pins;
mod powercuts;
mod refusals;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use self::bench::Bench;
use super::board::Board;
use super::guest::Guest;
use super::program::Programs;

/// Which scenarios, and of what.
#[derive(clap::Args)]
pub struct Arguments {
    /// One board of tests/boards; all where not given.
    #[arg(long)]
    board: Option<String>,
    /// Parts of scenarios' names; all where not given. On a card without metalens the first deploys run before them.
    filters: Vec<String>,
    /// A program for arm64, instead of building it.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// A bundle, instead of training the tiny one.
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
    /// Boards that run at a time; as many as there are cores where not given.
    #[arg(long)]
    jobs: Option<NonZeroUsize>,
    /// Leave the boards running.
    #[arg(long)]
    keep: bool,
}

/// Something that is tried, and the sentence that it shows to be true.
struct Scenario {
    name: &'static str,
    run: fn(&mut Bench) -> anyhow::Result<()>,
}

/// What came of it.
struct Verdict {
    board: String,
    name: &'static str,
    result: anyhow::Result<()>,
    took: Duration,
}

/// What is on a card before the first scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Card {
    /// A system without metalens.
    Blank,
    /// What `cargo xtask deploy --root` put there.
    Deployed,
}

/// Scenarios of one card.
struct Run {
    board: Board,
    card: Card,
    scenarios: Vec<&'static Scenario>,
}

/// What is tried on a board.
fn runs(board: &Board) -> Vec<Run> {
    let run = |card, groups: &[&'static [Scenario]]| Run {
        board: board.clone(),
        card,
        scenarios: groups.iter().copied().flatten().collect(),
    };
    if board.pins.is_some() {
        return vec![run(Card::Deployed, &[pins::SCENARIOS])];
    }
    let first = [deploys::FIRST, daemon::SCENARIOS, deploys::SCENARIOS, deploys::LAST];
    vec![run(Card::Blank, &first), run(Card::Deployed, &[powercuts::SCENARIOS, refusals::SCENARIOS])]
}

/// Runs the scenarios and prints a table.
pub fn test(arguments: &Arguments) -> anyhow::Result<()> {
    let boards = match &arguments.board {
        Some(name) => vec![Board::named(name)?],
        None => Board::all()?,
    };
    let wanted = |name: &str| {
        arguments.filters.is_empty() || arguments.filters.iter().any(|filter| name.contains(filter.as_str()))
    };
    let mut runs: Vec<Run> = boards.iter().flat_map(runs).collect();
    for run in &mut runs {
        let some = run.scenarios.iter().any(|scenario| wanted(scenario.name));
        let is_first = |name| deploys::FIRST.iter().any(|first| first.name == name);
        run.scenarios.retain(|scenario| some && (wanted(scenario.name) || is_first(scenario.name)));
    }
    runs.retain(|run| !run.scenarios.is_empty());
    anyhow::ensure!(!runs.is_empty(), "no scenario of these boards has such a name");

    let start = Instant::now();
    let programs = Programs::make(arguments.program.clone(), arguments.bundle.clone())?;
    let (guest, _) = super::guest()?;
    println!("programs, bundle and guests are there after {} s", start.elapsed().as_secs());
    let jobs = match arguments.jobs {
        Some(jobs) => jobs.get(),
        None => std::thread::available_parallelism().map_or(1, usize::from),
    };
    // The longest first.
    let mut order: Vec<usize> = (0..runs.len()).collect();
    order.sort_by_key(|&place| std::cmp::Reverse(runs[place].scenarios.len()));
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some(&place) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
            let name = format!("test-{}-{place}", runs[place].board.name);
            done.push((place, runs[place].all(&name, &guest, &programs, arguments.keep)));
        }
        done
    };
    let mut results = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        let joined = workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.collect::<Vec<_>>()
    });
    results.sort_by_key(|(place, _)| *place);
    let verdicts: Vec<Verdict> = results.into_iter().flat_map(|(_, verdicts)| verdicts).collect();
    let failed = verdicts.iter().filter(|verdict| verdict.result.is_err()).count();
    println!();
    for verdict in &verdicts {
        println!("{}", line(verdict));
    }
    println!("{} scenarios, {failed} failed, {} s", verdicts.len(), start.elapsed().as_secs());
    anyhow::ensure!(failed == 0, "{failed} of {} scenarios failed", verdicts.len());
    Ok(())
}

/// What the first line of a run stands for where its board does not start.
const STARTS: &str = "the board starts";

impl Run {
    /// Starts the board under that name, tries the scenarios, and tells each as it ends.
    fn all(&self, name: &str, guest: &Guest, programs: &Programs, keep: bool) -> Vec<Verdict> {
        let begun = Instant::now();
        let verdict = |name, result, since: Instant| Verdict {
            board: self.board.name.clone(),
            name,
            result,
            took: since.elapsed(),
        };
        let mut bench = match Bench::start(&self.board, name, self.card, guest, programs) {
            Ok(bench) => bench,
            Err(error) => return vec![told(verdict(STARTS, Err(error), begun), "")],
        };
        let mut verdicts = Vec::new();
        for scenario in &self.scenarios {
            let since = Instant::now();
            bench.told();
            let result = (scenario.run)(&mut bench);
            verdicts.push(told(verdict(scenario.name, result, since), &bench.told()));
        }
        if !keep && let Err(error) = bench.machine.stop() {
            eprintln!("{name}: {error:#}");
        }
        verdicts
    }
}

/// Prints a verdict; of a failed one, also why and what commands said.
fn told(verdict: Verdict, said: &str) -> Verdict {
    let why = verdict.result.as_ref().err().map(|error| indented(&format!("{error:#}\n{said}")));
    // At once: boards run beside each other.
    println!("{}{}", line(&verdict), why.map_or_else(String::new, |why| format!("\n{why}")));
    verdict
}

fn line(verdict: &Verdict) -> String {
    let result = if verdict.result.is_ok() { "passed" } else { "FAILED" };
    format!("{:8} {result} {:>4} s  {}", verdict.board, verdict.took.as_secs(), verdict.name)
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("         | {line}")).collect::<Vec<_>>().join("\n")
}
