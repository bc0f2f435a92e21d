//! What the daemon looks at: drawn pictures in a folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use metalens_tests::bundles::Bundles;
use metalens_tests::daemon::Daemon;
use metalens_tests::drawing;
use serde_json::Value;
use tempfile::TempDir;

/// Kinds and places of a handful of pictures.
pub const PICTURES: [(usize, u32); 6] = [(0, 1), (1, 5), (2, 13), (4, 19), (6, 22), (7, 2)];

pub fn bundles() -> &'static Bundles {
    static BUNDLES: OnceLock<Bundles> = OnceLock::new();
    BUNDLES.get_or_init(|| Bundles::make(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("daemon")).unwrap())
}

pub fn bundle() -> &'static Path {
    &bundles().words
}

pub fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_metalens-under-test"))
}

/// A folder with pictures, in which a daemon runs.
pub struct Scene(TempDir);

impl Scene {
    pub fn new(pictures: &[(usize, u32)]) -> Self {
        let scene = Self(tempfile::tempdir().unwrap());
        std::fs::create_dir(scene.pictures()).unwrap();
        for &(kind, place) in pictures {
            drawing::picture(kind, place).save(scene.pictures().join(format!("{kind}-{place}.png"))).unwrap();
        }
        scene
    }

    pub fn folder(&self) -> &Path {
        self.0.path()
    }

    pub fn pictures(&self) -> PathBuf {
        self.folder().join("pictures")
    }

    pub fn start(&self, settings: &str) -> Daemon {
        self.start_with(bundle(), settings)
    }

    pub fn start_with(&self, bundle: &Path, settings: &str) -> Daemon {
        let source = format!("source = \"files:{}\"\n{settings}", self.pictures().display());
        Daemon::start(program(), bundle, self.folder(), &source).unwrap()
    }

    /// What `metalens caption` says of each picture, in the order of their names.
    pub fn captions(&self, with_state: &[&str]) -> Vec<(String, String)> {
        let mut files: Vec<PathBuf> =
            self.pictures().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let mut command = Command::new(program());
        command.args(["caption", "--json", "--bundle"]).arg(bundle()).args(with_state).args(&files);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout).unwrap();
        let of = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            (super::text(&line, "file"), super::text(&line, "caption"))
        };
        lines.lines().map(of).collect()
    }
}
