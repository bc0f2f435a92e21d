//! What guests are made of: Debian's packages for arm64, of which nothing runs here.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::cache;
use crate::apt::Apt;
use crate::run::{output, run};

/// The system on a guest's card, as close to Raspberry Pi OS Lite as a deploy notices.
const SYSTEM: &[&str] = &[
    "base-files",
    "base-passwd",
    "bash",
    "coreutils",
    "dash",
    "diffutils",
    "findutils",
    "grep",
    "hostname",
    "iproute2",
    "kmod",
    "libc-bin",
    "libpam-modules",
    "libpam-runtime",
    "login",
    "minisign",
    "mount",
    "openssh-server",
    "openssh-sftp-server",
    "procps",
    "rsync",
    "sed",
    "sudo",
    "systemd",
    "systemd-sysv",
    "tar",
    "udev",
    "util-linux",
];
/// Follows the newest kernel.
const KERNEL: &str = "linux-image-arm64";
/// What the first program of a guest is made of.
const BUSYBOX: &str = "busybox-static";

/// The packages, on this computer.
pub struct Packages {
    folder: PathBuf,
    /// The kernel's version, as its modules' folder is named.
    pub kernel: String,
    kernel_file: String,
    busybox_file: String,
    system_files: Vec<String>,
}

impl Packages {
    /// Those that the last [`Self::fetch`] got; none where there was none.
    pub fn cached() -> anyhow::Result<Option<Self>> {
        let folder = cache::folder()?.join("packages");
        let Ok(text) = fs::read_to_string(folder.join("list")) else { return Ok(None) };
        let mut lines = text.lines().map(str::to_owned);
        let (Some(kernel), Some(kernel_file), Some(busybox_file)) =
            (lines.next(), lines.next(), lines.next())
        else {
            return Ok(None);
        };
        let packages = Self { folder, kernel, kernel_file, busybox_file, system_files: lines.collect() };
        let whole = packages.files().all(|name| packages.path(name).is_file());
        Ok(whole.then_some(packages))
    }

    /// Gets the newest ones.
    pub fn fetch() -> anyhow::Result<Self> {
        let folder = cache::folder()?.join("packages");
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let apt = Apt::new(cache::folder()?.join("apt"), &["arm64"])?;
        apt.update()?;
        let image = apt.field(["depends", KERNEL], "Depends: linux-image-")?;
        let one = |name: &str| -> anyhow::Result<String> {
            Ok(file_name(name, &apt.field(["policy", name], "Candidate:")?, "arm64"))
        };
        let image_package = format!("linux-image-{image}");
        let packages = Self {
            kernel_file: one(&image_package)?,
            busybox_file: one(BUSYBOX)?,
            system_files: closure(&apt)?,
            kernel: image,
            folder,
        };
        packages.drop_others()?;
        println!("{} packages for the guests, with Linux {}", packages.files().count(), packages.kernel);
        let mut install = apt.command("apt-get");
        install.arg("-o").arg(format!("Dir::Cache::archives={}", packages.folder.display()));
        run(install.args(INSTALL).arg("--download-only").args(SYSTEM))?;
        let mut download = apt.command("apt-get");
        run(download.current_dir(&packages.folder).args(["download", "-qq", &image_package, BUSYBOX]))?;
        let mut list = format!("{}\n", packages.kernel);
        for name in packages.files() {
            list += &format!("{name}\n");
        }
        fs::write(packages.folder.join("list"), list)?;
        Ok(packages)
    }

    /// A newer version's file makes an older one's superfluous.
    fn drop_others(&self) -> anyhow::Result<()> {
        let _ = fs::remove_file(self.folder.join("list"));
        fs::create_dir_all(self.folder.join("partial"))?;
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.ends_with(".deb") && !self.files().any(|file| file == name) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Every file: the kernel's, busybox's, the system's.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        [&self.kernel_file, &self.busybox_file].into_iter().chain(&self.system_files).map(String::as_str)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Unpacks the kernel with its modules and device trees.
    pub fn unpack_kernel(&self, into: &Path) -> anyhow::Result<()> {
        unpack(&self.path(&self.kernel_file), into)
    }

    /// Unpacks busybox.
    pub fn unpack_busybox(&self, into: &Path) -> anyhow::Result<()> {
        unpack(&self.path(&self.busybox_file), into)
    }

    /// Unpacks the system.
    pub fn unpack_system(&self, into: &Path) -> anyhow::Result<()> {
        self.system_files.iter().try_for_each(|name| unpack(&self.path(name), into))
    }
}

const INSTALL: [&str; 4] = ["install", "-qq", "-y", "--no-install-recommends"];

/// The system's packages with all that they need.
fn closure(apt: &Apt) -> anyhow::Result<Vec<String>> {
    let plan = output(apt.command("apt-get").args(INSTALL).arg("--simulate").args(SYSTEM))?;
    let mut files: Vec<_> = plan.lines().filter_map(planned).collect();
    files.sort();
    anyhow::ensure!(!files.is_empty(), "apt-get: it would install nothing");
    Ok(files)
}

/// The file of a line such as `Inst sed (4.9-1 Debian:12.1/oldstable [arm64])`.
fn planned(line: &str) -> Option<String> {
    let mut words = line.strip_prefix("Inst ")?.split_whitespace();
    let name = words.next()?;
    let version = words.next()?.strip_prefix('(')?;
    let architecture = line.split_once("])")?.0.rsplit_once('[')?.1;
    Some(file_name(name, version, architecture))
}

fn file_name(package: &str, version: &str, architecture: &str) -> String {
    format!("{package}_{}_{architecture}.deb", version.replace(':', "%3a"))
}

/// What no guest reads.
const WITHOUT: &[&str] = &[
    "./usr/share/man",
    "./usr/share/doc",
    "./usr/share/locale",
    "./usr/share/info",
    "./usr/share/zoneinfo",
    "./usr/share/bash-completion",
    "./usr/lib/udev/hwdb.d",
    "./lib/udev/hwdb.d",
    "./usr/lib/aarch64-linux-gnu/gconv",
];

fn unpack(package: &Path, into: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(into).with_context(|| into.display().to_string())?;
    let mut packed = std::process::Command::new("dpkg-deb");
    let mut packed =
        packed.arg("--fsys-tarfile").arg(package).stdout(std::process::Stdio::piped()).spawn()?;
    let stdout = packed.stdout.take().context("dpkg-deb has no output")?;
    let mut tar = std::process::Command::new("tar");
    // /bin and its like are links already, as on every system of today.
    tar.args(["--extract", "--keep-directory-symlink"])
        .args(WITHOUT.iter().map(|path| format!("--exclude={path}")));
    run(tar.arg("--directory").arg(into).stdin(stdout))?;
    anyhow::ensure!(packed.wait()?.success(), "dpkg-deb: {}", package.display());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apt_would_install_is_named_as_it_stores_it() {
        for (line, expected) in [
            ("Inst sed (4.9-1 Debian:12.1/oldstable [arm64])", Some("sed_4.9-1_arm64.deb")),
            ("Inst login (1:4.13-1 Debian:12 [arm64]) []", Some("login_1%3a4.13-1_arm64.deb")),
            ("Inst base-passwd (3.6 Debian:12 [all])", Some("base-passwd_3.6_all.deb")),
            ("Conf sed (4.9-1 Debian:12.1/oldstable [arm64])", None),
        ] {
            assert_eq!(planned(line).as_deref(), expected);
        }
    }
}
