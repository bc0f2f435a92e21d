//! The pictures that tasks are made of.

use crate::corpus::Picture;
use crate::features::PreparedPicture;

/// A captioned picture of a corpus or a prepared folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskPicture<'a> {
    /// Its name in the corpus.
    pub name: &'a str,
    /// What people said of it.
    pub captions: &'a [String],
    /// Its scene, where the corpus tells, or its cluster.
    pub scene: Option<String>,
}

impl<'a> From<&'a Picture> for TaskPicture<'a> {
    fn from(picture: &'a Picture) -> Self {
        Self { name: &picture.name, captions: &picture.captions, scene: picture.label.clone() }
    }
}

impl<'a> From<&'a PreparedPicture> for TaskPicture<'a> {
    fn from(picture: &'a PreparedPicture) -> Self {
        Self { name: &picture.name, captions: &picture.captions, scene: picture.label.clone() }
    }
}

/// Pictures, by which a task's places count, and which of them tasks may use.
#[derive(Clone, Debug)]
pub struct Pool<'a> {
    pictures: Vec<TaskPicture<'a>>,
    usable: Vec<bool>,
}

impl<'a> Pool<'a> {
    /// All pictures of a corpus or of a prepared folder, in its order; those with captions may be used.
    pub fn new(pictures: impl IntoIterator<Item = TaskPicture<'a>>) -> Self {
        let pictures: Vec<TaskPicture> = pictures.into_iter().collect();
        let usable = pictures.iter().map(|picture| !picture.captions.is_empty()).collect();
        Self { pictures, usable }
    }

    /// Forbids the pictures of which `keep` says false; no picture's place changes.
    pub fn retain(&mut self, mut keep: impl FnMut(usize, &TaskPicture) -> bool) {
        for (place, picture) in self.pictures.iter().enumerate() {
            self.usable[place] &= keep(place, picture);
        }
    }

    /// Gives every picture the scene that `scene` tells.
    pub fn set_scenes(&mut self, mut scene: impl FnMut(usize) -> Option<String>) {
        for (place, picture) in self.pictures.iter_mut().enumerate() {
            picture.scene = scene(place);
        }
    }

    /// All pictures.
    #[must_use]
    pub fn pictures(&self) -> &[TaskPicture<'a>] {
        &self.pictures
    }

    /// The places of the pictures that tasks may use, rising.
    pub fn usable(&self) -> impl Iterator<Item = usize> {
        self.usable.iter().enumerate().filter(|(_, usable)| **usable).map(|(place, _)| place)
    }
}
