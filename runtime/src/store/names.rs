//! Names under which pictures are kept.

use metalens_models::FileEntry;

/// The file that names the samples.
pub(super) const CAPTIONS: &str = "captions.tsv";

/// Bytes. A file system takes 255; a temporary file's name is some longer than the name that it will have.
const LONGEST: usize = 180;

/// Digits of a picture's hash that tell it from another of the same name.
const DIGITS: usize = 16;

/// Whether a picture of this name lies in the folder itself and is seen by whoever lists it.
pub(super) fn is_plain(name: &str) -> bool {
    !name.is_empty() && name == plain(name)
}

/// The last part of a path, without what would hide the file, end a line of `captions.tsv`, or make the name too long.
pub(super) fn plain(path: &str) -> String {
    let name = path.rsplit(['/', '\\']).next().unwrap_or_default();
    // The end of a name says more than its beginning: it has the number and the extension.
    let name = &name[name.ceil_char_boundary(name.len().saturating_sub(LONGEST))..];
    let forbidden = |c: char| c.is_control() || c == '\u{feff}';
    let name = name.trim().replace(forbidden, "_");
    match name.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None if name.is_empty() => "picture".to_owned(),
        // Some file systems take no notice of case.
        None if name.eq_ignore_ascii_case(CAPTIONS) => format!("_{name}"),
        None => name,
    }
}

/// A plain name that no picture with other bytes has.
pub(super) fn unique(plain: &str, data: &[u8]) -> String {
    format!("{}-{plain}", &FileEntry::of(data).sha256[..DIGITS])
}

/// A caption on one line.
pub(super) fn one_line(caption: &str) -> String {
    caption.replace(char::is_control, " ").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_in_its_folder_and_on_its_line() {
        let cases = [
            ("bolt.jpg", "bolt.jpg"),
            ("Schraube, groß (2).png", "Schraube, groß (2).png"),
            ("images/bolt.jpg", "bolt.jpg"),
            ("C:\\images\\bolt.jpg", "bolt.jpg"),
            ("../../etc/passwd", "passwd"),
            ("..", "_."),
            (".hidden.jpg", "_hidden.jpg"),
            ("images/", "picture"),
            ("", "picture"),
            (" a\tb\nc.jpg ", "a_b_c.jpg"),
            ("\u{feff}a.jpg", "_a.jpg"),
            ("Captions.TSV", "_Captions.TSV"),
        ];
        for (path, expected) in cases {
            assert_eq!(plain(path), expected, "{path:?}");
            assert!(is_plain(expected), "{expected:?}");
        }
        for name in ["", "..", "a/b.jpg", "captions.tsv", " a.jpg"] {
            assert!(!is_plain(name), "{name:?}");
        }
    }

    #[test]
    fn a_long_name_keeps_its_end() {
        let name = plain(&format!("{}17.jpg", "ü".repeat(200)));
        assert!(name.len() <= LONGEST && name.ends_with("ü17.jpg"), "{name}");
        assert!(is_plain(&name));
        assert!(is_plain(&plain(&format!("a{}{}", " ".repeat(100), ".b".repeat(90)))));
    }

    #[test]
    fn a_caption_stays_on_its_line() {
        assert_eq!(one_line(" A bolt,\twith\r\na  nut.\n"), "A bolt, with  a  nut.");
        assert_eq!(one_line("\n\t"), "");
    }
}
