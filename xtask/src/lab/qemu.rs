//! QEMU's sockets: the machine protocol, by which power is cut, and qtest, which reads and writes a board's registers.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;

use super::board::Pins;

/// QEMU answers at once, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// The sockets of a board.
pub struct Monitor {
    qmp: PathBuf,
    qtest: PathBuf,
}

/// One connection, over which lines go to and fro.
struct Lines(BufReader<UnixStream>);

impl Lines {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let stream = UnixStream::connect(path).with_context(|| path.display().to_string())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    fn say(&mut self, line: &str) -> anyhow::Result<()> {
        self.0.get_mut().write_all(format!("{line}\n").as_bytes()).context("QEMU hung up")
    }

    fn hear(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line).context("QEMU does not answer")?;
        Ok(line.trim_end().to_owned())
    }
}

impl Monitor {
    /// At these paths.
    pub fn new(qmp: PathBuf, qtest: PathBuf) -> Self {
        Self { qmp, qtest }
    }

    /// Resets the board, as a power cut does.
    pub fn reset(&self) -> anyhow::Result<()> {
        let mut lines = Lines::open(&self.qmp)?;
        lines.hear()?;
        for command in ["qmp_capabilities", "system_reset"] {
            lines.say(&format!(r#"{{"execute":"{command}"}}"#))?;
            // Events come in between.
            loop {
                let answer = lines.hear()?;
                anyhow::ensure!(!answer.contains("\"error\"") && !answer.is_empty(), "{command}: {answer}");
                if answer.contains("\"return\"") {
                    break;
                }
            }
        }
        Ok(())
    }

    fn register(&self, command: &str) -> anyhow::Result<String> {
        let mut lines = Lines::open(&self.qtest)?;
        lines.say(command)?;
        let answer = lines.hear()?;
        let value = answer.strip_prefix("OK").with_context(|| format!("{command}: {answer}"))?;
        Ok(value.trim().to_owned())
    }

    /// Makes a pin high or low, as whoever wires something to it does.
    pub fn drive(&self, pins: &Pins, pin: u32, level: Level) -> anyhow::Result<()> {
        let register = match level {
            Level::High => pins.set,
            Level::Low => pins.clear,
        };
        self.register(&format!("writel {register:#x} {:#x}", 1_u64 << pin)).map(|_| ())
    }

    /// The level of a pin.
    pub fn level(&self, pins: &Pins, pin: u32) -> anyhow::Result<Level> {
        let value = self.register(&format!("readl {:#x}", pins.level))?;
        let value = u64::from_str_radix(value.trim_start_matches("0x"), 16).with_context(|| value.clone())?;
        Ok(if value >> pin & 1 == 1 { Level::High } else { Level::Low })
    }
}

/// The level of a pin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// 3.3 V
    High,
    /// 0 V
    Low,
}
