//! Lines of text files that people write.

/// The lines that are not blank, and their numbers from 1, whatever ends them: a line feed, a carriage return, or both. A byte order
/// mark is not part of the first.
pub fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines = text.lines().flat_map(|line| line.split('\r'));
    (1..).zip(lines).filter(|(_, line)| !line.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn lines_end_as_unix_windows_and_old_macs_end_them_and_as_all_of_them_do() {
        for text in ["a b\n\n c\n", "\u{feff}a b\r\n\r\n c\r\n", "a b\r\r c\r", "a b\r\r c\n"] {
            assert_eq!(lines(text).collect::<Vec<_>>(), [(1, "a b"), (3, " c")], "{text:?}");
        }
    }
}
