//! What holds of every task.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeSet, HashMap, HashSet};

use metalens::language::words;

use super::testing::{Corpus, new_domain, new_word};
use super::*;

fn pictures(task: &Task) -> impl Iterator<Item = usize> {
    task.support.iter().chain(&task.query).map(|sample| sample.picture)
}

fn about(task: &Task) -> Vec<String> {
    match &task.subject {
        Subject::NewWord { concept, .. } => vec![family(concept)],
        Subject::NewDomain { scenes } => scenes.clone(),
    }
}

#[test]
fn a_task_depends_on_seed_and_number_alone() {
    let corpus = Corpus::animals();
    let pool = corpus.pool();
    for options in [new_word(3), new_domain(2, 3)] {
        let sampler = Sampler::new(&pool, options.clone()).unwrap();
        let again = Sampler::new(&pool, options.clone()).unwrap();
        assert_eq!(again.task(17), sampler.tasks(20)[17]);
        let other = Sampler::new(&pool, TaskOptions { seed: 1, ..options }).unwrap();
        assert_ne!(other.task(17), sampler.task(17));
    }
}

#[test]
fn meta_splits_share_neither_pictures_nor_subjects() {
    let corpus = Corpus::animals();
    let pool = corpus.pool();
    let held_out = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    for (options, listed) in [(new_word(2), held_out(&["horses"])), (new_domain(1, 4), held_out(&["forest"]))]
    {
        for held_out in [BTreeSet::new(), listed] {
            let (mut split_of_picture, mut split_of_subject) = (HashMap::new(), HashMap::new());
            for split in MetaSplit::ALL {
                let partition = Partition { held_out: held_out.clone(), ..options.partition.clone() };
                let options = TaskOptions { split, partition, ..options.clone() };
                for task in Sampler::new(&pool, options).unwrap().tasks(40) {
                    for picture in pictures(&task) {
                        assert_eq!(*split_of_picture.entry(picture).or_insert(split), split);
                    }
                    for subject in about(&task) {
                        assert_eq!(*split_of_subject.entry(subject).or_insert(split), split);
                    }
                }
            }
        }
    }
}

#[test]
fn support_and_query_are_disjoint_and_as_large_as_asked_for() {
    let corpus = Corpus::animals();
    let pool = corpus.pool();
    for (options, support, query) in [(new_word(3), 3, 16), (new_domain(2, 4), 8, 30)] {
        for task in Sampler::new(&pool, options).unwrap().tasks(30) {
            assert_eq!((task.support.len(), task.query.len()), (support, query));
            assert_eq!(pictures(&task).collect::<BTreeSet<_>>().len(), support + query);
        }
    }
}

#[test]
fn positives_say_the_nonce_and_negatives_neither_it_nor_the_concept_in_any_form() {
    let corpus = Corpus::animals();
    let pool = corpus.pool();
    let known: HashSet<String> = ["lumovak".to_owned()].into();
    let captions = pool.pictures().iter().flat_map(|picture| picture.captions);
    let all: HashSet<String> = captions.flat_map(|caption| words(caption)).collect();
    let sampler = Sampler::new(&pool, TaskOptions { known, ..new_word(3) }).unwrap();
    for task in sampler.tasks(60) {
        let Subject::NewWord { concept, nonce } = &task.subject else { panic!("{task:?}") };
        assert_ne!(nonce, "lumovak");
        assert!(all.contains(concept) && !all.contains(nonce));
        for sample in &task.support {
            let texts = task.texts(sample, &pool);
            assert!(texts.len() == 1 && words(&texts[0]).contains(nonce), "{texts:?}");
        }
        let mut shown = 0;
        for sample in &task.query {
            let texts = task.texts(sample, &pool);
            let said: Vec<String> = texts.iter().flat_map(|text| words(text)).collect();
            assert!(texts.len() == 3 && !said.contains(concept));
            match sample.group {
                Group::Concept => shown += said.iter().filter(|word| *word == nonce).count(),
                _ => assert!(!said.iter().any(|word| word == nonce || family(word) == family(concept))),
            }
        }
        assert_eq!(shown, 16, "two captions each of eight pictures");
    }
}

#[test]
fn subjects_take_turns() {
    let corpus = Corpus::animals();
    let pool = corpus.pool();
    for options in [new_word(3), new_domain(1, 3)] {
        let sampler = Sampler::new(&pool, options).unwrap();
        let count = sampler.subjects().len();
        assert!(count > 1);
        for round in sampler.tasks(3 * count).chunks(count) {
            let round: BTreeSet<String> =
                round.iter().map(|task| format!("{:?}", about_word(task))).collect();
            assert_eq!(round.len(), count);
        }
    }
}

fn about_word(task: &Task) -> Vec<String> {
    match &task.subject {
        Subject::NewWord { concept, .. } => vec![concept.clone()],
        Subject::NewDomain { scenes } => scenes.clone(),
    }
}

#[test]
fn fewer_shots_are_the_first_of_more() {
    let corpus = Corpus::animals();
    let pool = corpus.pool();
    for (few, many) in [(new_word(1), new_word(3)), (new_domain(2, 2), new_domain(2, 5))] {
        let (few, many) = (Sampler::new(&pool, few).unwrap(), Sampler::new(&pool, many).unwrap());
        assert_eq!(few.subjects(), many.subjects());
        for (few, many) in few.tasks(10).into_iter().zip(many.tasks(10)) {
            assert_eq!(few.support[..], many.support[..few.support.len()]);
            assert_eq!((few.query, few.subject), (many.query, many.subject));
        }
    }
}

#[test]
fn too_little_is_an_error_that_counts() {
    let corpus = Corpus::animals();
    let pool = corpus.pool();
    let error = |options: TaskOptions| Sampler::new(&pool, options).unwrap_err().to_string();
    let held_out = |options: TaskOptions, subject: &str| {
        let partition = Partition { held_out: [subject.to_owned()].into(), ..options.partition };
        TaskOptions { split: MetaSplit::Test, partition, ..options }
    };
    let text = error(new_word(500));
    assert!(text.contains("a task needs 508, 500 for support and 8 for queries"), "{text}");
    let text = error(held_out(new_word(2), "zebra"));
    assert!(text.contains("meta-test: `zebra` has 0 pictures and a task needs 10"), "{text}");
    let text = error(held_out(new_word(2), "is"));
    assert!(text.contains("`is` has 0 pictures"), "one caption of a picture is not enough: {text}");
    let text = error(new_domain(1, 500));
    assert!(text.contains("has 240 pictures and a task needs 515"), "{text}");
    let text = error(new_domain(3, 4));
    assert!(text.contains("2 scenes have 19 pictures and a task needs 3 such scenes"), "{text}");
    let text = error(held_out(new_domain(1, 4), "moon"));
    assert!(text.contains("`moon` is no scene") && text.contains("barn, beach"), "{text}");

    let mut none = pool.clone();
    none.retain(|_, _| false);
    let text = Sampler::new(&none, new_word(2)).unwrap_err().to_string();
    assert!(text.contains("none of 0 pictures shows a concept"), "{text}");
    let mut without_scenes = pool.clone();
    without_scenes.set_scenes(|_| None);
    let text = Sampler::new(&without_scenes, new_domain(1, 2)).unwrap_err().to_string();
    assert!(text.contains("no picture has a scene"), "{text}");
    let mut dogs = pool.clone();
    dogs.retain(|place, _| place % 12 == 0);
    let mut only_dogs = held_out(new_word(1), "dog");
    only_dogs.partition.pictures = "0,0,1".parse().unwrap();
    let text = Sampler::new(&dogs, only_dogs).unwrap_err().to_string();
    assert!(text.contains("0 pictures do not show `dog` and a task needs 8"), "{text}");
}

#[test]
fn only_the_concept_itself_is_renamed() {
    let subject = Subject::NewWord { concept: "dog".into(), nonce: "lumovak".into() };
    assert_eq!(
        subject.rename("A Dog , and two dogs ; the dog's hot-dog"),
        "a lumovak and two dogs the dog's hot-dog"
    );
    let subject = Subject::NewDomain { scenes: vec!["dog".into()] };
    assert_eq!(subject.rename("A Dog ."), "a dog");
}

#[test]
fn new_words_are_those_of_the_support_as_it_is_renamed() {
    let corpus = Corpus::new(&[("a", &["A dog bites a frisbee", "the dog"]), ("b", &["a zebra"])]);
    let pool = corpus.pool();
    let sample = |picture, captions| Sample { picture, group: Group::Concept, captions };
    let mut task = Task {
        number: 0,
        subject: Subject::NewWord { concept: "dog".into(), nonce: "lumovak".into() },
        support: vec![sample(0, vec![0, 1])],
        query: vec![sample(1, vec![0])],
        written: None,
    };
    let known = ["a", "the", "dog"].map(str::to_owned).into();
    assert_eq!(task.new_words(&pool, &known), ["lumovak", "bites", "frisbee"]);
    assert_eq!(task.texts(&task.support[0], &pool), ["a lumovak bites a frisbee", "the lumovak"]);

    task.written = Some("this is a {}".into());
    assert_eq!(task.support_texts(&task.support[0], &pool), ["this is a lumovak"]);
    assert_eq!(task.new_words(&pool, &known), ["this", "is", "lumovak"]);
    assert_eq!(task.texts(&task.query[0], &pool), ["a zebra"]);
}
