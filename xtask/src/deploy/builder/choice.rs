//! Which builder: a pure function of what a computer has.

use std::fmt;

use super::probe::Probe;

/// What builds for another processor, as on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Builder {
    /// The first that is usable.
    Auto,
    /// The target's standard library from rustup, and the distribution's linker.
    Rustup,
    /// The same with zig as the linker, for an older glibc.
    Zigbuild,
    /// A container with everything.
    Cross,
    /// The compiler that `cargo xtask setup-cross` unpacked.
    Debian,
}

/// A builder that is usable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// This computer is of the device's kind.
    Native,
    /// See [`Builder::Rustup`].
    Rustup,
    /// See [`Builder::Zigbuild`].
    Zigbuild,
    /// See [`Builder::Cross`].
    Cross,
    /// See [`Builder::Debian`].
    Debian,
}

const ORDER: [Chosen; 4] = [Chosen::Rustup, Chosen::Zigbuild, Chosen::Cross, Chosen::Debian];

impl fmt::Display for Chosen {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Native => "cargo",
            Self::Rustup => "rustup",
            Self::Zigbuild => "zigbuild",
            Self::Cross => "cross",
            Self::Debian => "debian",
        })
    }
}

/// Something that a builder lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    what: String,
    mend: String,
}

/// No builder is usable.
#[derive(Debug, thiserror::Error)]
#[error("no way to build for {triple} here; any one of these is enough, or give a built program with --binary:\n{}", table(.lacks))]
pub struct NoBuilder {
    triple: String,
    lacks: Vec<(Chosen, Vec<Lack>)>,
}

fn table(lacks: &[(Chosen, Vec<Lack>)]) -> String {
    let line = |(builder, lack): (&Chosen, &Lack)| format!("  {builder:9} {}: {}", lack.what, lack.mend);
    let lines = lacks.iter().flat_map(|(builder, lacks)| lacks.iter().map(move |lack| (builder, lack)));
    lines.map(line).collect::<Vec<_>>().join("\n")
}

/// The distribution's compiler for a target.
pub fn gcc(triple: &str) -> String {
    format!("{}-gcc", triple.replace("-unknown", ""))
}

/// The builder that is asked for, where it is usable; of all, the first that is.
pub fn choose(builder: Builder, triple: &str, probe: &dyn Probe) -> Result<Chosen, NoBuilder> {
    let asked: &[Chosen] = match builder {
        Builder::Auto if triple == probe.host() => return Ok(Chosen::Native),
        Builder::Auto => &ORDER,
        Builder::Rustup => &[Chosen::Rustup],
        Builder::Zigbuild => &[Chosen::Zigbuild],
        Builder::Cross => &[Chosen::Cross],
        Builder::Debian => &[Chosen::Debian],
    };
    let mut lacking = Vec::new();
    for chosen in asked {
        let lacks = lacks(*chosen, triple, probe);
        if lacks.is_empty() {
            return Ok(*chosen);
        }
        lacking.push((*chosen, lacks));
    }
    Err(NoBuilder { triple: triple.to_owned(), lacks: lacking })
}

fn lacks(builder: Chosen, triple: &str, probe: &dyn Probe) -> Vec<Lack> {
    let lack = |there: bool, what: &str, mend: String| (!there).then(|| Lack { what: what.to_owned(), mend });
    let std = || {
        let mend = format!("rustup target add {triple}");
        lack(probe.has_std(triple), "the target's standard library", mend)
    };
    let linker = || {
        let mend = format!("sudo apt install gcc-{}", triple.replace("-unknown", "").replace('_', "-"));
        lack(probe.answers(&gcc(triple), &["--version"]), "the linker", mend)
    };
    // The camera's bindings are generated from the kernel's headers.
    let clang = || lack(probe.has_libclang(), "libclang", "sudo apt install libclang-dev".into());
    let lacks = match builder {
        Chosen::Native => vec![],
        Chosen::Rustup => vec![std(), linker(), clang()],
        Chosen::Zigbuild => vec![
            std(),
            lack(
                probe.answers("cargo-zigbuild", &["--version"]),
                "cargo-zigbuild",
                "pip install cargo-zigbuild".into(),
            ),
            lack(
                probe.answers("zig", &["version"]) || probe.answers("python3", &["-m", "ziglang", "version"]),
                "zig",
                "pip install ziglang".into(),
            ),
            clang(),
        ],
        Chosen::Cross => vec![
            lack(probe.answers("cross", &["--version"]), "cross", "cargo install cross".into()),
            lack(
                probe.answers("docker", &["info"]) || probe.answers("podman", &["info"]),
                "a docker or podman that answers",
                "sudo apt install podman".into(),
            ),
        ],
        Chosen::Debian => vec![
            lack(probe.has_debian_toolchain(), "Debian's compiler", "cargo xtask setup-cross".into()),
            linker(),
            clang(),
        ],
    };
    lacks.into_iter().flatten().collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TRIPLE: &str = "aarch64-unknown-linux-gnu";
    const GCC: &str = "aarch64-linux-gnu-gcc --version";
    const ZIG: &[&str] = &["std", "clang", "cargo-zigbuild --version", "python3 -m ziglang version"];

    /// A computer that has these things.
    struct Has(&'static [&'static str]);

    impl Probe for Has {
        fn host(&self) -> String {
            "x86_64-unknown-linux-gnu".into()
        }

        fn answers(&self, program: &str, arguments: &[&str]) -> bool {
            self.0.contains(&format!("{program} {}", arguments.join(" ")).as_str())
        }

        fn has_std(&self, _: &str) -> bool {
            self.0.contains(&"std")
        }

        fn has_libclang(&self) -> bool {
            self.0.contains(&"clang")
        }

        fn has_debian_toolchain(&self) -> bool {
            self.0.contains(&"debian")
        }
    }

    #[test]
    fn the_first_builder_that_is_really_usable_is_chosen() {
        for (has, expected) in [
            (&["std", "clang", GCC] as &'static [&str], Chosen::Rustup),
            (ZIG, Chosen::Zigbuild),
            (&["cross --version", "podman info"], Chosen::Cross),
            (&["debian", "clang", GCC], Chosen::Debian),
            (&["debian", "std", "clang", GCC], Chosen::Rustup),
        ] {
            assert_eq!(choose(Builder::Auto, TRIPLE, &Has(has)).unwrap(), expected, "{has:?}");
        }
        assert_eq!(choose(Builder::Auto, "x86_64-unknown-linux-gnu", &Has(&[])).unwrap(), Chosen::Native);
    }

    #[test]
    fn a_docker_that_does_not_answer_is_no_docker() {
        let lacks = choose(Builder::Cross, TRIPLE, &Has(&["cross --version"])).unwrap_err().to_string();
        assert!(lacks.contains("a docker or podman that answers: sudo apt install podman"), "{lacks}");
        assert!(!lacks.contains("cargo install cross"), "{lacks}");
    }

    #[test]
    fn without_any_builder_every_lack_is_told_with_the_command_that_mends_it() {
        let lacks = choose(Builder::Auto, TRIPLE, &Has(&[])).unwrap_err().to_string();
        assert_eq!(
            lacks,
            "no way to build for aarch64-unknown-linux-gnu here; any one of these is enough, or give a built program with --binary:
  rustup    the target's standard library: rustup target add aarch64-unknown-linux-gnu
  rustup    the linker: sudo apt install gcc-aarch64-linux-gnu
  rustup    libclang: sudo apt install libclang-dev
  zigbuild  the target's standard library: rustup target add aarch64-unknown-linux-gnu
  zigbuild  cargo-zigbuild: pip install cargo-zigbuild
  zigbuild  zig: pip install ziglang
  zigbuild  libclang: sudo apt install libclang-dev
  cross     cross: cargo install cross
  cross     a docker or podman that answers: sudo apt install podman
  debian    Debian's compiler: cargo xtask setup-cross
  debian    the linker: sudo apt install gcc-aarch64-linux-gnu
  debian    libclang: sudo apt install libclang-dev"
        );
    }
}
