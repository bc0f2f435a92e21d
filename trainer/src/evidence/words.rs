//! What people call the classes of ImageNet and COCO's things in captions.
//!
//! `words/imagenet.tsv` and `words/coco.tsv` have a line for each: its number, its name, and its words, what it is before what kind of
//! thing that is. They were chosen by what captions say.

use std::str::FromStr;

const IMAGENET: &str = include_str!("words/imagenet.tsv");
const COCO: &str = include_str!("words/coco.tsv");

/// Each class of ImageNet, as EfficientNet and most others number them, and its words.
///
/// # Panics
/// Never: a test reads the lines.
#[must_use]
pub fn classes() -> Vec<(usize, Vec<&'static str>)> {
    lines(IMAGENET).map(|(class, words)| (class, words.split(' ').collect())).collect()
}

/// Each of COCO's eighty things, as YOLOX numbers them, and its words, the noun last. A person has none: people say whether it is a man,
/// a woman or a child.
///
/// # Panics
/// Never: a test reads the lines.
#[must_use]
pub fn things() -> Vec<(usize, Vec<&'static str>)> {
    let words = |words: &'static str| words.split_whitespace().collect();
    lines(COCO)
        .map(|(thing, all)| (thing, words(all)))
        .filter(|(_, words): &(_, Vec<_>)| !words.is_empty())
        .collect()
}

/// Number and words of every line but comments.
fn lines(text: &'static str) -> impl Iterator<Item = (usize, &'static str)> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let mut fields = line.split('\t');
        let number = fields.next().map(usize::from_str);
        let words = fields.nth(1);
        number
            .and_then(Result::ok)
            .zip(words)
            .expect("the lines are the program's own, and a test reads them")
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_class_has_words_that_captions_could_say() {
        let classes = classes();
        assert!(classes.iter().map(|(class, _)| *class).eq(0..1000));
        for (class, words) in &classes {
            let distinct: HashSet<&&str> = words.iter().collect();
            assert_eq!(distinct.len(), words.len(), "{class}: {words:?}");
            for word in words {
                assert_eq!(metalens::language::words(word), [*word], "{class}");
            }
        }
        let of = |word: &str| {
            let has = classes.iter().filter(|(_, words)| words.contains(&word));
            has.map(|(class, _)| *class).collect::<Vec<_>>()
        };
        // The 118 breeds, and three wild ones that are taken for dogs.
        assert_eq!(of("dog"), (151..=268).chain(273..=275).collect::<Vec<_>>());
        assert_eq!(of("cat"), (281..=285).collect::<Vec<_>>());
        assert_eq!((of("zebra"), of("laptop"), of("pizza")), (vec![340], vec![620, 681], vec![963]));
        assert!(of("bird").contains(&24) && of("owl") == [24]);
    }

    #[test]
    fn every_thing_but_a_person_has_a_word() {
        let things = things();
        assert!(things.iter().map(|(thing, _)| *thing).eq(1..80));
        for (thing, words) in &things {
            assert_eq!(metalens::language::words(&words.join(" ")), *words, "{thing}");
        }
        let said = |thing: usize| things[thing - 1].1.join(" ");
        assert_eq!([said(10), said(22), said(38), said(79)], ["hydrant", "zebra", "racket", "toothbrush"]);
        assert_eq!(said(11), "stop sign");
    }

    #[test]
    fn the_words_of_a_thing_say_it() {
        let names = COCO.lines().filter_map(|line| line.split('\t').nth(1));
        for (name, (thing, words)) in names.skip(1).zip(things()) {
            // A colour without an article.
            let words = format!("an {}", words.join(" "));
            assert!(crate::score::things(&words).contains(name), "{thing}: {words}");
        }
    }
}
