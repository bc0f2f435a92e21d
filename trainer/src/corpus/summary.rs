//! A corpus in a few lines.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::{Corpus, Split};

impl Corpus {
    /// Pictures and captions of every split, and how many problems of every kind there are, as a table of text.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut rows = Vec::new();
        for split in Split::ALL {
            let captions = self.split(split).map(|picture| picture.captions.len()).sum::<usize>();
            rows.push((split.to_string(), self.split(split).count(), captions));
        }
        let captions = rows.iter().map(|(_, _, captions)| captions).sum::<usize>();
        rows.push(("all".to_owned(), self.pictures.len(), captions));

        let mut problems: BTreeMap<&str, usize> = BTreeMap::new();
        for problem in &self.problems {
            *problems.entry(problem.kind()).or_default() += problem.count();
        }

        let mut text = format!("{:<5} {:>9} {:>9}\n", "split", "pictures", "captions");
        for (name, pictures, captions) in rows {
            let _infallible = writeln!(text, "{name:<5} {pictures:>9} {captions:>9}");
        }
        for (kind, count) in problems {
            let _infallible = writeln!(text, "{count:>15} {kind}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::TestFolder;
    use crate::corpus::Format;

    #[test]
    fn the_summary_counts_pictures_captions_and_problems() {
        let corpus = TestFolder::new()
            .file(
                "x.token",
                "a.jpg#0\tdog\na.jpg#1\tdogs\nb.jpg#0\tcat\nc.jpg#0\tcow\nd.jpg#0\tpig\ne.jpg#0\then\nbad\n",
            )
            .file("x.trainImages.txt", "a.jpg\nc.jpg\n")
            .file("x.testImages.txt", "b.jpg\n")
            .pictures(&["a.jpg", "b.jpg"])
            .read(Format::Flickr);
        let expected = "\
split  pictures  captions
train         1         2
dev           0         0
test          1         1
all           2         3
              1 malformed lines
              2 pictures in no split list
              1 pictures missing on disk
";
        assert_eq!(corpus.summary(), expected);
    }
}
