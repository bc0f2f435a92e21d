//! What is installed beside the program.

use crate::Profile;

/// A configuration with every key, for people to start from; also `examples/metalens.toml`.
pub const EXAMPLE: &str = include_str!("../examples/metalens.toml");

/// The unit's name for systemd.
pub const UNIT_NAME: &str = "metalens.service";

/// The daemon's unit; each line that decides something has its reason beside it.
pub const UNIT: &str = include_str!("../units/metalens.service");

/// What the unit runs before every start, as /opt/metalens/guard: takes a release back that a deploy switched to and that fails.
pub const GUARD: &str = include_str!("../units/guard.sh");

/// Gives cameras and pins to the groups of the daemon's user.
pub const UDEV_RULES: &str = include_str!("../udev/99-metalens.rules");

/// Makes the daemon's user and its groups.
pub const SYSUSERS: &str = include_str!("../sysusers/metalens.conf");

/// The first `/etc/metalens/metalens.toml` of a device: its camera, and where a deploy puts things.
#[must_use]
pub fn starter(profile: &Profile) -> String {
    let source = toml::Value::from(profile.camera.source.to_string());
    let name = toml::Value::from(profile.name.as_str());
    format!(
        "\
# The configuration of the Metalens daemon. The first deploy wrote it; it is yours, and no other deploy changes it.
# `metalens config check FILE` tells what is wrong with it, `systemctl reload metalens` reads it again.

# A webcam: \"v4l2:/dev/video0\". What the camera is asked for: [camera].
source = {source}
state = \"/var/lib/metalens\"
bundle = \"/opt/metalens/current/bundle\"
profile = {name}

[http]
# Seen from the device alone; \"0.0.0.0:8080\" is seen from its whole network. Whoever changes things needs the token.
listen = \"127.0.0.1:8080\"
"
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use crate::{Config, Http};

    /// The value of the unit's line `KEY=…`.
    fn unit(key: &str) -> &'static str {
        UNIT.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap()
    }

    #[test]
    fn every_starter_is_a_configuration() {
        for profile in Profile::all() {
            let config = Config::parse(&starter(&profile)).unwrap();
            assert_eq!(config.source, profile.camera.source);
            assert_eq!(config.http, Some(Http::default()));
            assert_eq!(config.profile, profile);
        }
    }

    #[test]
    fn the_starters_state_is_the_folder_that_the_unit_makes() {
        let config = Config::parse(&starter(&Profile::generic())).unwrap();
        assert_eq!(config.state, Path::new("/var/lib").join(unit("StateDirectory")));
    }

    #[test]
    fn user_and_groups_of_the_unit_are_made_and_own_the_devices() {
        assert!(SYSUSERS.contains(&format!("\nu {} ", unit("User"))));
        for group in unit("SupplementaryGroups").split(' ') {
            assert!(SYSUSERS.contains(&format!("\ng {group} ")), "{group}");
            assert!(UDEV_RULES.contains(&format!("GROUP=\"{group}\"")), "{group}");
        }
    }

    /// 3.0 is what is promised; systemd-analyze counts in tenths.
    #[test]
    fn systemd_calls_the_units_exposure_three_at_most() {
        let help = Command::new("systemd-analyze").arg("--help").output();
        if !help.is_ok_and(|help| String::from_utf8_lossy(&help.stdout).contains("--offline")) {
            println!("skipped: no systemd-analyze of version 250 or later");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(UNIT_NAME);
        std::fs::write(&path, UNIT).unwrap();
        let output = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--threshold=30", "--no-pager"])
            .arg(&path)
            .output()
            .unwrap();
        let table = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{table}{}", String::from_utf8_lossy(&output.stderr));
        assert!(table.contains("Overall exposure level"), "{table}");
    }
}
