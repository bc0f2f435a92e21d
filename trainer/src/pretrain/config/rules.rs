//! What the values of a configuration must be.

use std::path::Path;

use super::{Config, ConfigError, Objective};

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
        let rules: [(&'static str, String, bool, &'static str); 25] = [
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
        for (key, value, good, rule) in rules {
            if !good {
                return Err(ConfigError::Value { path: path.to_owned(), key, value, rule });
            }
        }
        Ok(())
    }
}
