//! Where the bundle is when nobody says.

use std::path::{Path, PathBuf};

use super::BundleArgument;

/// The bundle of an installation, beside the program.
const INSTALLED: &str = "bundle";
/// The bundle of a checkout.
const CHECKOUT: &str = "models/flickr8k-lite0";

impl BundleArgument {
    /// What a configuration says, else METALENS_BUNDLE.
    pub fn or_environment(bundle: Option<PathBuf>) -> Self {
        Self { bundle: bundle.or_else(|| std::env::var_os("METALENS_BUNDLE").map(PathBuf::from)) }
    }

    /// Whether somebody said which.
    pub fn is_given(&self) -> bool {
        self.bundle.is_some()
    }

    /// The bundle's folder: the one given (or METALENS_BUNDLE), the one beside the program, or the checkout's, looked for
    /// from the program's and the working folder upwards.
    ///
    /// # Errors
    /// When there is none of them.
    pub fn folder(&self) -> anyhow::Result<PathBuf> {
        if let Some(folder) = &self.bundle {
            return Ok(folder.clone());
        }
        let program = std::env::current_exe().ok();
        let beside = program.as_deref().and_then(Path::parent).map(|folder| folder.join(INSTALLED));
        let here = std::env::current_dir().ok();
        let above = [&program, &here]
            .into_iter()
            .flatten()
            .flat_map(|start| start.ancestors().map(|folder| folder.join(CHECKOUT)));
        beside
            .into_iter()
            .chain(above)
            .find(|folder| folder.join(metalens_models::file::MANIFEST).is_file())
            .ok_or_else(|| {
                anyhow::anyhow!("no bundle found: give its folder with --bundle, or set METALENS_BUNDLE")
            })
    }
}
