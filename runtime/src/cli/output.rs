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

/// An error and its causes on one line. A cause that the line holds already is not said again, and of a cause with several lines
/// (candle's carry a backtrace) the first is. What would steer a terminal, in the name of a file, stands there escaped.
#[must_use]
pub fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        let text = text.lines().next().unwrap_or_default();
        if line.is_empty() {
            line.push_str(text);
        } else if !line.contains(text) {
            line = format!("{line}: {text}");
        }
    }
    line.chars()
        .map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn causes_stand_on_one_line_once_each() {
        let cause = anyhow::anyhow!("no such file\n   0: a backtrace");
        assert_eq!(one_line(&cause.context("a.jpg: no such file")), "a.jpg: no such file");
        assert_eq!(one_line(&anyhow::anyhow!("too small").context("a.jpg")), "a.jpg: too small");
        let cause = anyhow::anyhow!("no tasks");
        assert_eq!(
            one_line(&cause.context("a.json: no tasks; make it again")),
            "a.json: no tasks; make it again"
        );
        assert_eq!(one_line(&anyhow::anyhow!("a\u{1b}[2J.jpg: is empty")), "a\\u{1b}[2J.jpg: is empty");
    }
}
