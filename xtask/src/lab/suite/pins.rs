//! Button and light of a board, pressed and read from outside.
use super::Scenario;
/// The scenarios.
pub const SCENARIOS: &[Scenario] = &[];
