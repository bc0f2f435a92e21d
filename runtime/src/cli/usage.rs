//! Wrong usage in one line.

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

/// The exit code of wrong usage and of a wrong configuration.
pub const WRONG_USAGE: u8 = 2;

/// Parses this process' arguments. Help and version are printed where they are asked for; what is wrong is one line on
/// standard error.
///
/// # Errors
/// With the code to exit with, when there is nothing more to do.
pub fn parse<C: Parser>() -> Result<C, ExitCode> {
    C::try_parse().map_err(|error| {
        let code = error.exit_code();
        match error.kind() {
            ErrorKind::DisplayHelp
            | ErrorKind::DisplayVersion
            | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                // Nobody is left to tell when the terminal is gone.
                let _ = error.print();
            }
            _ => {
                let name = C::command().get_name().to_owned();
                eprintln!("{name}: {}; see `{name} --help`", one_line(&error.render().to_string()));
            }
        }
        if code == 0 { ExitCode::SUCCESS } else { ExitCode::from(WRONG_USAGE) }
    })
}

/// clap's first paragraph says what is wrong, and one that begins with "tip" what may be right; the others are general.
fn one_line(rendered: &str) -> String {
    let mut paragraphs =
        rendered.split("\n\n").map(|text| text.split_whitespace().collect::<Vec<_>>().join(" "));
    let mut line = paragraphs.next().unwrap_or_default();
    for tip in paragraphs.filter(|text| text.starts_with("tip:")) {
        line = format!("{line} ({tip})");
    }
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    #[command(name = "sing")]
    struct Song {
        #[arg(long)]
        verses: u32,
    }

    fn line(arguments: &[&str]) -> String {
        one_line(&Song::try_parse_from(arguments).unwrap_err().render().to_string())
    }

    #[test]
    fn each_mistake_is_told_in_one_line() {
        assert_eq!(
            line(&["sing", "--verses", "x"]),
            "invalid value 'x' for '--verses <VERSES>': invalid digit found in string"
        );
        assert_eq!(line(&["sing"]), "the following required arguments were not provided: --verses <VERSES>");
        assert_eq!(
            line(&["sing", "--verse", "3"]),
            "unexpected argument '--verse' found (tip: a similar argument exists: '--verses')"
        );
    }
}
