//! `[faults]`: a source that misbehaves on purpose, for tests.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::document::Check;
use crate::units::Probability;

/// A source that misbehaves on purpose, for tests. Each probability is a frame's; the same seed gives the same faults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// Seeds the faults.
    pub seed: u64,
    /// The frame is lost.
    pub drop: Probability,
    /// The frame comes twice.
    pub duplicate: Probability,
    /// The frame's bytes end early.
    pub truncate: Probability,
    /// The frame's picture is the one before.
    pub freeze: Probability,
    /// Nothing comes for `stall_ms`.
    pub stall: Probability,
    /// The source is gone for `unplug_ms`.
    pub unplug: Probability,
    /// The wall clock jumps by `clock_jump_s`.
    pub clock_jump: Probability,
    /// Milliseconds of a stall.
    pub stall_ms: u64,
    /// Milliseconds without a source.
    pub unplug_ms: u64,
    /// Seconds that the clock jumps; less than 0 sets it back.
    pub clock_jump_s: i64,
}

impl Default for Faults {
    fn default() -> Self {
        let never = Probability::default();
        Self {
            seed: 0,
            drop: never,
            duplicate: never,
            truncate: never,
            freeze: never,
            stall: never,
            unplug: never,
            clock_jump: never,
            stall_ms: 1000,
            unplug_ms: 1000,
            clock_jump_s: -86_400,
        }
    }
}

impl Faults {
    /// None without the section.
    pub(super) fn validate(self, check: &mut Check) -> Option<Self> {
        for (key, milliseconds) in [("faults.stall_ms", self.stall_ms), ("faults.unplug_ms", self.unplug_ms)]
        {
            if milliseconds > 3_600_000 {
                check.problem(key, format!("{milliseconds} ms; give at most 3600000, an hour"));
            }
        }
        if self.clock_jump_s.unsigned_abs() > 10 * 366 * 86_400 {
            check.problem("faults.clock_jump_s", format!("{} s; give ten years at most", self.clock_jump_s));
        }
        check.has("faults").then_some(self)
    }
}
