//! The device's program, where the tests of this crate find it.

use std::process::ExitCode;

fn main() -> ExitCode {
    metalens::cli::main()
}
