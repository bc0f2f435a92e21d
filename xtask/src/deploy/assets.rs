//! What goes beside a release: units, rules, profiles. Stands in for `metalens-firmware-config`, with its names.

/// Runs before every start of the daemon.
pub const GUARD: &str = include_str!("../../../firmware-config/units/guard.sh");

/// The unit's name for systemd.
pub const UNIT_NAME: &str = "metalens.service";

/// The daemon's unit.
pub const UNIT: &str = "\
[Unit]
Description=Metalens: captions what a camera sees
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStartPre=+/opt/metalens/guard
ExecStart=/opt/metalens/current/metalens run --config /etc/metalens/metalens.toml
User=metalens
StateDirectory=metalens
Restart=on-failure
RestartSec=2

[Install]
WantedBy=multi-user.target
";

/// Gives cameras and pins to the groups of the daemon's user.
pub const UDEV_RULES: &str = "\
SUBSYSTEM==\"video4linux\", GROUP=\"video\"
SUBSYSTEM==\"gpio\", GROUP=\"gpio\", MODE=\"0660\"
";

/// Makes the daemon's user and its groups.
pub const SYSUSERS: &str = "\
g video -
g gpio -
u metalens - \"Metalens captioning daemon\" /var/lib/metalens
m metalens video
m metalens gpio
";

/// What a board is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// As on the command line.
    pub name: String,
    /// Beginnings of the board's name in its device tree; empty for any board.
    pub boards: Vec<String>,
    /// What cargo builds for; none where that is whatever the machine is.
    pub triple: Option<String>,
}

const PROFILES: [(&str, &str); 7] = [
    ("generic", ""),
    ("rpi3", "Raspberry Pi 3"),
    ("rpi4", "Raspberry Pi 4"),
    ("rpi5", "Raspberry Pi 5"),
    ("zero2w", "Raspberry Pi Zero 2 W"),
    ("jetson-nano", "NVIDIA Jetson Nano"),
    ("jetson-orin-nano", "NVIDIA Jetson Orin Nano"),
];

impl Profile {
    /// All profiles, the generic one first.
    pub fn all() -> impl Iterator<Item = Self> {
        PROFILES.iter().map(|(name, board)| Self {
            name: (*name).into(),
            boards: Some(*board).filter(|board| !board.is_empty()).into_iter().map(str::to_owned).collect(),
            triple: (!board.is_empty()).then(|| "aarch64-unknown-linux-gnu".into()),
        })
    }

    /// The profile of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::all().find(|profile| profile.name == name)
    }

    /// Whether a board of that name is such a one.
    pub fn fits(&self, model: &str) -> bool {
        self.boards.is_empty() || self.boards.iter().any(|board| model.starts_with(board))
    }

    /// The file of the profile of this name.
    pub fn text(name: &str) -> Option<String> {
        let Self { name, boards, triple } = Self::named(name)?;
        Some(format!("name = {name:?}\nboards = {boards:?}\ntriple = {:?}\n", triple.unwrap_or_default()))
    }
}

/// The first configuration of a device; the user's from then on.
pub fn starter(profile: &Profile) -> String {
    format!("profile = {:?}\nsource = \"v4l2:/dev/video0\"\nstate = \"/var/lib/metalens\"\n", profile.name)
}
