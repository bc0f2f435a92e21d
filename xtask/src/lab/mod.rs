//! `cargo xtask lab`: boards that QEMU emulates, on which deploys and the daemon are tried as on real ones.
//!
//! `packages.rs` gets Debian's packages, `guest.rs` unpacks them, `card.rs` makes images of cards, `machine.rs` runs a board.
//! Boards are described below tests/boards. `suite/` has what is tried.

mod board;
mod cache;
mod card;
mod guest;
mod machine;
mod packages;
mod program;
mod qemu;
mod suite;
mod unit;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use clap::Subcommand;

use self::board::Board;
use self::guest::Guest;
use self::machine::Machine;
use self::packages::Packages;
use self::qemu::Level;

/// What is done in the lab.
#[derive(Subcommand)]
pub enum Lab {
    /// Get the newest packages and unpack the guests.
    Prepare,
    /// Build the program for arm64, which takes half an hour the first time.
    Build,
    /// Start a board with a fresh card, and wait until ssh answers.
    Up {
        /// A file's name below tests/boards.
        board: String,
    },
    /// Run a command on a board, or a shell.
    Ssh {
        /// A board that runs.
        board: String,
        /// The command.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Press a board's button.
    Press {
        /// A board that runs.
        board: String,
        /// For how long.
        #[arg(long, value_name = "MS", default_value_t = 200)]
        ms: u64,
    },
    /// Tell a board's light.
    Led {
        /// A board that runs.
        board: String,
    },
    /// Stop a board; its card is thrown away.
    Down {
        /// A board that runs.
        board: String,
    },
    /// Try deploys and the daemon on emulated boards, and print a table.
    Test(suite::Arguments),
    /// Run the fast tests as programs for arm64.
    Unit {
        /// Parts of tests' names; all where not given.
        filters: Vec<String>,
    },
}

/// Runs the command.
pub fn lab(task: Lab) -> anyhow::Result<()> {
    match task {
        Lab::Prepare => {
            require()?;
            Guest::make(&Packages::fetch()?)?;
            println!("the lab is ready: {}", cache::folder()?.display());
            Ok(())
        }
        Lab::Build => {
            println!("{}", program::build()?.display());
            Ok(())
        }
        Lab::Up { board } => up(&board),
        Lab::Ssh { board, command } => {
            let mut ssh = Machine::running(&board)?.ssh("pi");
            let status = ssh.args(command).status().context("ssh")?;
            anyhow::ensure!(status.success(), "{status}");
            Ok(())
        }
        Lab::Press { board, ms } => press(&Machine::running(&board)?, Duration::from_millis(ms)),
        Lab::Led { board } => {
            println!("{}", led(&Machine::running(&board)?)?);
            Ok(())
        }
        Lab::Down { board } => Machine::running(&board)?.stop(),
        Lab::Test(arguments) => suite::test(&arguments),
        Lab::Unit { filters } => unit::unit(&filters),
    }
}

/// The guests, made where they are not there.
fn guest() -> anyhow::Result<(Guest, Packages)> {
    require()?;
    let packages = match Packages::cached()? {
        Some(packages) => packages,
        None => Packages::fetch()?,
    };
    Ok((Guest::make(&packages)?, packages))
}

/// What the lab needs of this computer: program and package.
const NEEDED: &[(&str, &str)] = &[
    ("qemu-system-aarch64", "qemu-system-arm"),
    ("qemu-aarch64-static", "qemu-user-static"),
    ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu libc6-dev-arm64-cross"),
    ("cpio", "cpio"),
    ("depmod", "kmod"),
    ("mke2fs", "e2fsprogs"),
    ("dpkg-deb", "dpkg"),
    ("ssh", "openssh-client"),
];

/// Sees that everything is there that a distribution's package has; root installs what is missing.
fn require() -> anyhow::Result<()> {
    let missing: Vec<_> = NEEDED.iter().filter(|(name, _)| card::program(name).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<_> = missing.iter().flat_map(|(_, packages)| packages.split(' ')).collect();
    let is_root = card::is_root()?;
    anyhow::ensure!(is_root, "the lab needs some packages: sudo apt install {}", packages.join(" "));
    let mut install = Command::new("apt-get");
    install.args(["install", "-qq", "-y", "--no-install-recommends"]).args(&packages);
    crate::run::run(&mut install)
}

fn up(name: &str) -> anyhow::Result<()> {
    let board = Board::named(name)?;
    let (guest, _) = guest()?;
    let image = fresh_card(&board, name, &guest, |_| Ok(()))?;
    let machine = Machine::start(&board, name, &guest, &image)?;
    let took = machine.wait()?;
    println!("{name} is up after {} s", took.as_secs());
    println!("  cargo xtask lab ssh {name}");
    println!(
        "  cargo xtask deploy pi@127.0.0.1 --port {} --ssh-config {} --profile {}",
        machine.port,
        machine.ssh_config().display(),
        board.profile
    );
    Ok(())
}

/// A card with a board's configuration and whatever `fill` puts there.
fn fresh_card(
    board: &Board,
    name: &str,
    guest: &Guest,
    fill: impl FnOnce(&std::path::Path) -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
    let image = Machine::image(name)?;
    let tree = image.with_extension("tree");
    card::copy_tree(&guest.system(), &tree)?;
    let write = |path: &str, content: &str| -> anyhow::Result<()> {
        let path = tree.join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(&tree))?;
        std::fs::write(&path, content).with_context(|| path.display().to_string())
    };
    write("etc/metalens/metalens.toml", &board.config)?;
    if let Some(unit) = &board.unit {
        write("etc/systemd/system/metalens.service.d/lab.conf", unit)?;
    }
    fill(&tree)?;
    card::make(&tree, &image)?;
    std::fs::remove_dir_all(&tree)?;
    Ok(image)
}

fn press(machine: &Machine, time: Duration) -> anyhow::Result<()> {
    let pins = machine.board.pins.as_ref().with_context(|| format!("{} has no pins", machine.board.name))?;
    let monitor = machine.monitor();
    // To ground.
    monitor.drive(pins, pins.button, Level::Low)?;
    std::thread::sleep(time);
    monitor.drive(pins, pins.button, Level::High)
}

/// The colours that burn.
fn led(machine: &Machine) -> anyhow::Result<String> {
    let pins = machine.board.pins.as_ref().with_context(|| format!("{} has no pins", machine.board.name))?;
    let monitor = machine.monitor();
    let mut burning = Vec::new();
    for (name, pin) in [("red", pins.red), ("green", pins.green), ("blue", pins.blue)] {
        if monitor.level(pins, pin)? == Level::High {
            burning.push(name);
        }
    }
    Ok(if burning.is_empty() { "dark".to_owned() } else { burning.join(" ") })
}
