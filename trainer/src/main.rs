//! The command line of the trainer.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
