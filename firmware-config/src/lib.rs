//! Device profiles, the configuration of the daemon, systemd units and udev rules.
//!
//! Empty until the daemon exists; the crate stands here so that the map in ARCHITECTURE.md is whole.
