//! `cargo xtask deploy`.

mod activate;
mod assets;
mod check;
mod device;
mod elf;
mod files;
mod layout;
mod machine;
mod plan;
mod release;
mod root;
mod sign;
#[cfg(test)]
mod tests;
mod verify;
