//! From text to [`RawConfig`], with every problem on the way and not only the first.
//!
//! serde stops at the first thing that it does not understand, and says where it stands. That entry is noted and taken out of
//! the document, and serde is asked again, until it is content with the rest.

use std::collections::BTreeMap;
use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

use super::RawConfig;
use super::keys::is_section;
use super::wording;
use crate::problem::{Problem, Problems};

/// The problems found so far, and where each key stands.
pub(super) struct Check {
    lines: BTreeMap<String, usize>,
    problems: Vec<Problem>,
}

impl Check {
    /// Notes a problem with a key, which need not be there. A key has one problem: what follows from the first says nothing new.
    pub(super) fn problem(&mut self, key: &str, message: impl Into<String>) {
        if !self.problems.iter().any(|known| covers(&known.key, key)) {
            self.problems.push(Problem {
                line: self.line(key),
                key: key.to_owned(),
                message: message.into(),
            });
        }
    }

    /// Whether the text has this key or section.
    pub(super) fn has(&self, key: &str) -> bool {
        self.lines.contains_key(key)
    }

    /// The problems, where there are any.
    pub(super) fn finish(self) -> Option<Problems> {
        (!self.problems.is_empty()).then(|| Problems::new(self.problems))
    }

    fn line(&self, key: &str) -> usize {
        let section = key.rsplit_once('.').map_or("", |(section, _)| section);
        self.lines.get(key).or_else(|| self.lines.get(section)).copied().unwrap_or(1)
    }
}

/// Whether a problem with `known` explains one with `key`: it is the same key or a section of it.
fn covers(known: &str, key: &str) -> bool {
    key.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// What serde makes of the text, without the entries that it does not understand.
pub(super) fn read(text: &str) -> Result<(RawConfig, Check), Problems> {
    let mut document = DeTable::parse(text).map_err(|error| {
        let message = format!("{}; mend the TOML, what else is wrong shows then", one_line(error.message()));
        Problems::new(vec![Problem { line: line_of(text, &error), key: String::new(), message }])
    })?;
    let mut check = Check { lines: BTreeMap::new(), problems: Vec::new() };
    note_lines(document.get_ref(), "", text, &mut check.lines);
    loop {
        let error = match RawConfig::deserialize(Deserializer::from(document.clone())) {
            Ok(raw) => return Ok((raw, check)),
            Err(error) => error,
        };
        let line = line_of(text, &error);
        let entry = error.span().and_then(|span| take_out(document.get_mut(), "", &span));
        let message = match &entry {
            Some(key) => wording::of(key, error.message()),
            None => one_line(error.message()),
        };
        check.problems.push(Problem { line, key: entry.clone().unwrap_or_default(), message });
        if entry.is_none() {
            return Err(Problems::new(check.problems));
        }
    }
}

/// Notes where every key and section stands.
fn note_lines(table: &DeTable<'_>, prefix: &str, text: &str, lines: &mut BTreeMap<String, usize>) {
    for (key, value) in table {
        let path = join(prefix, key.get_ref());
        if let DeValue::Table(inner) = value.get_ref() {
            note_lines(inner, &path, text, lines);
        }
        lines.insert(path, line_at(text, key.span().start));
    }
}

/// Takes the entry of the section `prefix`, or of one within, out that stands at `span`, and tells its key.
fn take_out(table: &mut DeTable<'_>, prefix: &str, span: &Range<usize>) -> Option<String> {
    for (key, value) in table.iter_mut() {
        let path = join(prefix, key.get_ref());
        // A table in the place of a value is taken out as a whole.
        if let DeValue::Table(inner) = value.get_mut()
            && is_section(&path)
            && let Some(path) = take_out(inner, &path, span)
        {
            return Some(path);
        }
    }
    let here = |part: &Range<usize>| part.contains(&span.start);
    let (key, _) = table.iter().find(|(key, value)| here(&key.span()) || here(&value.span()))?;
    let key: Spanned<_> = key.clone();
    table.remove(&key);
    Some(join(prefix, &key.into_inner()))
}

fn join(section: &str, key: &str) -> String {
    if section.is_empty() { key.to_owned() } else { format!("{section}.{key}") }
}

fn line_of(text: &str, error: &toml::de::Error) -> usize {
    error.span().map_or(1, |span| line_at(text, span.start))
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.as_bytes().iter().take(offset).filter(|&&byte| byte == b'\n').count()
}

fn one_line(message: &str) -> String {
    message.lines().collect::<Vec<_>>().join(", ")
}
