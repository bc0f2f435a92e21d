//! Which program and bundle this is.

use std::path::{Path, PathBuf};

use metalens_models::Bundle;
use serde::Serialize;

/// The folder of releases that `cargo xtask deploy` fills.
const RELEASES: &str = "releases";

/// Which program and bundle this is.
#[derive(Clone, Debug, Serialize)]
pub struct Release {
    /// The program's version.
    pub version: String,
    /// The release's folder, where the program was deployed as one.
    pub release: Option<String>,
    /// The bundle's name.
    pub bundle_name: String,
    /// The bundle's id.
    pub bundle: String,
}

impl Release {
    /// This program with a bundle.
    #[must_use]
    pub fn of(bundle: &Bundle) -> Self {
        let program = std::env::current_exe().and_then(|program| program.canonicalize());
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            release: program.ok().and_then(release_of),
            bundle_name: bundle.manifest().name.clone(),
            bundle: bundle.manifest().id.to_string(),
        }
    }
}

/// `…/releases/NAME/metalens` is of the release NAME.
fn release_of(program: PathBuf) -> Option<String> {
    let folder = program.parent()?;
    let releases = folder.parent().and_then(Path::file_name)?;
    (releases == RELEASES)
        .then(|| folder.file_name().map(|name| name.to_string_lossy().into_owned()))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_the_folder_in_which_it_was_deployed() {
        let of = |path: &str| release_of(PathBuf::from(path));
        assert_eq!(of("/opt/metalens/releases/0.1.0-abc/metalens").as_deref(), Some("0.1.0-abc"));
        assert_eq!(of("/usr/bin/metalens"), None);
        assert_eq!(of("metalens"), None);
    }
}
