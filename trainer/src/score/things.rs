//! Which of COCO's eighty things captions say, and whether people say them too (Rohrbach et al. 2018).

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::LazyLock;

use metalens::language::words;
use serde::{Deserialize, Serialize};

/// A thing, a tab, and phrases that say it; see the file's first lines.
const LIST: &str = include_str!("things.tsv");
/// The thing of phrases that say none.
const NONE: &str = "-";
/// The end of a caption, as a word of a phrase.
const END: &str = ".";
/// References that must say a thing for it to be there.
const AGREED: usize = 2;

static THINGS: LazyLock<Things> = LazyLock::new(|| Things::new(LIST));

/// The phrases by which things are said.
struct Things {
    /// What each phrase says, words separated by one space.
    phrases: HashMap<String, Vec<&'static str>>,
    /// Words of the longest phrase.
    longest: usize,
}

/// The things that a caption says, by their names in COCO.
///
/// Of phrases that begin at the same word the longest counts, so that a hot dog is no dog.
///
/// ```
/// use metalens_trainer::score::things;
/// assert_eq!(Vec::from_iter(things("Two puppies near the fire hydrant, and a hot dog.")), ["dog", "fire hydrant", "hot dog"]);
/// ```
#[must_use]
pub fn things(caption: &str) -> BTreeSet<&'static str> {
    THINGS.of(caption)
}

/// A caption's things beside those that people say of the picture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThingsSaid {
    /// Said by the caption and by somebody.
    pub right: BTreeSet<String>,
    /// Said by the caption and by nobody.
    pub wrong: BTreeSet<String>,
    /// Said by two people, and not by the caption.
    pub missed: BTreeSet<String>,
    /// How many of `right` two people say.
    pub agreed: usize,
}

impl ThingsSaid {
    /// Compares a caption with several references; none where there are fewer than two, as nobody could agree.
    #[must_use]
    pub fn of(caption: &str, references: &[String]) -> Option<Self> {
        if references.len() < AGREED {
            return None;
        }
        let mut people: HashMap<&str, usize> = HashMap::new();
        for thing in references.iter().flat_map(|reference| things(reference)) {
            *people.entry(thing).or_default() += 1;
        }
        let agreed: BTreeSet<&str> =
            people.iter().filter(|(_, people)| **people >= AGREED).map(|(thing, _)| *thing).collect();
        let said = things(caption);
        let (right, wrong): (BTreeSet<&str>, _) =
            said.iter().copied().partition(|thing| people.contains_key(thing));
        let named = |things: &BTreeSet<&str>| things.iter().map(|&thing| thing.to_owned()).collect();
        Some(Self {
            agreed: agreed.intersection(&right).count(),
            missed: named(&agreed.difference(&right).copied().collect()),
            right: named(&right),
            wrong: named(&wrong),
        })
    }
}

/// A share of a number of things.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Share {
    /// From 0 to 1.
    pub share: f64,
    /// Of how many.
    pub of: usize,
}

impl Share {
    fn new(some: usize, of: usize) -> Option<Self> {
        (of > 0).then(|| Self { share: some as f64 / of as f64, of })
    }
}

/// How well the captions of a set of pictures say COCO's eighty things; what is a share of nothing is not there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ThingScores {
    /// Of the things that at least two people say of a picture, those that its caption says; pooled over pictures.
    pub things_said: Option<Share>,
    /// Of the things that captions say, those that nobody says of the picture: CHAIR_i of Rohrbach et al. 2018, equation 1, where
    /// people are the only judge.
    pub things_false: Option<Share>,
}

impl ThingScores {
    /// Pools pictures.
    #[must_use]
    pub fn new<'a>(pictures: impl IntoIterator<Item = &'a ThingsSaid>) -> Self {
        let (mut agreed, mut there, mut wrong, mut said) = (0, 0, 0, 0);
        for picture in pictures {
            agreed += picture.agreed;
            there += picture.agreed + picture.missed.len();
            wrong += picture.wrong.len();
            said += picture.right.len() + picture.wrong.len();
        }
        Self { things_said: Share::new(agreed, there), things_false: Share::new(wrong, said) }
    }
}

impl fmt::Display for ThingScores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |f: &mut fmt::Formatter<'_>, share: Option<Share>, whole: &str| match share {
            Some(Share { share, of }) => write!(f, "{share:.3} of {of} {whole}"),
            None => write!(f, "- of 0 {whole}"),
        };
        f.write_str("COCO's things: said ")?;
        part(f, self.things_said, "that two people say")?;
        f.write_str(", false ")?;
        part(f, self.things_false, "that captions say")
    }
}

impl Things {
    fn new(list: &'static str) -> Self {
        let mut phrases: HashMap<String, Vec<&'static str>> = HashMap::new();
        let lines = list.lines().filter(|line| !line.starts_with('#'));
        for (thing, said) in lines.filter_map(|line| line.split_once('\t')) {
            let things = (thing != NONE).then_some(thing);
            for phrase in said.split(',').map(str::trim) {
                for phrase in [phrase.to_owned(), plural(phrase)] {
                    phrases.entry(phrase).or_default().extend(things);
                }
            }
        }
        let longest = phrases.keys().map(|phrase| phrase.split(' ').count()).max().unwrap_or_default();
        Self { phrases, longest }
    }

    fn of(&self, caption: &str) -> BTreeSet<&'static str> {
        let words = words(caption);
        let parts = words.iter().map(|word| word.strip_suffix("'s").unwrap_or(word));
        let words: Vec<&str> =
            parts.flat_map(|word| word.split('-')).filter(|word| !word.is_empty()).chain([END]).collect();
        let mut said = BTreeSet::new();
        let mut place = 0;
        while place < words.len() {
            let most = self.longest.min(words.len() - place);
            let found = (1..=most).rev().find_map(|length| {
                let things = self.phrases.get(&words[place..place + length].join(" "))?;
                Some((things, length))
            });
            said.extend(found.into_iter().flat_map(|(things, _)| things));
            place += found.map_or(1, |(_, length)| length);
        }
        said
    }
}

/// A phrase whose last word is put into the regular plural.
fn plural(phrase: &str) -> String {
    match phrase.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ if ["s", "x", "z", "ch", "sh"].iter().any(|end| phrase.ends_with(end)) => format!("{phrase}es"),
        _ => format!("{phrase}s"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn said(caption: &str) -> Vec<&'static str> {
        things(caption).into_iter().collect()
    }

    #[test]
    fn the_list_has_eighty_things_and_each_is_said_by_its_own_name() {
        let lines: Vec<(&str, &str)> = LIST
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_once('\t').unwrap())
            .collect();
        let names: Vec<&str> = lines.iter().map(|(thing, _)| *thing).filter(|thing| *thing != NONE).collect();
        assert_eq!(names.len(), 80);
        assert_eq!(BTreeSet::from_iter(&names).len(), 80);
        for name in names {
            // The colour is said more often than the fruit.
            let caption = if name == "orange" { "an orange" } else { name };
            assert_eq!(said(caption), [name]);
        }
    }

    #[test]
    fn phrases_are_words_as_captions_are_read_and_stand_once_with_a_thing() {
        let mut seen = BTreeSet::new();
        for line in LIST.lines().filter(|line| !line.starts_with('#')) {
            let (thing, phrases) = line.split_once('\t').unwrap();
            for phrase in phrases.split(", ") {
                let read = words(phrase).join(" ");
                assert_eq!(phrase.strip_suffix(" .").unwrap_or(phrase), read);
                assert!(!phrase.contains(['-', '\'']), "{phrase}");
                assert!(seen.insert((phrase, thing)), "{phrase}");
            }
            // What says nothing says no thing.
            for phrase in phrases.split(", ").filter(|_| thing == NONE) {
                assert_eq!(said(phrase), [""; 0], "{phrase}");
            }
        }
    }

    #[test]
    fn the_longest_phrase_counts() {
        for (caption, expected) in [
            ("A man eats a hot dog", &["hot dog", "person"][..]),
            ("hot-dogs and a dog's bowl", &["bowl", "dog", "hot dog"]),
            ("a teddy bear beside a polar bear", &["bear", "teddy bear"]),
            ("a teddy bear", &["teddy bear"]),
            ("a baseball bat and a catcher's mitt", &["baseball bat", "baseball glove"]),
            ("the batter is at bat", &["person"]),
            ("a light above the street", &[]),
            ("cars wait at a traffic light", &["car", "traffic light"]),
            ("a bathroom with a toilet seat and toilet paper", &["toilet"]),
            ("a baby elephant and its mother", &["elephant"]),
            ("a passenger train at the train station", &["train"]),
            ("a station beside train tracks", &[]),
            ("a dirt bike leans on a bike", &["bicycle", "motorcycle"]),
            ("a glass of wine, two glasses", &["wine glass"]),
        ] {
            assert_eq!(said(caption), expected, "{caption}");
        }
    }

    #[test]
    fn plurals_count_and_the_colour_orange_does_not() {
        for (caption, expected) in [
            ("puppies, buses, benches, knives and sheep", &["bench", "bus", "dog", "knife", "sheep"][..]),
            ("women and children", &["person"]),
            ("bowls of oranges", &["bowl", "orange"]),
            ("he peels an orange.", &["orange"]),
            ("an orange cat in an orange and white box", &["cat"]),
            ("apples and oranges", &["apple", "orange"]),
            ("a banana, orange and apple", &["apple", "banana", "orange"]),
        ] {
            assert_eq!(said(caption), expected, "{caption}");
        }
    }

    fn compared(caption: &str, references: &[&str]) -> ThingsSaid {
        let references: Vec<String> = references.iter().map(|&reference| reference.to_owned()).collect();
        ThingsSaid::of(caption, &references).unwrap()
    }

    #[test]
    fn what_two_people_say_is_to_be_said_and_what_nobody_says_is_false() {
        // Two people say person and dog; one says ball and frisbee.
        let first = compared(
            "a dog catches a frisbee near a car",
            &["a man throws a ball to his dog", "a boy and a puppy", "somebody plays frisbee"],
        );
        assert_eq!(Vec::from_iter(&first.right), ["dog", "frisbee"]);
        assert_eq!(Vec::from_iter(&first.wrong), ["car"]);
        assert_eq!(Vec::from_iter(&first.missed), ["person"]);
        assert_eq!(first.agreed, 1);
        // Two people say zebra, and nobody person.
        let second = compared("a man beside a zebra", &["three zebras", "zebras graze", "a field"]);
        // Said: dog and zebra, of dog, person and zebra. False: car and person, of dog, frisbee, car, person and zebra.
        let scores = ThingScores::new([&first, &second]);
        assert_eq!(scores.things_said, Some(Share { share: 2.0 / 3.0, of: 3 }));
        assert_eq!(scores.things_false, Some(Share { share: 2.0 / 5.0, of: 5 }));
        assert_eq!(
            scores.to_string(),
            "COCO's things: said 0.667 of 3 that two people say, false 0.400 of 5 that captions say"
        );
    }

    #[test]
    fn one_person_cannot_agree_and_a_share_of_nothing_is_not_there() {
        assert_eq!(ThingsSaid::of("a dog", &["a dog".to_owned()]), None);
        let scores = ThingScores::new([&compared("a tree", &["a hill", "the sea"])]);
        assert_eq!(scores, ThingScores::default());
        assert_eq!(serde_json::to_string(&scores).unwrap(), r#"{"things_said":null,"things_false":null}"#);
    }
}
