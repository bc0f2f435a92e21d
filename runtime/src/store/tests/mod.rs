//! What a user may rely on, tried on real folders.
#![allow(clippy::unwrap_used)]

mod cuts;
mod heads;
mod refusals;
mod samples;
