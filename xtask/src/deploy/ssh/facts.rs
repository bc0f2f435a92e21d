//! What a device is, asked in one script that needs no root.

use super::session::{Input, Session};
use crate::deploy::device::{Facts, Privilege, Result};
use crate::deploy::elf::Glibc;

/// Prints `name=value` lines; what the device cannot tell is empty.
const SCRIPT: &str = r#"
echo "machine=$(uname -m)"
echo "bits=$(getconf LONG_BIT 2>/dev/null)"
glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null)
[ -n "$glibc" ] || glibc=$(ldd --version 2>/dev/null | head -n 1)
echo "glibc=${glibc##* }"
model=$(tr -d '\000' 2>/dev/null < /proc/device-tree/model)
echo "model=$model"
folder=/opt/metalens
while [ ! -d "$folder" ]; do folder=${folder%/*}; folder=${folder:-/}; done
echo "free_kib=$(df -Pk "$folder" 2>/dev/null | sed -n 2p | tr -s ' ' | cut -d ' ' -f 4)"
echo "clock=$(date -u +%s)"
command -v rsync >/dev/null && echo "rsync=yes"
if [ "$(id -u)" = 0 ]; then echo "privilege=root"
elif sudo -n true 2>/dev/null; then echo "privilege=sudo"
else echo "privilege=user"; fi
"#;

/// What the device is, and how files may be copied to it.
pub struct Gathered {
    /// For every kind of device.
    pub facts: Facts,
    /// Whether it has rsync.
    pub rsync: bool,
}

/// Asks the device.
pub fn gather(session: &Session) -> Result<Gathered> {
    let text = session.run("what the device is", SCRIPT, Input::None)?;
    Ok(parse(&String::from_utf8_lossy(&text)))
}

/// Reads what the script printed.
pub fn parse(text: &str) -> Gathered {
    let value = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='))?;
        Some(value.trim()).filter(|value| !value.is_empty())
    };
    Gathered {
        rsync: value("rsync").is_some(),
        facts: Facts {
            privilege: match value("privilege") {
                Some("root") => Privilege::Root,
                Some("sudo") => Privilege::Sudo,
                _ => Privilege::User,
            },
            machine: value("machine").map(str::to_owned),
            bits: value("bits").and_then(|bits| bits.parse().ok()),
            glibc: value("glibc").and_then(Glibc::parse),
            model: value("model").map(str::to_owned),
            free_bytes: value("free_kib").and_then(|free| Some(free.parse::<u64>().ok()? << 10)),
            clock: value("clock").and_then(|clock| clock.parse().ok()),
        },
    }
}
