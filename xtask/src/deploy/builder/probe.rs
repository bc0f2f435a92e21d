//! What this computer has.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::debian;

/// What the choice of a builder asks.
pub trait Probe {
    /// The target of this computer itself.
    fn host(&self) -> String;

    /// Whether a program does what it should with these arguments.
    fn answers(&self, program: &str, arguments: &[&str]) -> bool;

    /// Whether cargo's compiler has the target's standard library.
    fn has_std(&self, triple: &str) -> bool;

    /// Whether bindgen will find libclang.
    fn has_libclang(&self) -> bool;

    /// Whether `cargo xtask setup-cross` was here.
    fn has_debian_toolchain(&self) -> bool;
}

/// This computer.
pub struct System;

impl Probe for System {
    fn host(&self) -> String {
        let version = rustc(&["--version", "--verbose"]);
        let host = version.lines().find_map(|line| line.strip_prefix("host: "));
        host.unwrap_or_default().to_owned()
    }

    fn answers(&self, program: &str, arguments: &[&str]) -> bool {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    fn has_std(&self, triple: &str) -> bool {
        let sysroot = rustc(&["--print", "sysroot"]);
        let libraries = Path::new(sysroot.trim()).join("lib/rustlib").join(triple).join("lib");
        !sysroot.is_empty() && has(&libraries, |name| name.starts_with("libstd-"))
    }

    fn has_libclang(&self) -> bool {
        let is = |name: &str| name.starts_with("libclang") && name.contains(".so");
        let llvm = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
        let llvm = llvm.filter(|entry| entry.file_name().to_string_lossy().starts_with("llvm"));
        let arch = std::env::consts::ARCH;
        let folders = llvm.map(|entry| entry.path().join("lib"));
        let folders = folders.chain(std::env::var_os("LIBCLANG_PATH").map(PathBuf::from));
        let folders = folders.chain(["/usr/lib".into(), "/usr/lib64".into()]);
        folders.chain([format!("/usr/lib/{arch}-linux-gnu").into()]).any(|folder| has(&folder, is))
    }

    fn has_debian_toolchain(&self) -> bool {
        debian::cargo().is_ok()
    }
}

fn has(folder: &Path, is: impl Fn(&str) -> bool) -> bool {
    let mut entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.any(|entry| is(&entry.file_name().to_string_lossy()))
}

/// The compiler that cargo uses; what it prints, or nothing.
fn rustc(arguments: &[&str]) -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc).args(arguments).current_dir(crate::run::root()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
}
