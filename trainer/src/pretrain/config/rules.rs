//! What the values of a configuration must be.

use std::path::Path;

use metalens_models::MAX_CONCEPTS;

use super::{ConceptsConfig, Config, ConfigError, Objective};

impl Config {
    /// Finds the first value that makes no sense.
    pub(super) fn check(&self, path: &Path) -> Result<(), ConfigError> {
        let positive = "needs 1 or more";
        let width = "needs 1 or more and 4096 at most";
        let finite = "needs a number of 0 or more";
        let count = "needs 1 or more and 1000000 at most";
        let is_count = |number: usize| (1..=1_000_000).contains(&number);
        let is_width = |width: usize| (1..=4096).contains(&width);
        let is_finite = |number: f64| number.is_finite() && number >= 0.0;
        let rate = "needs 0 or more and less than 1";
        let (s, r, m) = (&self.schedule, &self.regularisation, &self.model);
        let lonely = self.objective == Objective::SelfCritical && s.captions < 2;
        let taught = self.distillation.as_ref();
        let teachers = taught.map_or(1, |taught| taught.teachers.len());
        let share = taught.map_or(0.0, |taught| taught.share);
        let trunk = self.trunk.clone().unwrap_or_default().learning_rate;
        let rules: [(&'static str, String, bool, &'static str); 27] = [
            ("model.token", m.token.to_string(), is_width(m.token), width),
            ("model.key", m.key.to_string(), is_width(m.key), width),
            ("model.state", m.state.to_string(), is_width(m.state), width),
            ("model.word", m.word.to_string(), is_width(m.word), width),
            ("model.hidden", m.hidden.to_string(), is_width(m.hidden), width),
            (
                "validation.pictures",
                self.validation.pictures.to_string(),
                self.validation.pictures > 0,
                positive,
            ),
            ("schedule.patience", format!("{:?}", s.patience), s.patience != Some(0), positive),
            (
                "schedule.captions",
                s.captions.to_string(),
                !lonely,
                "needs 2 or more where the objective is self-critical: each is judged by the others",
            ),
            (
                "shards",
                self.shards.to_string(),
                (1..=1024).contains(&self.shards),
                "needs 1 or more and 1024 at most",
            ),
            ("schedule.epochs", s.epochs.to_string(), is_count(s.epochs), count),
            (
                "schedule.pictures",
                s.pictures.to_string(),
                is_count(s.pictures) && s.pictures >= self.shards,
                "needs at least one picture a shard, and 1000000 at most",
            ),
            ("schedule.captions", s.captions.to_string(), is_count(s.captions), count),
            (
                "texts",
                format!("{:?}", self.texts),
                self.texts.is_empty() || self.concepts.is_some(),
                "needs a section [concepts]: without, nothing stands in the place of the picture",
            ),
            ("schedule.texts", s.texts.to_string(), s.texts <= 1_000_000, "needs 1000000 at most"),
            ("schedule.average", s.average.to_string(), (0.0..1.0).contains(&s.average), rate),
            ("schedule.warm_up", s.warm_up.to_string(), (0.0..1.0).contains(&s.warm_up), rate),
            (
                "schedule.peak_learning_rate",
                s.peak_learning_rate.to_string(),
                is_finite(s.peak_learning_rate) && s.peak_learning_rate > 0.0,
                "needs a number of more than 0",
            ),
            ("schedule.clip", s.clip.to_string(), s.clip > 0.0, "needs more than 0"),
            ("schedule.weight_decay", s.weight_decay.to_string(), is_finite(s.weight_decay), finite),
            ("regularisation.dropout", r.dropout.to_string(), (0.0..1.0).contains(&r.dropout), rate),
            (
                "regularisation.word_dropout",
                r.word_dropout.to_string(),
                (0.0..1.0).contains(&r.word_dropout),
                rate,
            ),
            (
                "regularisation.label_smoothing",
                r.label_smoothing.to_string(),
                (0.0..1.0).contains(&r.label_smoothing),
                rate,
            ),
            ("trunk.learning_rate", trunk.to_string(), is_finite(trunk), finite),
            ("distillation.teachers", teachers.to_string(), teachers > 0, "needs one checkpoint or more"),
            (
                "distillation.share",
                share.to_string(),
                (0.0..=1.0).contains(&share),
                "needs 0 or more and 1 at most",
            ),
            ("regularisation.likelihood", r.likelihood.to_string(), is_finite(r.likelihood), finite),
            (
                "vocabulary.max_words",
                self.vocabulary.max_words.to_string(),
                (1..=1000).contains(&self.vocabulary.max_words),
                "needs 1 or more and 1000 at most",
            ),
        ];
        let concepts = self.concepts.iter().flat_map(|concepts| rules_of_concepts(concepts, self));
        for (key, value, good, rule) in rules.into_iter().chain(concepts) {
            if !good {
                return Err(ConfigError::Value { path: path.to_owned(), key, value, rule });
            }
        }
        Ok(())
    }
}

/// A key, its value, whether that makes sense, and what would.
type Rule = (&'static str, String, bool, &'static str);

fn rules_of_concepts(concepts: &ConceptsConfig, config: &Config) -> Vec<Rule> {
    let probability = "needs 0 or more and 1 at most";
    let is_probability = |number: f64| (0.0..=1.0).contains(&number);
    let rate = |key, number: f64| (key, number.to_string(), is_probability(number), probability);
    let (fitting, settings) = (&concepts.fitting, &concepts.settings);
    let at_least = |key, number: f32| rate(key, f64::from(number));
    let count =
        |key, number: usize, most: usize, rule| (key, number.to_string(), (1..=most).contains(&number), rule);
    let positive = |number: f64| number.is_finite() && number > 0.0;
    vec![
        count("concepts.tokens", concepts.tokens, MAX_CONCEPTS, "needs 1 or more and 16 at most"),
        count("concepts.phi", concepts.phi, 4096, "needs 1 or more and 4096 at most"),
        count("concepts.min_pictures", concepts.min_pictures, 1_000_000, "needs 1 or more"),
        (
            "concepts.folds",
            concepts.folds.to_string(),
            (2..=100).contains(&concepts.folds),
            "needs 2 or more and 100 at most: evidence must not have seen the pictures that the decoder learns from",
        ),
        count("concepts.fitting.epochs", fitting.epochs, 10_000, "needs 1 or more and 10000 at most"),
        count("concepts.fitting.pictures", fitting.pictures, 1_000_000, "needs 1 or more"),
        (
            "concepts.fitting.peak_learning_rate",
            fitting.peak_learning_rate.to_string(),
            positive(fitting.peak_learning_rate),
            "needs a number of more than 0",
        ),
        (
            "concepts.fitting.weight_decay",
            fitting.weight_decay.to_string(),
            fitting.weight_decay.is_finite() && fitting.weight_decay >= 0.0,
            "needs a number of 0 or more",
        ),
        (
            "concepts.fitting.dropout",
            fitting.dropout.to_string(),
            (0.0..1.0).contains(&fitting.dropout),
            "needs 0 or more and less than 1",
        ),
        at_least("concepts.settings.captions.at_least", settings.captions.at_least),
        at_least("concepts.settings.classes.at_least", settings.classes.at_least),
        at_least("concepts.settings.classes.share", settings.classes.share),
        at_least("concepts.settings.things.at_least", settings.things.at_least),
        at_least("concepts.settings.required", settings.required),
        rate("concepts.raised", concepts.raised),
        rate("concepts.dropped", concepts.dropped),
        rate("concepts.hidden", concepts.hidden),
        rate("concepts.renamed", concepts.renamed),
        rate("concepts.drawn.right", concepts.drawn.right),
        (
            "concepts.drawn.wrong",
            concepts.drawn.wrong.to_string(),
            (0.0..=100.0).contains(&concepts.drawn.wrong),
            "needs 0 or more and 100 at most",
        ),
        (
            "regularisation.word_dropout",
            config.regularisation.word_dropout.to_string(),
            config.regularisation.word_dropout == 0.0,
            "needs 0 beside [concepts]: what was said is pointed at no more",
        ),
        (
            "concepts",
            "given".to_owned(),
            config.distillation.is_none(),
            "has no teachers: leave [distillation] out",
        ),
    ]
}
