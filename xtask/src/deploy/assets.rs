//! What goes beside a release: units, rules, profiles.

/// The daemon's unit.
pub const UNIT: &str = "\
[Unit]
Description=Metalens: captions what a camera sees
Documentation=https://github.com/metalens/metalens
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStartPre=+/opt/metalens/guard
ExecStart=/opt/metalens/current/metalens run --config /etc/metalens/metalens.toml
StateDirectory=metalens
Restart=always
RestartSec=2
WatchdogSec=60

[Install]
WantedBy=multi-user.target
";

/// Who may use cameras and GPIO.
pub const UDEV_RULES: &str = "\
SUBSYSTEM==\"video4linux\", TAG+=\"systemd\", ENV{SYSTEMD_WANTS}+=\"metalens.service\"
SUBSYSTEM==\"gpio\", KERNEL==\"gpiochip*\", GROUP=\"gpio\", MODE=\"0660\"
";

/// Runs before every start of the daemon.
pub const GUARD: &str = include_str!("../../../firmware-config/units/guard.sh");

/// A kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// As on the command line.
    pub name: &'static str,
    /// What cargo builds for.
    pub triple: &'static str,
    /// What the board's name in its device tree contains; empty for any board.
    pub boards: &'static [&'static str],
}

const PROFILES: [Profile; 4] = [
    Profile { name: "pi4", triple: "aarch64-unknown-linux-gnu", boards: &["Raspberry Pi"] },
    Profile { name: "pi5", triple: "aarch64-unknown-linux-gnu", boards: &["Raspberry Pi 5"] },
    Profile { name: "jetson", triple: "aarch64-unknown-linux-gnu", boards: &["Jetson"] },
    Profile { name: "generic", triple: "aarch64-unknown-linux-gnu", boards: &[] },
];

impl Profile {
    /// The profile of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        PROFILES.iter().find(|profile| profile.name == name)
    }

    /// Every name.
    pub fn names() -> impl Iterator<Item = &'static str> {
        PROFILES.iter().map(|profile| profile.name)
    }

    /// Whether it serves the board of that name.
    pub fn fits(&self, model: &str) -> bool {
        self.boards.is_empty() || self.boards.iter().any(|board| model.contains(board))
    }

    /// The profile's file in a release.
    pub fn text(&self) -> String {
        format!("name = {:?}\ntriple = {:?}\nboards = {:?}\n", self.name, self.triple, self.boards)
    }

    /// The first configuration of a device; the user's from then on.
    pub fn starter(&self) -> String {
        format!("profile = {:?}\nsource = \"v4l2:/dev/video0\"\nstate = \"/var/lib/metalens\"\n", self.name)
    }
}
