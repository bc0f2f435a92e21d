//! Makes tasks of the corpora that the project is trained and measured on, where they are on this machine.

#![allow(clippy::unwrap_used)]

mod shared;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::num::NonZeroUsize;

use metalens::language::words;
use metalens_trainer::corpus::{Format, Split};
use metalens_trainer::tasks::{
    Group, Kind, MetaSplit, Partition, Pool, Sampler, Subject, Task, TaskOptions, family, nouns,
};
use shared::corpus;

fn number(number: usize) -> NonZeroUsize {
    NonZeroUsize::new(number).unwrap()
}

fn options(kind: Kind, split: MetaSplit, partition: Partition) -> TaskOptions {
    TaskOptions { kind, split, partition, seed: 0, known: HashSet::new() }
}

/// Draws tasks of every meta-split and checks that no picture and no subject is in two.
fn tasks_that_share_nothing(pool: &Pool, kind: Kind, partition: &Partition) -> Vec<(MetaSplit, Vec<Task>)> {
    let (mut split_of_picture, mut split_of_subject) = (HashMap::new(), HashMap::new());
    let drawn = MetaSplit::ALL.map(|split| {
        let tasks = Sampler::new(pool, options(kind, split, partition.clone())).unwrap().tasks(100);
        for task in &tasks {
            for sample in task.support.iter().chain(&task.query) {
                assert_eq!(*split_of_picture.entry(sample.picture).or_insert(split), split);
            }
            let subjects = match &task.subject {
                Subject::NewWord { concept, .. } => vec![family(concept)],
                Subject::NewDomain { scenes } => scenes.clone(),
            };
            for subject in subjects {
                assert_eq!(*split_of_subject.entry(subject).or_insert(split), split);
            }
        }
        (split, tasks)
    });
    drawn.into()
}

#[test]
fn the_most_frequent_nouns_of_flickr8k_are_nouns() {
    let Some(corpus) = corpus("flickr8k", Format::Flickr) else { return };
    let nouns = nouns(corpus.split(Split::Train).map(|picture| &picture.captions[..]));
    let top: Vec<&str> = nouns[..120].iter().map(|noun| noun.word.as_str()).collect();
    println!("{}", top.join(" "));
    for noun in
        ["man", "dog", "dogs", "water", "children", "beach", "trees", "skateboarder", "frisbee", "stairs"]
    {
        assert!(top.contains(&noun), "{noun}");
    }
    for other in
        ["white", "young", "running", "plays", "front", "group", "a", "in", "there", "wooden", "catch"]
    {
        assert!(!top.contains(&other), "{other}");
    }
}

#[test]
fn new_words_of_flickr8k_share_nothing_between_meta_splits_and_negatives_never_say_them() {
    let Some(corpus) = corpus("flickr8k", Format::Flickr) else { return };
    let mut pool = Pool::new(corpus.pictures.iter().map(Into::into));
    pool.retain(|place, _| corpus.pictures[place].split == Split::Train);
    let kind = Kind::NewWord { shots: number(5) };
    for (split, tasks) in tasks_that_share_nothing(&pool, kind, &Partition::default()) {
        let concepts: BTreeSet<String> = tasks.iter().map(|task| format!("{:?}", task.subject)).collect();
        println!("meta-{split}: {} different tasks", concepts.len());
        for task in &tasks {
            let Subject::NewWord { concept, nonce } = &task.subject else { panic!("{task:?}") };
            for sample in task.query.iter().filter(|sample| sample.group == Group::Unrelated) {
                for caption in pool.pictures()[sample.picture].captions {
                    let related = |word: &String| word == nonce || family(word) == family(concept);
                    assert!(!words(caption).iter().any(related), "{concept}: {caption}");
                }
            }
        }
    }
}

#[test]
fn protocol_two_has_its_seven_reporting_scenes_and_no_other() {
    let Some(corpus) = corpus("rsicd", Format::Karpathy) else { return };
    let pool = Pool::new(corpus.pictures.iter().map(Into::into));
    let reporting = ["forest", "industrial", "meadow", "pond", "railwaystation", "resort", "storagetanks"];
    let partition = Partition {
        held_out: reporting.map(str::to_owned).into(),
        // Five of the eight others, and three.
        subjects: "5,3,0".parse().unwrap(),
        ..Partition::default()
    };
    tasks_that_share_nothing(&pool, Kind::NewDomain { scenes: number(1), shots: number(10) }, &partition);
    let kind = Kind::NewDomain { scenes: number(5), shots: number(4) };
    for (split, scenes) in [(MetaSplit::Train, 5), (MetaSplit::Test, 7)] {
        let sampler = Sampler::new(&pool, options(kind, split, partition.clone())).unwrap();
        assert_eq!(sampler.subjects().len(), scenes);
        let task = sampler.task(0);
        assert_eq!((task.support.len(), task.query.len()), (20, 75));
    }
    let sampler = Sampler::new(&pool, options(kind, MetaSplit::Test, partition)).unwrap();
    assert_eq!(sampler.subjects().iter().map(|(scene, _)| *scene).collect::<Vec<_>>(), reporting);
}
