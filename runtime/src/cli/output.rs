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

/// An error and its causes on one line. A cause that the line ends in already is not said again, and of a cause with several
/// lines (candle's carry a backtrace) the first is.
#[must_use]
pub fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        let text = text.lines().next().unwrap_or_default();
        if line.is_empty() {
            line.push_str(text);
        } else if !line.ends_with(text) {
            line = format!("{line}: {text}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn causes_stand_on_one_line_once_each() {
        let cause = anyhow::anyhow!("no such file\n   0: a backtrace");
        assert_eq!(one_line(&cause.context("a.jpg: no such file")), "a.jpg: no such file");
        assert_eq!(one_line(&anyhow::anyhow!("too small").context("a.jpg")), "a.jpg: too small");
    }
}
