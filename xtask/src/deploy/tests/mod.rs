//! A deploy against a device of which every operation can be the last.
#![allow(clippy::unwrap_used)]

mod cuts;
mod disk;
mod failures;
mod fake;
mod guard;
mod inventories;
mod maintenance;
mod parts;
mod refusals;
mod releases;
mod ssh;
mod trees;
mod verification;
