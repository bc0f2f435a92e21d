//! `cargo xtask setup-cross`: Debian's Rust compiler with the standard library for arm64, in a folder of its own. The system's
//! packages and rustup's toolchains are not touched.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::apt::Apt;
use crate::run::{cache, output, run};

/// The package of Debian's newest compiler, which its stable releases carry for their browser.
const RUSTC: &str = "rustc-web";
const STD: &str = "libstd-rust-web";
/// What marks a folder in which everything is there.
const COMPLETE: &str = "complete";

/// Where the toolchain lies.
fn folder() -> anyhow::Result<PathBuf> {
    Ok(cache()?.join("debian-rust"))
}

/// Cargo, with Debian's compiler.
pub fn cargo() -> anyhow::Result<Command> {
    let folder = folder()?;
    anyhow::ensure!(
        folder.join(COMPLETE).is_file(),
        "{}: no toolchain; `cargo xtask setup-cross` makes it",
        folder.display()
    );
    let usr = folder.join("root/usr");
    let mut command = crate::run::cargo();
    command.env("RUSTC", usr.join("bin/rustc")).env("LD_LIBRARY_PATH", usr.join("lib"));
    // The checkout's cargo would let rustup choose the compiler.
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("RUSTC_WRAPPER");
    Ok(command)
}

/// Makes the toolchain, anew where it is there.
pub fn setup() -> anyhow::Result<()> {
    anyhow::ensure!(
        Path::new("/etc/debian_version").is_file() && std::env::consts::ARCH == "x86_64",
        "this is no Debian for amd64; `rustup target add aarch64-unknown-linux-gnu` serves everywhere else"
    );
    let folder = folder()?;
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())?;
    }
    let (root, packages) = (folder.join("root"), folder.join("packages"));
    for new in [&root, &packages] {
        fs::create_dir_all(new).with_context(|| new.display().to_string())?;
    }
    let apt = Apt::new(folder.join("apt"), &["amd64", "arm64"])?;
    apt.update()?;
    let version = apt.field(["policy", RUSTC], "Candidate:")?;
    let series = series(&version).with_context(|| format!("{version}: no version of a compiler"))?;
    let llvm = apt.field(["depends", &format!("{STD}-{series}")], "Depends: libllvm")?;
    let llvm = llvm.split_whitespace().next().unwrap_or_default();
    println!("Debian's compiler {version}, into {}", folder.display());
    run(apt.command("apt-get").current_dir(&packages).args(["download", "-qq"]).args([
        format!("{RUSTC}={version}"),
        format!("{STD}-dev:amd64={version}"),
        format!("{STD}-{series}:amd64={version}"),
        format!("libllvm{llvm}:amd64"),
        format!("{STD}-dev:arm64={version}"),
    ]))?;
    for package in fs::read_dir(&packages)? {
        run(Command::new("dpkg-deb").arg("-x").arg(package?.path()).arg(&root))?;
    }
    fs::remove_dir_all(&packages)?;
    // The compiler looks for its libraries beside itself, Debian has them a folder deeper.
    let libraries = root.join("usr/lib");
    for library in fs::read_dir(libraries.join("x86_64-linux-gnu"))? {
        let name = library?.file_name();
        let target = Path::new("x86_64-linux-gnu").join(&name);
        let link = libraries.join(&name);
        if !link.exists() {
            symlink(target, link)?;
        }
    }
    fs::write(folder.join(COMPLETE), &version)?;
    let mut rustc = Command::new(root.join("usr/bin/rustc"));
    print!("{}", output(rustc.env("LD_LIBRARY_PATH", &libraries).arg("--version"))?);
    println!("`cargo xtask deploy --builder debian` builds with it");
    Ok(())
}

/// `1.96` of `1:1.96.0+dfsg-1`.
fn series(version: &str) -> Option<String> {
    let version = version.split_once(':').map_or(version, |(_, version)| version);
    let mut parts = version.split('.');
    Some(format!("{}.{}", parts.next()?, parts.next()?))
}
