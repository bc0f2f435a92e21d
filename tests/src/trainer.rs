//! The trainer's program.

use std::path::Path;
use std::process::Command;

/// What the program prints, which lies beside `program` of the same build.
///
/// # Panics
/// When it is not there, or fails.
#[must_use]
pub fn run(program: &str, arguments: &[&str]) -> String {
    let program = Path::new(program).with_file_name("metalens-trainer");
    assert!(program.is_file(), "{}: test with --workspace, which builds it", program.display());
    let output = Command::new(program).args(arguments).output().expect("the program can be started");
    let (out, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}\n{out}\n{error}");
    out.into_owned()
}
