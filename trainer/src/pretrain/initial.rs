//! Parameters of earlier runs.

use std::path::{Path, PathBuf};

use super::checkpoint::RunFolder;
use super::dataset::Dataset;
use crate::captioner::Parameters;

/// The mean of some checkpoints of runs with this run's words and trunk. Where those runs learned the trunk's last blocks, and
/// this one's data were prepared with a whole trunk, these stay behind: the captioner gets used to that one.
pub(super) fn read_checkpoints(paths: &[PathBuf], dataset: &Dataset) -> anyhow::Result<Parameters> {
    let parameters = Parameters::mean(paths, &dataset.device)?;
    let leaves_trunk = parameters.sizes.cut.is_some() && dataset.features().index().trunk.cut.is_none();
    for path in paths {
        let folder = RunFolder(path.parent().unwrap_or(Path::new("")).to_owned());
        if leaves_trunk {
            folder.require_words(dataset)?;
        } else {
            folder.require_same(dataset)?;
        }
    }
    Ok(if leaves_trunk { parameters.without_trunk() } else { parameters })
}
