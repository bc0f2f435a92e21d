//! `cargo xtask setup-cross`: Debian's Rust compiler with the standard library for arm64, in a folder of its own. The system's
//! packages and rustup's toolchains are not touched.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::run::{output, run};

/// The package of Debian's newest compiler, which its stable releases carry for their browser.
const RUSTC: &str = "rustc-web";
const STD: &str = "libstd-rust-web";
/// What marks a folder in which everything is there.
const COMPLETE: &str = "complete";

/// Where the toolchain lies.
fn folder() -> anyhow::Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
    Ok(cache.context("neither XDG_CACHE_HOME nor HOME is set")?.join("metalens/debian-rust"))
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

/// apt with lists, cache and state of its own.
struct Apt(PathBuf);

impl Apt {
    fn command(&self, program: &str) -> Command {
        let source = ["/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list"];
        let source = source.into_iter().find(|path| Path::new(path).is_file()).unwrap_or(source[1]);
        let folder = self.0.display();
        let mut command = Command::new(program);
        for option in [
            format!("Dir::Etc::sourcelist={source}"),
            "Dir::Etc::sourceparts=/dev/null".into(),
            format!("Dir::State={folder}/state"),
            format!("Dir::State::status={folder}/status"),
            format!("Dir::Cache={folder}/cache"),
            "APT::Architecture=amd64".into(),
            "APT::Architectures=amd64,arm64".into(),
            "APT::Sandbox::User=root".into(),
        ] {
            command.args(["-o", &option]);
        }
        command
    }

    /// The value of the first line of `apt-cache` that begins so.
    fn field(&self, arguments: [&str; 2], prefix: &str) -> anyhow::Result<String> {
        let text = output(self.command("apt-cache").args(arguments))?;
        let value = text.lines().find_map(|line| line.trim().strip_prefix(prefix));
        let value =
            value.with_context(|| format!("{}: no such package; Debian 12 or later has it", arguments[1]))?;
        Ok(value.trim().to_owned())
    }
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
    for new in ["apt/state/lists/partial", "apt/cache/archives/partial", "root", "packages"] {
        fs::create_dir_all(folder.join(new)).with_context(|| folder.display().to_string())?;
    }
    fs::write(folder.join("apt/status"), "")?;
    let apt = Apt(folder.join("apt"));
    run(apt.command("apt-get").args(["update", "-qq"]))?;
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
