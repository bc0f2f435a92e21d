//! What makes a support set a place of its own: sets that are and sets of ordinary pictures, to learn it from.

use std::collections::BTreeSet;

use metalens::adaptation::{Familiarity, Initialization, Read, Shown};
use metalens::language::words;

use super::evidence::learn_apart;
use super::gallery::{Gallery, shown};
use super::places::{PLACES, Places};

/// A small support set.
const FEW: usize = 5;
/// Sizes of ordinary support sets.
const SIZES: [usize; 3] = [5, 10, 20];

/// Support sets from which is learned what makes one a place of its own.
pub(super) struct Sets {
    places: Vec<Vec<Shown<f32>>>,
    ordinary: Vec<Vec<Shown<f32>>>,
}

impl Sets {
    /// Of the supports of episodes, whole and as small sets, and as many sets of ordinary pictures.
    pub(super) fn new(
        given: &Places,
        supports: Vec<Vec<Shown<f32>>>,
        initialization: &Initialization<f32>,
    ) -> anyhow::Result<Self> {
        let few = |support: &Vec<Shown<f32>>| support[..support.len().min(FEW)].to_vec();
        let small: Vec<_> = supports.iter().map(few).collect();
        let places = supports.into_iter().chain(small).collect();
        Ok(Self { places, ordinary: ordinary_sets(given, initialization)? })
    }

    /// Learns it for the head of `initialization`. Returns how sure of the least sure place it is, and of the surest
    /// ordinary set.
    pub(super) fn teach(&self, initialization: &mut Initialization<f32>) -> [f64; 2] {
        let features = |sets: &[Vec<Shown<f32>>]| -> Vec<[f64; 2]> {
            let read =
                |read: &Read<f32>| Read::new(&initialization.head, read.z.clone(), read.targets.clone());
            let again = |shown: &Shown<f32>| Shown {
                observation: shown.observation.clone(),
                captions: shown.captions.iter().map(read).collect(),
            };
            let of = |set: &Vec<Shown<f32>>| {
                let set: Vec<Shown<f32>> = set.iter().map(again).collect();
                initialization.place_features(&set).map(f64::from)
            };
            sets.iter().map(of).collect()
        };
        let (places, ordinary) = (features(&self.places), features(&self.ordinary));
        let settings = &mut initialization.schedule.familiarity;
        learn_apart(&places, &ordinary, settings);
        let sure = |features: &[f64; 2]| Familiarity::apart(settings, *features);
        let least = places.iter().map(sure).fold(f64::INFINITY, f64::min);
        [least, ordinary.iter().map(sure).fold(f64::NEG_INFINITY, f64::max)]
    }
}

/// Support sets of ordinary pictures with a caption each: of pictures that are as like one of them as there are, and of any.
fn ordinary_sets(
    given: &Places,
    initialization: &Initialization<f32>,
) -> anyhow::Result<Vec<Vec<Shown<f32>>>> {
    let Places { body, ordinary, things: (features, places), known, .. } = *given;
    let texts = |picture: usize| features.index().pictures[places[picture]].captions.iter().take(1);
    let sets = (0..PLACES).flat_map(|number| ordinary_pictures(initialization, ordinary, number));
    sets.map(|pictures| {
        let said = pictures.iter().flat_map(|&picture| texts(picture)).flat_map(|text| words(text));
        let new_words: BTreeSet<String> = said.filter(|word| !known.contains(word)).collect();
        let new_words: Vec<String> = new_words.into_iter().collect();
        let read = |&picture: &usize| {
            (picture, texts(picture).map(|text| body.ids(text, &new_words)).collect::<Vec<_>>())
        };
        let samples: Vec<(usize, Vec<Vec<u32>>)> = pictures.iter().map(read).collect();
        shown(body, ordinary, initialization, &samples)
    })
    .collect()
}

/// Two sets of ordinary pictures: those that are most like a first one, and some from everywhere.
fn ordinary_pictures(
    initialization: &Initialization<f32>,
    ordinary: &Gallery,
    number: usize,
) -> [Vec<usize>; 2] {
    let references = &initialization.references;
    let count = ordinary.base.len();
    let size = SIZES[number % SIZES.len()].min(count);
    let direction =
        |picture: usize| references.direction(&ordinary.encodings.pooled(picture, references.width()).view());
    let first = number * count / PLACES;
    let own = direction(first);
    let cosines: Vec<f32> = (0..count).map(|picture| own.dot(&direction(picture))).collect();
    let mut alike: Vec<usize> = (0..count).collect();
    alike.sort_by(|&a, &b| cosines[b].total_cmp(&cosines[a]));
    alike.truncate(size);
    [alike, (0..size).map(|place| (first + place * count / size) % count).collect()]
}
