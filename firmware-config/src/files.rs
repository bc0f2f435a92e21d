//! Files that are copied as they are.

/// A configuration with every key, for people to start from; also `examples/metalens.toml`.
pub const EXAMPLE: &str = include_str!("../examples/metalens.toml");
