//! What boots: a kernel, its first program, and the system of a card, unpacked and not installed, so that no program for arm64
//! runs here.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use super::board::Board;
use super::cache;
use super::packages::Packages;
use crate::run::{output, run};

/// What the kernel needs before it sees any card.
const BOOT_MODULES: &[&str] = &[
    "virtio_mmio",
    "virtio_pci",
    "virtio_blk",
    "sdhci-iproc",
    "bcm2835",
    "mmc_block",
    "ext4",
    "crc32c_generic",
];

/// Files of the guest that are as they stand here: path, content, mode.
const FILES: &[(&str, &str, u32)] = &[
    ("etc/fstab", "", 0o644),
    ("etc/group.more", GROUPS, 0o644),
    ("etc/hostname", "lab\n", 0o644),
    ("etc/hosts", "127.0.0.1 localhost lab\n", 0o644),
    ("etc/machine-id", "0123456789abcdef0123456789abcdef\n", 0o644),
    ("etc/modprobe.d/vivid.conf", include_str!("guest/vivid.conf"), 0o644),
    ("etc/nsswitch.conf", "passwd: files\ngroup: files\nshadow: files\n", 0o644),
    ("etc/passwd.more", USERS, 0o644),
    ("etc/ssh/sshd_config", include_str!("guest/sshd.conf"), 0o644),
    ("etc/sudoers.d/pi", "pi ALL=(ALL) NOPASSWD:ALL\n", 0o440),
    ("etc/systemd/system/lab-network.service", include_str!("guest/network.service"), 0o644),
    ("etc/systemd/system/systemd-udev-trigger.service.d/lab.conf", include_str!("guest/trigger.conf"), 0o644),
    ("usr/local/sbin/lab-network", include_str!("guest/network.sh"), 0o755),
];

/// `pi` may become root, as on Raspberry Pi OS, `guest` may not.
const USERS: &str = "\
sshd:x:100:65534::/run/sshd:/usr/sbin/nologin
pi:x:1000:1000::/home/pi:/bin/bash
guest:x:1001:1001::/home/guest:/bin/bash
";
const GROUPS: &str = "\
input:x:995:
kvm:x:996:
render:x:997:
sgx:x:994:
systemd-journal:x:999:
pi:x:1000:
guest:x:1001:
";

/// Units that would only take an emulated board's time.
const MASKED: &[&str] =
    &["getty.target", "systemd-logind.service", "systemd-hwdb-update.service", "systemd-binfmt.service"];

/// A guest's parts, on this computer.
pub struct Guest(PathBuf);

impl Guest {
    /// Makes the parts where they are not there.
    pub fn make(packages: &Packages) -> anyhow::Result<Self> {
        let keys = Keys::make()?;
        let host_key = fs::read_to_string(keys.host().with_extension("pub"))?;
        let boards = Board::all()?;
        let modules: Vec<_> =
            boards.iter().flat_map(|board| board.modules.iter().map(String::as_str)).collect();
        let sources = [include_str!("guest.rs"), include_str!("packages.rs"), include_str!("guest/init.sh")];
        let parts = packages.files().chain(FILES.iter().map(|file| file.1));
        let parts = parts.chain(modules.iter().copied()).chain(sources);
        let key = cache::key(parts.chain([host_key.as_str()]).map(str::as_bytes));
        let folder = cache::made("guest", &key, |folder| {
            println!("unpacking the guests' system");
            let guest = Self(folder.to_owned());
            packages.unpack_kernel(&guest.kernel_tree())?;
            run(Command::new("depmod").arg("-b").arg(guest.kernel_tree()).arg(&packages.kernel))?;
            guest.make_first_program(packages)?;
            guest.make_system(packages, &modules, &keys)?;
            // Most of the kernel package, and on the cards already.
            for superfluous in ["kernel/lib", "first", "busybox"] {
                fs::remove_dir_all(folder.join(superfluous))?;
            }
            Ok(())
        })?;
        Ok(Self(folder))
    }

    fn kernel_tree(&self) -> PathBuf {
        self.0.join("kernel")
    }

    /// The kernel.
    pub fn kernel(&self) -> anyhow::Result<PathBuf> {
        let boot = self.kernel_tree().join("boot");
        let mut entries = fs::read_dir(&boot).with_context(|| boot.display().to_string())?.flatten();
        let kernel = entries.find(|entry| entry.file_name().to_string_lossy().starts_with("vmlinuz-"));
        Ok(kernel.with_context(|| format!("{}: no kernel", boot.display()))?.path())
    }

    /// One of the kernel's device trees.
    pub fn device_tree(&self, name: &str) -> anyhow::Result<PathBuf> {
        let lib = self.kernel_tree().join("usr/lib");
        let mut entries = fs::read_dir(&lib).with_context(|| lib.display().to_string())?.flatten();
        let image = entries.find(|entry| entry.file_name().to_string_lossy().starts_with("linux-image-"));
        Ok(image.with_context(|| format!("{}: no device trees", lib.display()))?.path().join(name))
    }

    /// The first program, as the kernel takes it.
    pub fn first_program(&self) -> PathBuf {
        self.0.join("first.cpio")
    }

    /// The system, as a tree of files.
    pub fn system(&self) -> PathBuf {
        self.0.join("system")
    }

    /// The files of modules and of what they need, in the order of loading.
    fn modules(&self, version: &str, names: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
        let mut files: Vec<PathBuf> = Vec::new();
        for name in names {
            let mut modprobe = Command::new("modprobe");
            modprobe.arg("-d").arg(self.kernel_tree()).args(["-S", version, "--show-depends", name]);
            let lines = output(&mut modprobe)?;
            let paths =
                lines.lines().filter_map(|line| line.strip_prefix("insmod ")?.split_whitespace().next());
            for path in paths.map(PathBuf::from) {
                if !files.contains(&path) {
                    files.push(path);
                }
            }
        }
        Ok(files)
    }

    fn make_first_program(&self, packages: &Packages) -> anyhow::Result<()> {
        let (tree, unpacked) = (self.0.join("first"), self.0.join("busybox"));
        packages.unpack_busybox(&unpacked)?;
        fs::create_dir_all(tree.join("bin"))?;
        let busybox = [unpacked.join("bin/busybox"), unpacked.join("usr/bin/busybox")];
        let busybox = busybox.iter().find(|path| path.is_file()).context("busybox-static has no busybox")?;
        fs::copy(busybox, tree.join("bin/busybox"))?;
        write(&tree, "init", include_str!("guest/init.sh"), 0o755)?;
        let mut list = String::new();
        for module in self.modules(&packages.kernel, BOOT_MODULES)? {
            let name = module.file_name().context("a module without a name")?;
            fs::copy(&module, tree.join(name)).with_context(|| module.display().to_string())?;
            list += &format!("/{}\n", name.to_string_lossy());
        }
        write(&tree, "modules", &list, 0o644)?;
        let pack = "find . | cpio --quiet -o -H newc -R 0:0";
        let into = fs::File::create(self.first_program())?;
        run(Command::new("sh").args(["-c", pack]).current_dir(&tree).stdout(into))
    }

    fn make_system(&self, packages: &Packages, modules: &[&str], keys: &Keys) -> anyhow::Result<()> {
        let tree = self.system();
        for name in ["bin", "sbin", "lib"] {
            fs::create_dir_all(tree.join("usr").join(name))?;
            symlink(format!("usr/{name}"), tree.join(name))?;
        }
        packages.unpack_system(&tree)?;
        for folder in
            ["proc", "sys", "dev", "run", "tmp", "root/.ssh", "home", "opt", "srv", "mnt", "var/log"]
        {
            fs::create_dir_all(tree.join(folder))?;
        }
        fs::set_permissions(tree.join("tmp"), fs::Permissions::from_mode(0o1777))?;
        fs::set_permissions(tree.join("usr/bin/sudo"), fs::Permissions::from_mode(0o4755))?;
        if !tree.join("bin/sh").exists() {
            symlink("dash", tree.join("bin/sh"))?;
        }
        for (path, content, mode) in FILES {
            write(&tree, path, content, *mode)?;
        }
        for name in ["passwd", "group"] {
            let master = fs::read_to_string(tree.join(format!("usr/share/base-passwd/{name}.master")))?;
            let more = tree.join(format!("etc/{name}.more"));
            write(&tree, &format!("etc/{name}"), &(master + &fs::read_to_string(&more)?), 0o644)?;
            fs::remove_file(more)?;
        }
        for kind in ["auth", "account", "password", "session", "session-noninteractive"] {
            let line = format!("{} required pam_permit.so\n", kind.trim_end_matches("-noninteractive"));
            write(&tree, &format!("etc/pam.d/common-{kind}"), &line, 0o644)?;
        }
        let units = tree.join("etc/systemd/system");
        fs::create_dir_all(units.join("multi-user.target.wants"))?;
        for unit in ["/lib/systemd/system/ssh.service", "../lab-network.service"] {
            let name = Path::new(unit).file_name().context("a unit without a name")?;
            let link = units.join("multi-user.target.wants").join(name);
            if link.symlink_metadata().is_err() {
                symlink(unit, link)?;
            }
        }
        symlink("/lib/systemd/system/multi-user.target", units.join("default.target"))?;
        for unit in MASKED {
            symlink("/dev/null", units.join(unit))?;
        }
        keys.install(&tree)?;
        let version = &packages.kernel;
        let from = self.kernel_tree();
        for module in self.modules(version, modules)? {
            let to = tree.join(module.strip_prefix(from.canonicalize()?).or(module.strip_prefix(&from))?);
            copy(&module, &to)?;
        }
        for list in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
            let path = Path::new("lib/modules").join(version).join(list);
            copy(&from.join(&path), &tree.join(&path))?;
        }
        run(Command::new("depmod").arg("-b").arg(&tree).arg(version))
    }
}

fn write(tree: &Path, path: &str, content: &str, mode: u32) -> anyhow::Result<()> {
    let path = tree.join(path);
    fs::create_dir_all(path.parent().context("a file in no folder")?)?;
    fs::write(&path, content).with_context(|| path.display().to_string())?;
    fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to.parent().context("a file in no folder")?)?;
    fs::copy(from, to).with_context(|| from.display().to_string())?;
    Ok(())
}

/// The lab's keys: the user's and every guest's.
pub struct Keys(PathBuf);

impl Keys {
    /// Makes them where they are not there.
    pub fn make() -> anyhow::Result<Self> {
        let keys = Self(cache::folder()?.join("keys"));
        fs::create_dir_all(&keys.0)?;
        for path in [keys.user(), keys.host()] {
            if !path.is_file() {
                run(Command::new("ssh-keygen")
                    .args(["-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f"])
                    .arg(path))?;
            }
        }
        let public = fs::read_to_string(keys.host().with_extension("pub"))?;
        fs::write(keys.known_hosts(), format!("lab {public}"))?;
        Ok(keys)
    }

    /// The user's private key.
    pub fn user(&self) -> PathBuf {
        self.0.join("user")
    }

    fn host(&self) -> PathBuf {
        self.0.join("host")
    }

    /// The guests' key, as ssh knows hosts.
    pub fn known_hosts(&self) -> PathBuf {
        self.0.join("known_hosts")
    }

    fn install(&self, tree: &Path) -> anyhow::Result<()> {
        let public = fs::read_to_string(self.user().with_extension("pub"))?;
        for home in ["root", "home/pi", "home/guest"] {
            write(tree, &format!("{home}/.ssh/authorized_keys"), &public, 0o600)?;
            for folder in [tree.join(home), tree.join(home).join(".ssh")] {
                fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
            }
            // Everything on a card is root's; a key that only root could read would let nobody else in.
            let keys = tree.join(home).join(".ssh/authorized_keys");
            fs::set_permissions(keys, fs::Permissions::from_mode(0o644))?;
        }
        let private = fs::read_to_string(self.host())?;
        write(tree, "etc/ssh/ssh_host_ed25519_key", &private, 0o600)?;
        write(
            tree,
            "etc/ssh/ssh_host_ed25519_key.pub",
            &fs::read_to_string(self.host().with_extension("pub"))?,
            0o644,
        )
    }
}
