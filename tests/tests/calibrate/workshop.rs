//! A workshop with pictures to learn from, the program under test, and the bundles that it runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use metalens_tests::bundles::Bundles;
use metalens_tests::drawing;
use serde_json::Value;
use tempfile::TempDir;

/// Kinds that the new word is taught with: a blue square and a blue bar.
pub const SQUARE: usize = 2;
pub const BAR: usize = 6;

/// Whether the new word is this kind's colour.
pub fn is_blick(kind: usize) -> bool {
    kind == SQUARE || kind == BAR
}

pub fn bundles() -> &'static Bundles {
    static BUNDLES: OnceLock<Bundles> = OnceLock::new();
    BUNDLES.get_or_init(|| Bundles::make(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("calibrate")).unwrap())
}

pub fn bundle() -> &'static Path {
    &bundles().words
}

pub fn bare() -> &'static Path {
    &bundles().bare
}

/// A folder with a support set and a state beside it.
pub struct Workshop(TempDir);

impl Workshop {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn state(&self) -> PathBuf {
        self.path("state")
    }

    /// Draws pictures, each of a kind at a place, with their captions.
    pub fn support(&self, name: &str, pictures: &[(usize, u32, &str)]) -> PathBuf {
        let folder = self.path(name);
        std::fs::create_dir_all(&folder).unwrap();
        let mut captions = String::new();
        for (kind, place, caption) in pictures {
            let file = format!("{kind}-{place}.png");
            drawing::picture(*kind, *place).save(folder.join(&file)).unwrap();
            captions += &format!("{file}\t{caption}\n");
        }
        std::fs::write(folder.join("captions.tsv"), captions).unwrap();
        folder
    }

    pub fn blicks(&self, name: &str) -> PathBuf {
        self.support(
            name,
            &[
                (SQUARE, 3, "A Blick square ."),
                (BAR, 8, "There is a blick bar here ."),
                (SQUARE, 11, "a Blick square"),
                (BAR, 17, "A Blick bar !"),
            ],
        )
    }

    pub fn calibrate(&self, support: &Path, more: &[&str]) -> Output {
        self.calibrate_with(bundle(), support, more)
    }

    pub fn calibrate_with(&self, bundle: &Path, support: &Path, more: &[&str]) -> Output {
        let mut command = metalens();
        command.arg("calibrate").arg("--bundle").arg(bundle);
        command.arg("--state").arg(self.state()).arg("--support").arg(support).args(more);
        command.output().unwrap()
    }

    pub fn undo(&self) -> Output {
        metalens().args(["calibrate", "--undo", "--state"]).arg(self.state()).output().unwrap()
    }

    /// What is said of a drawing, and how familiar it is.
    pub fn said(
        &self,
        bundle: &Path,
        kind: usize,
        place: u32,
        with_state: &[&str],
    ) -> (String, Value, String) {
        let file = self.path(&format!("query-{kind}-{place}.png"));
        drawing::picture(kind, place).save(&file).unwrap();
        let mut command = metalens();
        command.args(["caption", "--json", "--bundle"]).arg(bundle).args(with_state).arg(&file);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let line: Value = serde_json::from_slice(&output.stdout).unwrap();
        (line["caption"].as_str().unwrap().to_owned(), line["familiarity"].clone(), stderr(&output))
    }

    /// Every file of the state but the lock, and whether there is a state at all.
    pub fn files(&self) -> Option<BTreeMap<PathBuf, Vec<u8>>> {
        fn collect(folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
            for entry in folder.read_dir().unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    collect(&path, files);
                } else if path.file_name().unwrap() != "lock" {
                    files.insert(path.clone(), std::fs::read(path).unwrap());
                }
            }
        }
        let mut files = BTreeMap::new();
        self.state().is_dir().then(|| collect(&self.state(), &mut files))?;
        Some(files)
    }
}

pub fn metalens() -> Command {
    Command::new(env!("CARGO_BIN_EXE_metalens-under-test"))
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}
