//! apt with lists, cache and state of its own, so that the system's packages are not touched.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::run::{output, run};

/// A folder of apt's.
pub struct Apt {
    folder: PathBuf,
    /// The first one is the native one.
    architectures: &'static [&'static str],
}

impl Apt {
    /// In a folder that is made where it is not there.
    pub fn new(folder: PathBuf, architectures: &'static [&'static str]) -> anyhow::Result<Self> {
        for new in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(new)).with_context(|| folder.display().to_string())?;
        }
        // Nothing is installed: what is asked for comes with everything that it needs.
        fs::write(folder.join("status"), "").with_context(|| folder.display().to_string())?;
        Ok(Self { folder, architectures })
    }

    /// Reads what there is in the distribution.
    pub fn update(&self) -> anyhow::Result<()> {
        run(self.command("apt-get").args(["update", "-qq"]))
    }

    /// A program of apt's.
    pub fn command(&self, program: &str) -> Command {
        let source = ["/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"];
        let source = source.into_iter().find(|path| Path::new(path).is_file()).unwrap_or(source[1]);
        let folder = self.folder.display();
        let mut command = Command::new(program);
        for option in [
            format!("Dir::Etc::sourcelist={source}"),
            "Dir::Etc::sourceparts=/dev/null".into(),
            format!("Dir::State={folder}/state"),
            format!("Dir::State::status={folder}/status"),
            format!("Dir::Cache={folder}/cache"),
            format!("APT::Architecture={}", self.architectures[0]),
            format!("APT::Architectures={}", self.architectures.join(",")),
            "APT::Sandbox::User=root".into(),
        ] {
            command.args(["-o", &option]);
        }
        command
    }

    /// The value of the first line of `apt-cache` that begins so.
    pub fn field(&self, arguments: [&str; 2], prefix: &str) -> anyhow::Result<String> {
        let text = output(self.command("apt-cache").args(arguments))?;
        let value = text.lines().find_map(|line| line.trim().strip_prefix(prefix));
        let value =
            value.with_context(|| format!("{}: no such package; Debian 12 or later has it", arguments[1]))?;
        Ok(value.trim().to_owned())
    }
}
