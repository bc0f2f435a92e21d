//! Lines on standard output.

use std::fmt::Display;
use std::io::Write;

use anyhow::Context;

/// Prints a line and sends it off at once: whoever reads it may be waiting.
///
/// # Errors
/// When nobody reads any more.
pub fn say(line: impl Display) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("standard output")
}
