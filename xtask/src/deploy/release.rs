//! What is copied: a program, a bundle, a profile, and the sums of them all.

use std::path::Path;

use anyhow::Context;
use metalens_firmware_config::Profile;
use metalens_models::{Bundle, file as bundle_file, hexadecimal};
use sha2::{Digest, Sha256};

use super::device::{Content, Mode};
use super::elf::Program;
use super::layout::{ReleaseName, file};
use super::sign::SigningKey;

/// A file of a release.
#[derive(Clone, Debug)]
pub struct ReleaseFile {
    /// In the release's folder.
    pub path: String,
    /// In hexadecimal.
    pub sha256: String,
    /// Its size.
    pub bytes: u64,
    /// What it may be used for.
    pub mode: Mode,
    /// The file itself.
    pub content: Content,
}

/// A release, whole on this computer.
#[derive(Clone, Debug)]
pub struct Release {
    /// It follows from the content.
    pub name: ReleaseName,
    /// Every file, the sums and their signature last.
    pub files: Vec<ReleaseFile>,
    /// What the program needs.
    pub program: Program,
    /// The public key, where the release is signed.
    pub public_key: Option<String>,
}

/// What a release is made of.
pub struct Parts<'a> {
    /// As in the release's name.
    pub version: &'a str,
    /// The built program.
    pub binary: &'a Path,
    /// The folder of the bundle.
    pub bundle: &'a Path,
    /// What the release is for.
    pub profile: &'a Profile,
    /// Signs it.
    pub key: Option<&'a SigningKey>,
}

impl Release {
    /// Puts a release together. The bundle's files are checked against its manifest.
    pub fn of(parts: &Parts<'_>) -> anyhow::Result<Self> {
        let program = Program::read(parts.binary)?;
        let bundle = Bundle::open(parts.bundle)?;
        let profile = Profile::text(&parts.profile.name).unwrap_or_default().as_bytes();
        let mut files = vec![
            from_file(file::BINARY.into(), parts.binary, Mode::Program)?,
            from_bytes(file::PROFILE, profile.into()),
        ];
        for name in bundle.manifest().files.keys() {
            bundle.read(name)?;
        }
        let listed = bundle.manifest().files.keys().map(String::as_str);
        let card = Some(bundle_file::MODEL_CARD).filter(|name| parts.bundle.join(name).is_file());
        for name in listed.chain([bundle_file::MANIFEST]).chain(card) {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            anyhow::ensure!(
                name.chars().all(plain),
                "{}: {name:?}: a release takes names of letters, digits, `.`, `-` and `_`",
                parts.bundle.display()
            );
            files.push(from_file(format!("{}/{name}", file::BUNDLE), &parts.bundle.join(name), Mode::Plain)?);
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        let sums: String = files.iter().map(|file| format!("{}  {}\n", file.sha256, file.path)).collect();
        let sums = from_bytes(file::SUMS, sums.into_bytes());
        let name = format!("{}-{}", parts.version, &sums.sha256[..12]);
        let name = ReleaseName::parse(&name).with_context(|| format!("{name}: no name of a release"))?;
        let mut public_key = None;
        if let (Some(key), Content::Bytes(data)) = (parts.key, &sums.content) {
            let signature = key.sign(data, &name.to_string())?;
            files.push(from_bytes(file::SIGNATURE, signature.into_bytes()));
            public_key = Some(key.public()?);
        }
        files.push(sums);
        Ok(Self { name, files, program, public_key })
    }
}

fn from_file(path: String, from: &Path, mode: Mode) -> anyhow::Result<ReleaseFile> {
    let data = std::fs::read(from).with_context(|| from.display().to_string())?;
    let content = Content::File(from.to_owned());
    Ok(ReleaseFile { path, sha256: sha256(&data), bytes: data.len() as u64, mode, content })
}

fn from_bytes(path: &str, data: Vec<u8>) -> ReleaseFile {
    ReleaseFile {
        path: path.to_owned(),
        sha256: sha256(&data),
        bytes: data.len() as u64,
        mode: Mode::Plain,
        content: Content::Bytes(data),
    }
}

/// The sha256 of some bytes, in hexadecimal.
pub fn sha256(data: &[u8]) -> String {
    hexadecimal(&Sha256::digest(data))
}
