//! `current`: the calibration in use and those that were in use before it, the newest first, a line each; the last line
//! is `initialization`.
//!
//! Undoing removes the first line, so that it goes back to what was in use, whatever became of the files of `heads/`.

use std::fmt;

const INITIALIZATION: &str = "initialization";
const EXTENSION: &str = ".postcard";

/// The number of a calibration. Each has a higher one than all before it, those that were undone included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct Generation(u32);

impl Generation {
    /// The one after all of these.
    pub(super) fn after(others: impl IntoIterator<Item = Self>) -> Self {
        Self(others.into_iter().max().map_or(0, |Self(number)| number).saturating_add(1))
    }

    pub(super) fn file_name(self) -> String {
        format!("{self}{EXTENSION}")
    }

    pub(super) fn of_file_name(name: &str) -> Option<Self> {
        Self::parse(name.strip_suffix(EXTENSION)?)
    }

    fn parse(text: &str) -> Option<Self> {
        let generation = Self(text.parse().ok()?);
        (generation.to_string() == text).then_some(generation)
    }

    /// The number itself.
    #[must_use]
    pub fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:06}", self.0)
    }
}

/// What `current` says: the newest first, each lower than the one before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct History(Vec<Generation>);

impl History {
    /// Every calibration of which there is a file, as if each had been made on top of the one before.
    pub(super) fn of(mut generations: Vec<Generation>) -> Self {
        generations.sort_unstable_by(|a, b| b.cmp(a));
        Self(generations)
    }

    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let mut lines: Vec<&str> = str::from_utf8(text).ok()?.strip_suffix('\n')?.split('\n').collect();
        if lines.pop() != Some(INITIALIZATION) {
            return None;
        }
        let generations: Vec<Generation> = lines.into_iter().map(Generation::parse).collect::<Option<_>>()?;
        generations.is_sorted_by(|a, b| a > b).then_some(Self(generations))
    }

    pub(super) fn text(&self) -> String {
        let mut text: String = self.0.iter().map(|generation| format!("{generation}\n")).collect();
        text.push_str(INITIALIZATION);
        text.push('\n');
        text
    }

    pub(super) fn generations(&self) -> impl Iterator<Item = Generation> {
        self.0.iter().copied()
    }

    pub(super) fn current(&self) -> Option<Generation> {
        self.0.first().copied()
    }

    /// What was in use before `current`; none where that is the initialization.
    pub(super) fn before(&self) -> Option<Generation> {
        self.0.get(1).copied()
    }

    pub(super) fn push(&mut self, generation: Generation) {
        self.0.insert(0, generation);
    }

    /// Goes back to what was in use before; none where nothing was.
    pub(super) fn pop(&mut self) -> Option<Generation> {
        (!self.0.is_empty()).then(|| self.0.remove(0))
    }

    /// Drops what no undoing reaches: whatever lies behind a calibration of which no file is kept.
    pub(super) fn cut(&mut self, kept: &[Generation]) {
        let reach = self.0.iter().position(|generation| !kept.contains(generation));
        self.0.truncate(reach.map_or(self.0.len(), |last| last + 1));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn history(numbers: &[u32]) -> History {
        History(numbers.iter().copied().map(Generation).collect())
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(history(&[]).text(), "initialization\n");
        assert_eq!(history(&[12, 2]).text(), "000012\n000002\ninitialization\n");
        for numbers in [&[][..], &[1], &[1_234_567, 12, 2]] {
            assert_eq!(History::parse(history(numbers).text().as_bytes()), Some(history(numbers)));
        }
    }

    #[test]
    fn what_is_incomplete_or_out_of_order_is_refused() {
        for text in [
            "",
            "000001\n",
            "000001\ninit",
            "000001initialization\n",
            "1\ninitialization\n",
            "\ninitialization\n",
        ] {
            assert_eq!(History::parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(History::parse(b"000001\n000002\ninitialization\n"), None);
        assert_eq!(History::parse(b"000002\n000002\ninitialization\n"), None);
        assert_eq!(History::parse(b"\xff\ninitialization\n"), None);
    }

    #[test]
    fn a_head_file_is_named_by_its_number_in_one_way() {
        assert_eq!(Generation(7).file_name(), "000007.postcard");
        assert_eq!(Generation::of_file_name("1000007.postcard"), Some(Generation(1_000_007)));
        for name in ["7.postcard", "000007", "+00007.postcard", ".000007.postcard.1.new", "000007.postcard~"]
        {
            assert_eq!(Generation::of_file_name(name), None, "{name}");
        }
    }

    #[test]
    fn the_next_number_is_above_all_others() {
        assert_eq!(Generation::after([]), Generation(1));
        assert_eq!(Generation::after([Generation(3), Generation(9), Generation(1)]), Generation(10));
    }

    #[test]
    fn only_what_undoing_reaches_is_remembered() {
        let mut cut = history(&[9, 7, 4, 3, 1]);
        cut.cut(history(&[9, 8, 7, 3]).0.as_slice());
        assert_eq!(cut, history(&[9, 7, 4]));
    }
}
