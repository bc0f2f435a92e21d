//! What a program asks of the machine that runs it: read from its ELF file, so that a wrong one is refused before it is copied.
//! Only what that needs of the format is read here (<https://refspecs.linuxfoundation.org/LSB_5.0.0/LSB-Core-generic>, chapter
//! "Symbol Versioning"); a crate for all of it would be larger than the rest of xtask.

use std::fmt;
use std::path::Path;

use anyhow::Context;

/// A version of the GNU C library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Glibc(pub u32, pub u32);

impl Glibc {
    /// From `2.36`, also with something after it.
    pub fn parse(text: &str) -> Option<Self> {
        let (major, rest) = text.trim().split_once('.')?;
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        Some(Self(major.parse().ok()?, rest[..digits].parse().ok()?))
    }
}

impl fmt::Display for Glibc {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.0, self.1)
    }
}

/// What a program needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// The processor, as `uname -m` names it.
    pub machine: &'static str,
    /// 32 or 64.
    pub bits: u32,
    /// The newest symbol version; none of a static program.
    pub glibc: Option<Glibc>,
}

impl Program {
    /// Reads what the program in a file needs.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let data = std::fs::read(path).with_context(|| path.display().to_string())?;
        Self::parse(&data).with_context(|| format!("{}: no ELF program for Linux", path.display()))
    }

    /// The same, of its bytes; none where they are no little-endian ELF of a known machine.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let file = Elf(data);
        if file.bytes(0, 4)? != b"\x7fELF" || file.bytes(5, 1)? != [1] {
            return None;
        }
        let bits = match file.bytes(4, 1)? {
            [1] => 32,
            _ => 64,
        };
        let machine = match file.u16(18)? {
            3 => "i686",
            40 => "armv7l",
            62 => "x86_64",
            183 => "aarch64",
            243 => "riscv64",
            _ => return None,
        };
        // Programs for 32 bits are refused by their header alone.
        let glibc = if bits == 64 { file.newest_glibc()? } else { None };
        Some(Self { machine, bits, glibc })
    }
}

/// Checked views over a file's bytes.
struct Elf<'a>(&'a [u8]);

/// A section of the kind `SHT_GNU_verneed`: versions of symbols that are needed from libraries.
const VERSIONS_NEEDED: u32 = 0x6fff_fffe;

impl<'a> Elf<'a> {
    fn bytes(&self, at: usize, length: usize) -> Option<&'a [u8]> {
        self.0.get(at..at.checked_add(length)?)
    }

    fn u16(&self, at: usize) -> Option<u16> {
        Some(u16::from_le_bytes(self.bytes(at, 2)?.try_into().ok()?))
    }

    fn u32(&self, at: usize) -> Option<u32> {
        Some(u32::from_le_bytes(self.bytes(at, 4)?.try_into().ok()?))
    }

    /// A place inside of the file, so that small sums with it cannot overflow.
    fn offset(&self, at: usize) -> Option<usize> {
        let offset = usize::try_from(u64::from_le_bytes(self.bytes(at, 8)?.try_into().ok()?)).ok()?;
        (offset <= self.0.len()).then_some(offset)
    }

    /// Kind, offset and link of a section.
    fn section(&self, number: usize) -> Option<(u32, usize, usize)> {
        let at = self.offset(0x28)?.checked_add(number.checked_mul(self.u16(0x3a)?.into())?)?;
        Some((self.u32(at + 4)?, self.offset(at + 24)?, self.u32(at + 40)? as usize))
    }

    /// `Some(None)` where no library's version is needed, `None` where the file is damaged.
    fn newest_glibc(&self) -> Option<Option<Glibc>> {
        let mut newest = None;
        for number in 0..self.u16(0x3c)?.into() {
            let (kind, mut library, strings) = self.section(number)?;
            if kind != VERSIONS_NEEDED {
                continue;
            }
            let strings = self.section(strings)?.1;
            loop {
                let mut version = library.checked_add(self.u32(library + 8)? as usize)?;
                for _ in 0..self.u16(library + 2)? {
                    let name = self.text(strings.checked_add(self.u32(version + 8)? as usize)?)?;
                    newest = newest.max(name.strip_prefix("GLIBC_").and_then(Glibc::parse));
                    version = version.checked_add(self.u32(version + 12)? as usize)?;
                }
                match self.u32(library + 12)? as usize {
                    0 => break,
                    step => library = library.checked_add(step)?,
                }
            }
        }
        Some(newest)
    }

    fn text(&self, at: usize) -> Option<&'a str> {
        let rest = self.0.get(at..)?;
        std::str::from_utf8(&rest[..rest.iter().position(|byte| *byte == 0)?]).ok()
    }
}
