//! Where things lie on a device. Every path here is absolute there.

use std::fmt;

/// Everything that a deploy installs and no system program looks for.
pub const HOME: &str = "/opt/metalens";
/// The releases, a folder each.
pub const RELEASES: &str = "/opt/metalens/releases";
/// A link to the release that runs; replaced by one rename.
pub const CURRENT: &str = "/opt/metalens/current";
/// The mark of a release that has been switched to and has not yet captioned; see [`Marker`].
pub const MARKER: &str = "/opt/metalens/unconfirmed";
/// Runs before every start of the daemon and takes a marked release back that fails.
pub const GUARD: &str = "/opt/metalens/guard";
/// The daemon's unit.
pub const UNIT: &str = "/etc/systemd/system/metalens.service";
/// The link by which systemd starts the unit, as `systemctl enable` makes it.
pub const WANTED: &str = "/etc/systemd/system/multi-user.target.wants/metalens.service";
/// Who may use cameras and GPIO.
pub const RULES: &str = "/etc/udev/rules.d/99-metalens.rules";
/// The daemon's user.
pub const SYSUSERS: &str = "/etc/sysusers.d/metalens.conf";
/// The daemon's configuration: the user's, never overwritten.
pub const CONFIG: &str = "/etc/metalens/metalens.toml";
/// The public key by which releases are verified, from the first signed deploy on.
pub const TRUSTED_KEY: &str = "/etc/metalens/release.pub";
/// What the daemon learned: calibrations and their support sets.
pub const STATE: &str = "/var/lib/metalens";
/// What it wrote down beside the journal.
pub const LOGS: &str = "/var/log/metalens";
/// Without this file systemd makes missing users at the next start, among other things that follow an update.
pub const UPDATED: &str = "/etc/.updated";

/// Names of a release's files.
pub mod file {
    /// The program.
    pub const BINARY: &str = "metalens";
    /// The folder of the bundle.
    pub const BUNDLE: &str = "bundle";
    /// The profile that the release was made for.
    pub const PROFILE: &str = "profile.toml";
    /// The hash of every other file, as `sha256sum` writes and checks them.
    pub const SUMS: &str = "SHA256SUMS";
    /// The signature of the sums, in minisign's format.
    pub const SIGNATURE: &str = "SHA256SUMS.minisig";
}

/// What the folder of a release that is not whole yet begins with.
const INCOMING: &str = ".incoming-";

/// `VERSION-HASH`, with the first 12 digits of the sha256 of the release's sums. Safe in any shell.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReleaseName(String);

impl ReleaseName {
    /// The name in a folder's or link's name; none where it is something else.
    pub fn parse(text: &str) -> Option<Self> {
        let (version, hash) = text.rsplit_once('-')?;
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+');
        let hexadecimal = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
        let good = version.starts_with(|c: char| c.is_ascii_digit())
            && version.chars().all(plain)
            && hash.len() == 12
            && hash.chars().all(hexadecimal);
        good.then(|| Self(text.to_owned()))
    }

    /// The release that [`CURRENT`] points to.
    pub fn of_link(target: &str) -> Option<Self> {
        Self::parse(target.strip_prefix("releases/")?)
    }

    /// The hash in the name.
    pub fn hash(&self) -> &str {
        self.0.rsplit_once('-').map_or("", |(_, hash)| hash)
    }

    /// What [`CURRENT`] holds.
    pub fn link(&self) -> String {
        format!("releases/{self}")
    }

    /// The release's folder.
    pub fn folder(&self) -> String {
        format!("{RELEASES}/{self}")
    }

    /// Where the release lies while it is not whole.
    pub fn incoming(&self) -> String {
        format!("{RELEASES}/{INCOMING}{self}")
    }
}

impl fmt::Display for ReleaseName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// Whether a name in [`RELEASES`] is a release that is not whole.
pub fn is_incoming(name: &str) -> bool {
    name.starts_with(INCOMING)
}

/// The mark of a release whose first caption nobody has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// The release.
    pub release: ReleaseName,
    /// What comes back when it fails; none on a device that had nothing.
    pub previous: Option<ReleaseName>,
    /// How often it was started; the guard counts.
    pub starts: u32,
}

impl Marker {
    /// The mark in a file that the guard or a deploy wrote.
    pub fn parse(text: &str) -> Option<Self> {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        Some(Self {
            release: ReleaseName::parse(value("release")?)?,
            previous: value("previous").and_then(ReleaseName::parse),
            starts: value("starts").and_then(|starts| starts.parse().ok()).unwrap_or(0),
        })
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let previous = self.previous.as_ref().map_or("", |name| name.0.as_str());
        writeln!(formatter, "release={}\nprevious={previous}\nstarts={}", self.release, self.starts)
    }
}
