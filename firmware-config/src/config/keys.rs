//! The keys that there are, and which one somebody may have meant.

use std::sync::LazyLock;

use crate::schema;

/// Every key and section.
static KEYS: LazyLock<Vec<String>> = LazyLock::new(schema::keys);

/// Whether the configuration has keys below `path`.
pub(super) fn is_section(path: &str) -> bool {
    KEYS.iter().any(|key| key.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// The one of `known` that is spelled most like `given`; none where nothing is near.
pub(super) fn nearest<'k>(given: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let (near, edits) = known.map(|word| (word, edits(given, word))).min_by_key(|&(_, edits)| edits)?;
    // A third of the letters, or one in a short word: beyond that, anything is near something.
    (edits <= (given.chars().count() / 3).max(1)).then_some(near)
}

/// The key of the configuration that somebody who wrote `given` may have meant: one of that name in another section, else the one
/// spelled most like it.
pub(super) fn nearest_key(given: &str) -> Option<&'static str> {
    let keys = || KEYS.iter().map(String::as_str);
    let (section, name) = given.rsplit_once('.').unwrap_or(("", given));
    let same_section = keys().filter(|key| key.rsplit_once('.').unwrap_or(("", key)).0 == section);
    let name_of = |key: &'static str| key.rsplit_once('.').map_or(key, |(_, name)| name);
    if let Some(near) = nearest(name, same_section.clone().map(name_of)) {
        return same_section.into_iter().find(|key| name_of(key) == near);
    }
    keys().find(|key| name_of(key) == name).or_else(|| nearest(given, keys()))
}

/// The least number of letters to insert, delete or replace (Levenshtein 1966), row by row.
fn edits(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (index, letter) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, &against) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != against);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_of_kitten_and_sitting_are_three() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(edits("", "abc"), 3);
    }

    #[test]
    fn a_slip_finds_its_key_in_the_same_section() {
        assert_eq!(nearest_key("camera.heigth"), Some("camera.height"));
        assert_eq!(nearest_key("sate"), Some("state"));
    }

    #[test]
    fn a_key_in_the_wrong_section_finds_the_right_one() {
        assert_eq!(nearest_key("listen"), Some("http.listen"));
        assert_eq!(nearest_key("caption.discovery"), Some("mqtt.discovery"));
    }

    #[test]
    fn what_is_like_nothing_has_no_neighbour() {
        assert_eq!(nearest_key("zebra_crossing"), None);
    }
}
