//! Parameters of earlier runs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use metalens::engine::{self, Constant};

use super::checkpoint::RunFolder;
use super::dataset::Dataset;
use crate::captioner::Parameters;
use crate::encoder::learned;

/// The mean of some checkpoints of runs with this run's words and trunk. Where those runs learned the trunk's last blocks, and
/// this one's data were prepared with the trunk that came of them, these stay behind.
pub(super) fn read_checkpoints(paths: &[PathBuf], dataset: &Dataset) -> anyhow::Result<Parameters> {
    let parameters = Parameters::mean(paths, &dataset.device)?;
    let learned = parameters.sizes.cut.is_some() && dataset.features().index().trunk.cut.is_none();
    for path in paths {
        let folder = RunFolder(path.parent().unwrap_or(Path::new("")).to_owned());
        if learned {
            folder.require_words(dataset)?;
        } else {
            folder.require_same(dataset)?;
        }
    }
    if !learned {
        return Ok(parameters);
    }
    require_trunk_of(&parameters, &dataset.features().trunk())?;
    Ok(parameters.without_trunk())
}

/// How far a weight may be from one that was written at half precision.
const HALF: f32 = 1e-3;

/// Makes sure that the ONNX file `trunk` has the layers that `parameters` learned.
fn require_trunk_of(parameters: &Parameters, trunk: &Path) -> anyhow::Result<()> {
    let bytes = std::fs::read(trunk).with_context(|| trunk.display().to_string())?;
    let constants: HashMap<String, Constant> = engine::constants(&bytes, "trunk")?.into_iter().collect();
    for layer in parameters.sizes.cut.map(learned::layers).unwrap_or_default() {
        let part = |part| parameters.get(&learned::parameter(&layer, part));
        let learned = learned::convolution(&layer, part("weight"), part("bias"))?.weight;
        let is_same = constants.get(&format!("{}.weight", layer.name)).is_some_and(|found| {
            let near = |(a, b): (&f32, &f32)| (a - b).abs() <= HALF * b.abs() + 1e-6;
            found.values.len() == learned.len() && found.values.iter().zip(&learned).all(near)
        });
        anyhow::ensure!(
            is_same,
            "{}: {} is not what the run to start from learned; prepare the data with the trunk that `export --trunk` wrote of it",
            trunk.display(),
            layer.name
        );
    }
    Ok(())
}
