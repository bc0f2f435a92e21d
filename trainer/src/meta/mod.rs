//! Meta-learning: from a pre-trained bundle to one that adapts.

mod apart;
mod body;
mod concepts;
mod config;
mod detectors;
mod episode;
mod evidence;
mod gallery;
mod head;
mod inverse;
mod logistic;
mod method;
mod outer;
mod places;
mod protocol;
mod references;
mod say;
mod train;

pub use body::{Body, Encodings, Taught};
pub use config::{EvidenceConfig, MetaConfig, OuterConfig};
pub use detectors::{DetectorConfig, Detectors, Labelled};
pub use episode::{Episode, Query, episode, known_words};
pub use evidence::{Ground, Separation, learn_evidence, learn_place, nearness};
pub use gallery::{Gallery, most_probable, shown};
pub use head::{Head, Order, StepSizes, Tokens};
pub use method::{Method, Part, Trial};
pub use outer::{Algorithm, Learned, Lesson, Source, Support};
pub use protocol::{Estimate, Protocol, Reached, table, table_by_concept};
pub use references::{references, to_file};
pub use say::{Asked, Length, Said, Scores};
pub use train::{MetaTrained, MetaTrainer, meta_train};

/// How concepts are divided among meta-train, meta-validation and meta-test: few numbers are learned, many are reported.
pub const CONCEPTS: &str = "30,20,50";
