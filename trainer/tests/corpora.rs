//! Reads the corpora that the project is trained and measured on, where they are on this machine.

#![allow(clippy::unwrap_used)]

mod shared;

use std::collections::BTreeMap;

use metalens_trainer::corpus::{Corpus, Format, Split};

/// A corpus without defects.
fn corpus(name: &str, format: Format) -> Option<Corpus> {
    let corpus = shared::corpus(name, format)?;
    corpus.require_clean().unwrap();
    Some(corpus)
}

#[test]
fn flickr8k_has_six_thousand_train_and_a_thousand_dev_pictures_with_five_captions_each() {
    let Some(corpus) = corpus("flickr8k", Format::Flickr) else { return };
    assert_eq!(corpus.split(Split::Train).count(), 6000);
    assert_eq!(corpus.split(Split::Dev).count(), 1000);
    assert_eq!(corpus.split(Split::Test).count(), 0);
    assert!(corpus.pictures.iter().all(|picture| picture.captions.len() == 5));
}

#[test]
fn rsicd_has_fifteen_scenes_of_a_hundred_and_sixty_pictures_all_train() {
    let Some(corpus) = corpus("rsicd", Format::Karpathy) else { return };
    let mut scenes: BTreeMap<&str, usize> = BTreeMap::new();
    for picture in &corpus.pictures {
        *scenes.entry(picture.label.as_deref().unwrap()).or_default() += 1;
        assert_eq!(picture.split, Split::Train);
        assert!((1..=5).contains(&picture.captions.len()), "{}", picture.name);
    }
    assert_eq!(scenes.len(), 15);
    assert!(scenes.values().all(|&pictures| pictures == 160), "{scenes:?}");
}

#[test]
fn coco_mini_has_eighty_train_pictures_with_five_captions_each() {
    let Some(corpus) = corpus("coco_mini", Format::Coco) else { return };
    assert_eq!(corpus.split(Split::Train).count(), 80);
    assert_eq!(corpus.pictures.len(), 80);
    assert!(corpus.pictures.iter().all(|picture| picture.captions.len() == 5));
}

#[test]
fn coco_more_has_pictures_for_choosing_and_for_reporting_by_their_number() {
    let Some(corpus) = corpus("coco_more", Format::Coco) else { return };
    let of = |split| corpus.split(split).map(|picture| picture.id.unwrap()).collect::<Vec<_>>();
    let odd = of(Split::Dev).iter().filter(|id| *id % 2 == 1).count();
    assert_eq!((odd, of(Split::Dev).len() - odd, of(Split::Train).len()), (121, 97, 50));
    for picture in &corpus.pictures {
        assert_eq!(picture.name, format!("{:012}.jpg", picture.id.unwrap()));
        // Some of COCO's pictures have more than five.
        assert!((5..=7).contains(&picture.captions.len()), "{}", picture.name);
    }
}

#[test]
fn every_picture_of_the_corpora_can_be_decoded() {
    for (name, format) in
        [("flickr8k", Format::Flickr), ("rsicd", Format::Karpathy), ("coco_mini", Format::Coco)]
    {
        let Some(corpus) = corpus(name, format) else { continue };
        for picture in &corpus.pictures {
            let decoded = metalens::vision::decode(&std::fs::read(&picture.path).unwrap());
            assert!(decoded.is_ok(), "{}: {}", picture.path.display(), decoded.unwrap_err());
        }
    }
}
