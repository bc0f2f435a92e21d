//! What the tests that cross crates share: a corpus that they draw, a small trunk, and the whole way to a bundle.
//!
//! The pictures show one coloured shape each, and the captions say which; a captioner of a few thousand parameters learns
//! them in seconds.

pub mod browser;
pub mod bundles;
pub mod concepts;
pub mod daemon;
pub mod drawing;
pub mod graphs;
pub mod http;
pub mod meta;
pub mod served;
pub mod tiny;
pub mod trainer;
