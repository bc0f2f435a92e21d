//! The device asks: of the frames it saw, it offers those that are least like anything it knows, to be captioned.
//!
//! ```text
//! score(q) = 1 - max_k cos(q, k)      k: the bundle's ordinary pictures, the calibration's, and samples kept since
//! ```
//!
//! over directions of pooled visual vectors from the ordinary pictures' mean, as familiarity takes them. Offers are unlike
//! each other as well: of two that are alike, the one with the higher score stays. What is offered lies in the state's
//! folder `suggestions`, a picture and a description each.

use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};

use metalens_models::{SystemDisk, replace_on};
use ndarray::Array1;
use serde::{Deserialize, Serialize};

use super::hub::{Hub, lock};
use super::jpeg::jpeg;
use super::metrics::Kind;
use super::published::Published;
use crate::adaptation::{Initialization, Learned};
use crate::camera::Frame;

/// The folder in the state's.
const FOLDER: &str = "suggestions";

/// Offers whose directions have a higher cosine are alike.
const ALIKE: f32 = 0.8;

/// What a frame must score to be offered at all: less, and the device knows enough like it.
const LEAST: f32 = 0.2;

/// Pictures that wait for the medium.
const WAITING: usize = 4;

/// A frame that the device would learn from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Offer {
    /// By which it is asked for.
    pub id: String,
    /// When the frame was there.
    pub time: String,
    /// How unlike everything known it is, from 0 to 2.
    pub score: f32,
    /// What was said of it.
    pub caption: String,
    /// Direction of its pooled visual vector from the ordinary pictures' mean.
    direction: Vec<f32>,
}

/// What is offered.
#[derive(Default)]
struct Offers {
    offers: Vec<Offer>,
    /// Directions of samples that were kept since the start.
    kept: Vec<Array1<f32>>,
}

/// Chooses what is offered; shared by whoever captions and whoever answers.
#[derive(Clone)]
pub struct Suggestions {
    offers: Arc<Mutex<Offers>>,
    folder: PathBuf,
    most: usize,
    initialization: Option<Arc<Initialization<f32>>>,
    writer: SyncSender<Job>,
}

/// What the medium has to do.
enum Job {
    Write(Offer, Vec<u8>),
    Remove(String),
}

impl Suggestions {
    /// Offers of the state in `state`, those of an earlier run among them; `most` is 0 for none.
    #[must_use]
    pub fn new(
        state: &Path,
        most: usize,
        initialization: Option<Arc<Initialization<f32>>>,
        hub: &Arc<Hub>,
    ) -> Self {
        let (writer, jobs) = sync_channel(WAITING);
        let folder = state.join(FOLDER);
        let mut offers = if most > 0 { read(&folder) } else { Vec::new() };
        offers.truncate(most);
        let offers = Arc::new(Mutex::new(Offers { offers, kept: Vec::new() }));
        let (place, hub) = (folder.clone(), hub.clone());
        // Ends with the last sender.
        std::thread::spawn(move || write(&place, &jobs, &hub));
        Self { offers, folder, most, initialization, writer }
    }

    /// Offers the frame, if the device would learn from it more than from what is offered.
    pub fn consider(
        &self,
        frame: &Frame,
        pooled: &Array1<f32>,
        published: &Published,
        learned: Option<&Learned>,
    ) {
        let Some(initialization) = self.initialization.as_ref().filter(|_| self.most > 0) else { return };
        let direction = initialization.references.direction(&pooled.view());
        let mut nearest = initialization.references.nearest(&direction);
        if let Some(learned) = learned {
            nearest =
                learned.support().rows().into_iter().fold(nearest, |most, row| most.max(row.dot(&direction)));
        }
        let mut offers = lock(&self.offers);
        nearest = offers.kept.iter().fold(nearest, |most, kept| most.max(kept.dot(&direction)));
        let score = 1.0 - nearest;
        let Some(replaced) = offers.place(&direction, score, self.most) else { return };
        let Ok(picture) = jpeg(frame) else { return };
        let offer = Offer {
            id: format!(
                "{}-{}",
                published.time.replace(|c: char| !c.is_ascii_digit(), ""),
                published.sequence
            ),
            time: published.time.clone(),
            score,
            caption: published.caption.clone(),
            direction: direction.to_vec(),
        };
        // A medium that has no time is not waited for: the next such frame may be offered.
        if self.writer.try_send(Job::Write(offer.clone(), picture)).is_ok() {
            for place in replaced.into_iter().rev() {
                let id = offers.offers.remove(place).id;
                self.remove_file(id);
            }
            offers.offers.push(offer);
            offers.offers.sort_by(|a, b| b.score.total_cmp(&a.score));
        }
    }

    /// What is offered, the most unlike first.
    #[must_use]
    pub fn offers(&self) -> Vec<Offer> {
        lock(&self.offers).offers.clone()
    }

    /// The picture of an offer.
    #[must_use]
    pub fn picture(&self, id: &str) -> Option<Vec<u8>> {
        let known = lock(&self.offers).offers.iter().any(|offer| offer.id == id);
        known.then(|| std::fs::read(self.folder.join(format!("{id}.jpg"))).ok()).flatten()
    }

    /// Takes an offer back; `kept` says that it became a sample, so that nothing like it is offered again. Whether there was
    /// one.
    pub fn take(&self, id: &str, kept: bool) -> bool {
        let mut offers = lock(&self.offers);
        let Some(place) = offers.offers.iter().position(|offer| offer.id == id) else { return false };
        let offer = offers.offers.remove(place);
        if kept {
            offers.kept.push(offer.direction.into());
        }
        drop(offers);
        self.remove_file(offer.id);
        true
    }

    fn remove_file(&self, id: String) {
        // Where the medium has no time the file stays, and is removed at the next start.
        let _ = self.writer.try_send(Job::Remove(id));
    }
}

impl Offers {
    /// Where a frame would stand: the offers that it takes the place of; none where it is not worth it.
    fn place(&self, direction: &Array1<f32>, score: f32, most: usize) -> Option<Vec<usize>> {
        if score < LEAST {
            return None;
        }
        let cosine = |offer: &Offer| offer.direction.iter().zip(direction).map(|(a, b)| a * b).sum::<f32>();
        let alike: Vec<usize> =
            (0..self.offers.len()).filter(|&place| cosine(&self.offers[place]) > ALIKE).collect();
        if alike.iter().any(|&place| self.offers[place].score >= score) {
            return None;
        }
        if !alike.is_empty() || self.offers.len() < most {
            return Some(alike);
        }
        let weakest = self.offers.len().checked_sub(1)?;
        (self.offers[weakest].score < score).then(|| vec![weakest])
    }
}

/// What an earlier run left. A description without its picture, or the reverse, is removed.
fn read(folder: &Path) -> Vec<Offer> {
    let Ok(entries) = folder.read_dir() else { return Vec::new() };
    let mut offers = Vec::new();
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        let partner =
            path.with_extension(if path.extension().is_some_and(|e| e == "json") { "jpg" } else { "json" });
        if !partner.exists() {
            // It costs room, and nothing else.
            let _ = std::fs::remove_file(&path);
        } else if partner.extension().is_some_and(|ending| ending == "jpg") {
            let offer =
                std::fs::read(&path).ok().and_then(|bytes| serde_json::from_slice::<Offer>(&bytes).ok());
            offers
                .extend(offer.filter(|offer| path.file_stem().is_some_and(|stem| stem == offer.id.as_str())));
        }
    }
    offers.sort_by(|a, b| b.score.total_cmp(&a.score));
    offers
}

fn write(folder: &Path, jobs: &Receiver<Job>, hub: &Hub) {
    let path = |id: &str, ending: &str| folder.join(format!("{id}.{ending}"));
    for job in jobs {
        let done = match job {
            Job::Write(offer, picture) => std::fs::create_dir_all(folder)
                .and_then(|()| {
                    replace_on(&SystemDisk, &path(&offer.id, "jpg"), &picture).map_err(std::io::Error::other)
                })
                .and_then(|()| serde_json::to_vec(&offer).map_err(std::io::Error::other))
                .and_then(|description| {
                    replace_on(&SystemDisk, &path(&offer.id, "json"), &description)
                        .map_err(std::io::Error::other)
                }),
            Job::Remove(id) => {
                std::fs::remove_file(path(&id, "json")).and_then(|()| std::fs::remove_file(path(&id, "jpg")))
            }
        };
        if let Err(error) = done {
            hub.metrics.error(Kind::disk);
            tracing::debug!("{}: {error}", folder.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn offers(scores: &[(f32, [f32; 2])]) -> Offers {
        let offer = |&(score, direction): &(f32, [f32; 2])| Offer {
            id: score.to_string(),
            time: String::new(),
            score,
            caption: String::new(),
            direction: direction.to_vec(),
        };
        Offers { offers: scores.iter().map(offer).collect(), kept: Vec::new() }
    }

    #[test]
    fn what_is_least_known_is_offered_and_nothing_twice() {
        let (up, right, left) = (array![0.0, 1.0], array![1.0, 0.0], array![-1.0, 0.0]);
        let some = offers(&[(0.9, [0.0, 1.0]), (0.5, [1.0, 0.0])]);
        assert_eq!(some.place(&left, 0.6, 3), Some(vec![]), "there is room");
        assert_eq!(some.place(&left, 0.6, 2), Some(vec![1]), "the weakest goes");
        assert_eq!(some.place(&left, 0.4, 2), None, "the others are better");
        assert_eq!(some.place(&right, 0.6, 9), Some(vec![1]), "the better of two that are alike stays");
        assert_eq!(some.place(&up, 0.6, 9), None, "one like it is offered");
        assert_eq!(some.place(&left, 0.1, 9), None, "it is known well enough");
    }
}
