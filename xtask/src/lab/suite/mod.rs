//! What is tried on emulated boards, one scenario after the other on one card, so that each finds what the others left.

mod bench;
mod cut;
mod daemon;
mod deploys;
mod http;
mod pins;
mod powercuts;
mod refusals;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use self::bench::Bench;
use super::board::Board;

/// Which scenarios, and of what.
#[derive(clap::Args)]
pub struct Arguments {
    /// One board of tests/boards; all where not given.
    #[arg(long)]
    board: Option<String>,
    /// Parts of scenarios' names; all where not given. Most need that of the first deploy before them.
    filters: Vec<String>,
    /// A program for arm64, instead of building it.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// A bundle, instead of training the tiny one.
    #[arg(long, value_name = "DIR")]
    bundle: Option<PathBuf>,
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

fn scenarios(board: &Board) -> Vec<&'static [Scenario]> {
    if board.pins.is_some() {
        return vec![pins::SCENARIOS];
    }
    vec![
        deploys::FIRST,
        daemon::SCENARIOS,
        deploys::SCENARIOS,
        powercuts::SCENARIOS,
        refusals::SCENARIOS,
        deploys::LAST,
    ]
}

/// Runs the scenarios and prints a table.
pub fn test(arguments: &Arguments) -> anyhow::Result<()> {
    let boards = match &arguments.board {
        Some(name) => vec![Board::named(name)?],
        None => Board::all()?,
    };
    let start = Instant::now();
    let programs = super::program::Programs::make(arguments.program.clone(), arguments.bundle.clone())?;
    let (guest, _) = super::guest()?;
    println!("programs, bundle and guests are there after {} s", start.elapsed().as_secs());
    let wanted = |name: &str| {
        arguments.filters.is_empty() || arguments.filters.iter().any(|filter| name.contains(filter.as_str()))
    };
    let mut verdicts = Vec::new();
    for board in &boards {
        let mut bench = Bench::start(board, &guest, &programs)?;
        for scenario in scenarios(board).into_iter().flatten().filter(|scenario| wanted(scenario.name)) {
            let start = Instant::now();
            bench.told();
            let result = (scenario.run)(&mut bench);
            let verdict =
                Verdict { board: board.name.clone(), name: scenario.name, result, took: start.elapsed() };
            println!("{}", line(&verdict));
            if let Err(error) = &verdict.result {
                println!("{}", indented(&format!("{error:#}\n{}", bench.told())));
            }
            verdicts.push(verdict);
        }
        if !arguments.keep {
            bench.machine.stop()?;
        }
    }
    let failed = verdicts.iter().filter(|verdict| verdict.result.is_err()).count();
    println!();
    for verdict in &verdicts {
        println!("{}", line(verdict));
    }
    println!("{} scenarios, {failed} failed, {} s", verdicts.len(), start.elapsed().as_secs());
    anyhow::ensure!(failed == 0, "{failed} of {} scenarios failed", verdicts.len());
    Ok(())
}

fn line(verdict: &Verdict) -> String {
    let result = if verdict.result.is_ok() { "passed" } else { "FAILED" };
    format!("{:8} {result} {:>4} s  {}", verdict.board, verdict.took.as_secs(), verdict.name)
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("         | {line}")).collect::<Vec<_>>().join("\n")
}
