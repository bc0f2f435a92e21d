//! The program that a device runs.

use std::process::ExitCode;

fn main() -> ExitCode {
    metalens::cli::main()
}
