//! Times training steps: `pretrain DATA PICTURES CAPTIONS STEPS SHARDS WORDS.txt [TEXTS...]` prints pictures per second as JSON.
//!
//! `cargo xtask bench pretrain` runs this and `pretrain_torch.py` in turn. The run's words are written to WORDS.txt, for PyTorch to use
//! the same. With files of texts the captioner knows concepts, and reads as many captions without pictures as with.

use std::path::PathBuf;

use anyhow::Context;
use metalens_trainer::pretrain::config::{
    ConceptsConfig, Config, Model, Regularisation, Schedule, Validation, VocabularyConfig,
};
use metalens_trainer::pretrain::{Timed, time_steps};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument =
        |place: usize| arguments.get(place).with_context(|| format!("argument {place} is missing"));
    let number = |place: usize| -> anyhow::Result<usize> { argument(place)?.parse().context("a number") };
    let texts: Vec<PathBuf> = arguments.iter().skip(6).map(PathBuf::from).collect();
    let (pictures, captions) = (number(1)?, number(2)?);
    let config = Config {
        trunk: None,
        data: PathBuf::from(argument(0)?),
        seed: 0,
        shards: number(4)?,
        device: Default::default(),
        objective: Default::default(),
        initial: Vec::new(),
        concepts: (!texts.is_empty()).then(ConceptsConfig::default),
        texts,
        distillation: None,
        model: Model::default(),
        vocabulary: VocabularyConfig::default(),
        schedule: Schedule { pictures, captions, texts: pictures * captions, ..Schedule::default() },
        regularisation: Regularisation { flip: true, ..Regularisation::default() },
        validation: Validation { pictures: 0 },
    };
    let steps = number(3)?;
    let Timed { words, mut seconds, concepts } = time_steps(&config, steps)?;
    let path = argument(5)?;
    std::fs::write(path, words.join("\n") + "\n").with_context(|| path.clone())?;
    // The first steps warm caches and allocator up, as in the other script.
    seconds.drain(..steps / 5);
    seconds.sort_by(f64::total_cmp);
    let rate = pictures as f64 / seconds[seconds.len() / 2];
    let [of_pictures, of_texts] = concepts;
    println!(
        "{}",
        serde_json::json!({ "pictures_per_second": rate, "concepts": of_pictures, "concepts_of_texts": of_texts })
    );
    Ok(())
}
