//! Times training steps: `pretrain DATA PICTURES CAPTIONS STEPS SHARDS [WORDS.txt]` prints pictures per second as JSON.
//!
//! `cargo xtask bench pretrain` runs this and `pretrain_torch.py` in turn. With a sixth argument the run's words are
//! written there, for PyTorch to use the same.

use std::path::PathBuf;

use anyhow::Context;
use metalens_trainer::pretrain::config::{
    Config, Model, Regularisation, Schedule, Validation, VocabularyConfig,
};
use metalens_trainer::pretrain::time_steps;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize| -> anyhow::Result<usize> {
        arguments
            .get(place)
            .with_context(|| format!("argument {place} is missing"))?
            .parse()
            .context("a number")
    };
    let config = Config {
        trunk: None,
        data: PathBuf::from(arguments.first().context("the prepared folder is missing")?),
        seed: 0,
        shards: number(4)?,
        device: Default::default(),
        objective: Default::default(),
        initial: Vec::new(),
        texts: Vec::new(),
        concepts: None,
        distillation: None,
        model: Model::default(),
        vocabulary: VocabularyConfig::default(),
        schedule: Schedule { pictures: number(1)?, captions: number(2)?, ..Schedule::default() },
        regularisation: Regularisation { flip: true, ..Regularisation::default() },
        validation: Validation { pictures: 0 },
    };
    let steps = number(3)?;
    let (words, mut seconds) = time_steps(&config, steps)?;
    if let Some(path) = arguments.get(5) {
        std::fs::write(path, words.join("\n") + "\n").with_context(|| path.clone())?;
    }
    // The first steps warm caches and allocator up, as in the other script.
    seconds.drain(..steps / 5);
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    println!("{}", serde_json::json!({ "pictures_per_second": config.schedule.pictures as f64 / median }));
    Ok(())
}
