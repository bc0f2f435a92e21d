//! The configuration file of `pretrain`.

mod concepts;
mod rules;

use std::path::{Path, PathBuf};

use anyhow::Context;
use candle_core::Device;
use serde::{Deserialize, Serialize};

pub use concepts::ConceptsConfig;

use crate::encoder::checkpoint::{self, Weights};

/// Everything that decides a training run; written beside its checkpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The folder that `prepare` wrote.
    pub data: PathBuf,
    /// Seeds initialization, order, dropout and everything else that is random.
    #[serde(default)]
    pub seed: u64,
    /// Shards of a batch, each on a thread of its own. The sum over shards is part of the arithmetic: another number
    /// gives another, equally good, run.
    #[serde(default = "two")]
    pub shards: usize,
    /// What computes.
    #[serde(default)]
    pub device: ComputeDevice,
    /// What is learned from: what people said, or rewards for what the captioner says itself.
    #[serde(default)]
    pub objective: Objective,
    /// Parameters to start from instead of random ones: a checkpoint of a run with the same words and widths, or the mean of several.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "one_or_more")]
    pub initial: Vec<PathBuf>,
    /// How the trunk's last blocks learn, where the data were prepared with the part before them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trunk: Option<Trunk>,
    /// Widths of the captioner.
    #[serde(default)]
    pub model: Model,
    /// Files of captions without pictures, plain or compressed by gzip; each step sees as many from each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<PathBuf>,
    /// Words as evidence, where the captioner is to know concepts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concepts: Option<ConceptsConfig>,
    /// Which words it knows.
    #[serde(default)]
    pub vocabulary: VocabularyConfig,
    /// How long and how fast it learns.
    #[serde(default)]
    pub schedule: Schedule,
    /// What keeps it from learning by heart.
    #[serde(default)]
    pub regularisation: Regularisation,
    /// Other captioners to learn from beside people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distillation: Option<Distillation>,
    /// What is held out of the training split to choose by.
    #[serde(default)]
    pub validation: Validation,
}

/// A path, or a list of paths.
fn one_or_more<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<PathBuf>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "needs a path or a list of paths")]
    enum Paths {
        One(PathBuf),
        More(Vec<PathBuf>),
    }
    Ok(match Paths::deserialize(deserializer)? {
        Paths::One(path) => vec![path],
        Paths::More(paths) => paths,
    })
}

fn two() -> usize {
    2
}

/// What computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ComputeDevice {
    /// The processor.
    #[default]
    Cpu,
    /// The first NVIDIA GPU; needs a trainer built with `--features cuda`.
    Cuda,
}

impl ComputeDevice {
    /// Opens it.
    ///
    /// # Errors
    /// When there is no such device, or this program was built without it.
    pub fn open(self) -> candle_core::Result<Device> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda => Device::new_cuda(0),
        }
    }
}

/// What the captioner learns from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Objective {
    /// The likelihood of people's captions.
    #[default]
    CrossEntropy,
    /// CIDEr of captions that the captioner draws itself, `schedule.captions` a picture.
    SelfCritical,
}

/// How the trunk's last blocks learn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trunk {
    /// The published checkpoint to start from, a `.pth` file; not needed beside `initial`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<PathBuf>,
    /// Their share of the learning rate: they know much already.
    pub learning_rate: f64,
}

impl Default for Trunk {
    fn default() -> Self {
        Self { checkpoint: None, learning_rate: 0.05 }
    }
}

/// Widths of the captioner's layers; the trunk's and the vocabulary's follow from the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Model {
    /// Visual token.
    pub token: usize,
    /// Attention key.
    pub key: usize,
    /// Recurrent state.
    pub state: usize,
    /// Word embedding.
    pub word: usize,
    /// Hidden layer of the head.
    pub hidden: usize,
}

impl Default for Model {
    fn default() -> Self {
        Self { token: 256, key: 192, state: 384, word: 256, hidden: 384 }
    }
}

/// Which words the captioner knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VocabularyConfig {
    /// Words seen less often in the training captions are unknown.
    pub min_count: usize,
    /// Unless they are seen so often in the texts.
    pub min_count_of_texts: usize,
    /// Words of a caption beyond this many are cut.
    pub max_words: usize,
}

impl Default for VocabularyConfig {
    fn default() -> Self {
        Self { min_count: 4, min_count_of_texts: 25, max_words: 20 }
    }
}

/// How long and how fast the captioner learns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// Passes over the training pictures.
    pub epochs: usize,
    /// Stop earlier, after so many epochs without a better CIDEr on the held-out pictures; never where not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<usize>,
    /// Pictures of a batch.
    pub pictures: usize,
    /// Captions of each picture in a batch, drawn anew every time.
    pub captions: usize,
    /// Captions without pictures in a batch, where there are texts.
    pub texts: usize,
    /// The highest learning rate of the cycle (Smith and Topin 2019).
    pub peak_learning_rate: f64,
    /// The part of all steps in which the rate climbs; the rest falls along a cosine.
    pub warm_up: f64,
    /// AdamW's decoupled weight decay (Loshchilov and Hutter 2019), on matrices only.
    pub weight_decay: f64,
    /// The gradient's norm is cut to this.
    pub clip: f64,
    /// Decay per step of the running average of the parameters, which is what is validated and exported.
    pub average: f64,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            epochs: 20,
            patience: None,
            pictures: 32,
            captions: 5,
            texts: 160,
            peak_learning_rate: 2e-3,
            warm_up: 0.1,
            weight_decay: 0.05,
            clip: 1.0,
            average: 0.998,
        }
    }
}

/// What keeps the captioner from learning by heart.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Regularisation {
    /// Probability that an element of tokens, embeddings, z and the head's hidden layer is dropped.
    pub dropout: f64,
    /// Probability that a word read is replaced by the unknown word.
    pub word_dropout: f64,
    /// Part of the target's probability that is spread over the vocabulary.
    pub label_smoothing: f32,
    /// Show every picture in one of its views by chance: mirrored half of the time, and cropped where there are crops (needs
    /// features prepared with `--mirrored`).
    pub flip: bool,
    /// Weight of people's captions beside those that the self-critical objective draws; without them the captioner
    /// forgets how probable its words are.
    pub likelihood: f64,
}

impl Default for Regularisation {
    fn default() -> Self {
        Self { dropout: 0.3, word_dropout: 0.0, label_smoothing: 0.1, flip: false, likelihood: 0.2 }
    }
}

/// Other captioners to learn from: the mean of their next-word probabilities stands beside what people said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distillation {
    /// Checkpoints of runs with the same words.
    pub teachers: Vec<PathBuf>,
    /// Their part of the target; people's captions have the rest.
    pub share: f64,
}

/// What is held out of the training split.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Validation {
    /// So many pictures, chosen by the hash of their names.
    pub pictures: usize,
}

impl Default for Validation {
    fn default() -> Self {
        Self { pictures: 300 }
    }
}

/// What is wrong with a configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("{path}: {source}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is no TOML, or has a key that does not exist.
    #[error("{path}: {reason}", path = path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// Line, column and reason, on one line.
        reason: String,
    },
    /// A setting that was given beside the file is none.
    #[error("--set {setting}: {reason}")]
    Setting {
        /// As it was given.
        setting: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A value makes no sense.
    #[error("{path}: {key} = {value}: {rule}", path = path.display())]
    Value {
        /// The file.
        path: PathBuf,
        /// The key, with its section.
        key: &'static str,
        /// What stands there.
        value: String,
        /// What would do.
        rule: &'static str,
    },
}

impl Config {
    /// The weights that the trunk's learned blocks start from.
    ///
    /// # Errors
    /// When no checkpoint is named, or it cannot be read.
    pub(super) fn published_trunk(&self) -> anyhow::Result<Weights> {
        let path = self.trunk.as_ref().and_then(|trunk| trunk.checkpoint.as_ref());
        let path = path.with_context(|| {
            format!(
                "{}: prepared with a part of the trunk; name the .pth file of the rest as trunk.checkpoint",
                self.data.display()
            )
        })?;
        Ok(checkpoint::read(path)?)
    }

    /// Reads and checks a configuration.
    ///
    /// # Errors
    /// When the file is unreadable, malformed, or holds a value out of range; the message names the key.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::read_with(path, &[])
    }

    /// Reads and checks a configuration in which some values are replaced: settings are `key=value`, such as
    /// `schedule.epochs=3`, the value written as in TOML.
    ///
    /// # Errors
    /// As [`Self::read`], and when a setting is none; the message names it.
    pub fn read_with(path: &Path, settings: &[String]) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Io { path: path.to_owned(), source })?;
        let malformed = |error: toml::de::Error| ConfigError::Toml {
            path: path.to_owned(),
            reason: one_line(&error, &text),
        };
        let table: toml::Table = toml::from_str(&text).map_err(malformed)?;
        let given: Vec<toml::Table> =
            settings.iter().map(|setting| parse_setting(setting)).collect::<Result<_, _>>()?;
        // The file's own problems have a line; what it lacks, a setting may give.
        let config = toml::from_str::<Self>(&text).map_err(malformed);
        let with = |left_out: Option<usize>| {
            let mut table = table.clone();
            let given = given.iter().enumerate().filter(|(place, _)| Some(*place) != left_out);
            given.for_each(|(_, given)| replace(&mut table, given.clone()));
            table.try_into::<Self>()
        };
        let config = match (with(None), config) {
            (Ok(config), _) => config,
            // The setting without which all is well is the wrong one.
            (Err(error), of_file) => {
                let wrong = (0..settings.len()).find(|&place| with(Some(place)).is_ok());
                return Err(match (wrong, of_file) {
                    (Some(place), _) => wrong_setting(&settings[place], &error),
                    (None, Err(of_file)) if of_file.to_string().ends_with(error.message()) => of_file,
                    (None, _) => wrong_setting(&settings.join(" --set "), &error),
                });
            }
        };
        config.check(path)?;
        Ok(config)
    }

    /// Whether this is what `other` says, but for which evidence makes concepts: that can be chosen anew when a run is exported.
    #[must_use]
    pub fn is_but_for_evidence(&self, other: &Self) -> bool {
        let chosen = other.concepts.as_ref();
        let concepts = self.concepts.clone().zip(chosen).map(|(concepts, chosen)| ConceptsConfig {
            captions: chosen.captions,
            classes: chosen.classes,
            things: chosen.things,
            settings: chosen.settings,
            ..concepts
        });
        self.concepts.is_some() == chosen.is_some() && Self { concepts, ..self.clone() } == *other
    }
}

fn wrong_setting(setting: &str, error: &toml::de::Error) -> ConfigError {
    ConfigError::Setting { setting: setting.to_owned(), reason: error.message().to_owned() }
}

fn parse_setting(setting: &str) -> Result<toml::Table, ConfigError> {
    toml::from_str(setting).map_err(|error| wrong_setting(setting, &error))
}

/// Puts every value of `given` in the place of the one in `table`.
fn replace(table: &mut toml::Table, given: toml::Table) {
    for (key, value) in given {
        match (table.get_mut(&key), value) {
            (Some(toml::Value::Table(old)), toml::Value::Table(new)) => replace(old, new),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

/// TOML's errors span several lines with a drawing of the place; a line number says the same.
fn one_line(error: &toml::de::Error, text: &str) -> String {
    let line = 1 + error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count());
    format!("line {line}: {}", error.message())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        std::fs::write(&path, text).unwrap();
        Config::read(&path)
    }

    #[test]
    fn everything_but_the_data_has_a_default() {
        let config = read("data = \"data/flickr8k\"").unwrap();
        assert_eq!(config.model, Model::default());
        assert_eq!(config.shards, 2);
    }

    #[test]
    fn which_evidence_makes_concepts_can_be_chosen_anew_and_nothing_else() {
        let own = read("data = \"d\"\n[concepts]\n").unwrap();
        let changes: [fn(&mut ConceptsConfig); 3] = [
            |concepts| concepts.classes = false,
            |concepts| (concepts.captions, concepts.things) = (false, false),
            |concepts| concepts.settings.required = 0.75,
        ];
        for change in changes {
            let mut chosen = own.clone();
            chosen.concepts.iter_mut().for_each(change);
            assert!(chosen != own && chosen.is_but_for_evidence(&own), "{:?}", chosen.concepts);
        }
        for text in ["data = \"d\"", "data = \"d\"\n[concepts]\ntokens = 5", "data = \"e\"\n[concepts]"] {
            assert!(!read(text).unwrap().is_but_for_evidence(&own), "{text}");
        }
    }

    #[test]
    fn texts_need_concepts_and_concepts_are_looked_at() {
        for (text, key) in [
            ("texts = [\"captions.txt\"]", "texts"),
            ("[concepts]\nfolds = 1", "concepts.folds"),
            ("[concepts]\nraised = 1.5", "concepts.raised"),
            ("[concepts]\ntokens = 17", "concepts.tokens"),
            ("[concepts]\n[regularisation]\nword_dropout = 0.1", "regularisation.word_dropout"),
        ] {
            let error = read(&format!("data = \"d\"\n{text}\n")).unwrap_err().to_string();
            assert!(error.contains(&format!("{key} = ")) && error.lines().count() == 1, "{error}");
        }
        assert!(read("data = \"d\"\ntexts = [\"captions.txt\"]\n[concepts]\n").is_ok());
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let error = read("data = \"d\"\n[schedule]\nepoch = 3\n").unwrap_err().to_string();
        assert!(error.contains("line 3") && error.contains("epoch"), "{error}");
        assert_eq!(error.lines().count(), 1);
    }

    #[test]
    fn a_setting_replaces_one_value_and_a_wrong_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        std::fs::write(&path, "data = \"d\"\n[schedule]\nepochs = 9\npictures = 8\n").unwrap();
        let read = |settings: &[&str]| {
            Config::read_with(&path, &settings.iter().map(|&s| s.to_owned()).collect::<Vec<_>>())
        };
        let config = read(&["schedule.epochs=3", "regularisation.flip = true"]).unwrap();
        assert_eq!((config.schedule.epochs, config.schedule.pictures), (3, 8));
        assert!(config.regularisation.flip);
        for (setting, reason) in [
            ("schedule.epoch=3", "unknown field"),
            ("schedule.epochs=x", ""),
            ("seed", ""),
            ("shards=\"2\"", ""),
        ] {
            let error = read(&[setting]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("--set {setting}: ")) && error.contains(reason), "{error}");
            assert_eq!(error.lines().count(), 1);
        }
        assert!(read(&["schedule.epochs=0"]).unwrap_err().to_string().contains("schedule.epochs = 0"));

        std::fs::write(&path, "[schedule]\nepochs = 9\n").unwrap();
        assert_eq!(read(&["data=\"d\""]).unwrap().data, Path::new("d"));
        for settings in [["nonsense=1", "data=\"d\""], ["data=\"d\"", "nonsense=1"]] {
            let error = read(&settings).unwrap_err().to_string();
            assert!(error.starts_with("--set nonsense=1: unknown field"), "{error}");
            let more = [settings[0], settings[1], "schedule.epoch=3"];
            let error = read(&more).unwrap_err().to_string();
            assert!(error.starts_with("--set ") && error.contains("unknown field"), "{error}");
        }
        assert!(
            read(&["seed=2"]).unwrap_err().to_string().contains("run.toml: line 1: missing field `data`")
        );
    }

    #[test]
    fn a_value_out_of_range_is_named_with_its_rule() {
        let error = read("data = \"d\"\n[regularisation]\ndropout = 1.5\n").unwrap_err().to_string();
        assert!(error.contains("regularisation.dropout = 1.5"), "{error}");
        for (text, named) in [
            ("[model]\nword = 0", "model.word = 0"),
            ("[model]\nstate = 1000000000", "model.state = 1000000000"),
            ("[schedule]\nepochs = 9223372036854775807", "schedule.epochs = 9223372036854775807"),
            ("[schedule]\nweight_decay = nan", "schedule.weight_decay = NaN"),
            ("[schedule]\npeak_learning_rate = inf", "schedule.peak_learning_rate = inf"),
            ("[validation]\npictures = 0", "validation.pictures = 0"),
            ("objective = \"self-critical\"\n[schedule]\ncaptions = 1", "schedule.captions = 1"),
            ("[trunk]\nlearning_rate = -1", "trunk.learning_rate = -1"),
        ] {
            let error = read(&format!("data = \"d\"\n{text}\n")).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
