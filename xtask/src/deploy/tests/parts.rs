//! Releases to deploy: programs that are ELF files and nothing else, and a bundle of a few bytes.

use std::path::Path;

use metalens_firmware_config::Profile;
use metalens_models::Bundle;
use tempfile::TempDir;

use crate::deploy::device::Content;
use crate::deploy::elf::Program;
use crate::deploy::release::{Parts, Release};
use crate::deploy::sign::SigningKey;

/// The machine's number in an ELF file.
pub const AARCH64: u16 = 183;

/// An ELF file that needs these symbol versions and ends in `tail`.
pub fn program(machine: u16, versions: &[&str], tail: &str) -> Vec<u8> {
    let mut strings = b"\0libc.so.6\0".to_vec();
    let mut needed = Vec::new();
    for field in [1, versions.len() as u16] {
        needed.extend(field.to_le_bytes());
    }
    for field in [1_u32, 16, 0] {
        needed.extend(field.to_le_bytes());
    }
    for (number, version) in versions.iter().enumerate() {
        let next = if number + 1 < versions.len() { 16 } else { 0 };
        needed.extend([0; 8]);
        needed.extend((strings.len() as u32).to_le_bytes());
        needed.extend((next as u32).to_le_bytes());
        strings.extend(version.bytes().chain([0]));
    }
    let (at_strings, at_needed) = (64, 64 + strings.len());
    let at_sections = at_needed + needed.len();
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend([3, 0]);
    file.extend(machine.to_le_bytes());
    file.resize(0x28, 0);
    file.extend((at_sections as u64).to_le_bytes());
    file.resize(0x3a, 0);
    file.extend(64_u16.to_le_bytes());
    file.extend(3_u16.to_le_bytes());
    file.resize(64, 0);
    file.extend(&strings);
    file.extend(&needed);
    for (kind, at, link) in [(0_u32, 0, 0), (0x6fff_fffe, at_needed, 2_u32), (3, at_strings, 0)] {
        let start = file.len();
        file.extend([0; 4]);
        file.extend(kind.to_le_bytes());
        file.resize(start + 24, 0);
        file.extend((at as u64).to_le_bytes());
        file.resize(start + 40, 0);
        file.extend(link.to_le_bytes());
        file.resize(start + 64, 0);
    }
    file.extend(tail.bytes());
    file
}

/// What a release is made of, in a folder of its own. What its program does stands in its last bytes.
pub struct Source(TempDir);

impl Source {
    pub fn new(behaviour: &str) -> Self {
        Self::with(&program(AARCH64, &["GLIBC_2.17", "GLIBC_2.34"], behaviour))
    }

    pub fn with(program: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("metalens"), program).unwrap();
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/flickr8k-lite0");
        let manifest = Bundle::open(&model).unwrap().manifest().clone();
        let files =
            manifest.files.keys().map(|name| (name.clone(), format!("the bytes of {name}").into_bytes()));
        let files = files.collect();
        metalens_models::write(&folder.path().join("bundle"), manifest, &files).unwrap();
        Self(folder)
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    pub fn try_release(&self, key: Option<&SigningKey>) -> anyhow::Result<Release> {
        let mut release = Release::of(&Parts {
            version: "0.1.0",
            binary: &self.path("metalens"),
            bundle: &self.path("bundle"),
            profile: &profile(),
            key,
        })?;
        // The release outlives this folder.
        for file in &mut release.files {
            if let Content::File(path) = &file.content {
                file.content = Content::Bytes(std::fs::read(path)?);
            }
        }
        Ok(release)
    }

    pub fn release(&self) -> Release {
        self.try_release(None).unwrap()
    }
}

pub fn profile() -> Profile {
    Profile::named("rpi4").unwrap()
}

#[test]
fn the_newest_symbol_version_and_the_machine_are_read_from_a_program() {
    let read = |versions: &[&str]| Program::parse(&program(AARCH64, versions, "")).unwrap();
    let newest = read(&["GLIBC_2.17", "GLIBC_2.34", "GLIBC_2.4", "GCC_3.0"]).glibc.unwrap();
    assert_eq!((newest.0, newest.1), (2, 34));
    assert_eq!(read(&[]).glibc, None);
    assert_eq!(read(&[]).machine, "aarch64");
    // This very test, of which the machine is known.
    let this = Program::read(&std::env::current_exe().unwrap()).unwrap();
    assert_eq!((this.machine, this.bits), (std::env::consts::ARCH, 64));
    assert!(this.glibc.is_some());
}

#[test]
fn no_cut_of_a_program_makes_its_reading_panic() {
    let whole = program(AARCH64, &["GLIBC_2.17", "GLIBC_2.34"], "");
    for length in 0..whole.len() {
        let _ = Program::parse(&whole[..length]);
    }
    for place in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[place] = 0xff;
        let _ = Program::parse(&damaged);
    }
}
