//! What tests on the corpora share.

use std::path::{Path, PathBuf};

use metalens_trainer::corpus::{Corpus, Format, read};

/// A corpus: below `METALENS_DATA`, else below `shared/data` beside the workspace; none, with a line that says so, where it is not.
pub fn corpus(name: &str, format: Format) -> Option<Corpus> {
    let data = std::env::var_os("METALENS_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    let folder = data.join(name);
    if !folder.is_dir() {
        println!("skipped: no {}; METALENS_DATA names the folder of the corpora", folder.display());
        return None;
    }
    Some(read(&folder, format).unwrap())
}
