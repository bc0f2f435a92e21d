//! A detector of things, of the YOLOX family (Ge et al. 2021).
//!
//! It looks at the picture in its proportions, at the upper left of its input, the rest grey. Each cell of its grids tells of one
//! box: where it is, whether there is anything, and what. `boxes.rs` reads that.

mod boxes;
mod letterbox;

pub use boxes::Thing;

use metalens_models::DetectorShape;

use self::letterbox::Letterbox;
use super::Picture;
use crate::engine::{EngineError, Graph, Input, Output, Session};

/// Numbers of a cell before those of the things: the box's four, and objectness.
const BOX: usize = 5;

/// Finds things in pictures.
pub struct Detector {
    shape: DetectorShape,
    letterbox: Letterbox,
    session: Session,
    /// Of the last picture, one a class.
    scores: Vec<f32>,
}

/// Translates the detector's ONNX file, called `name` in messages; detectors on several threads may share the graph.
///
/// # Errors
/// When it is no such graph, or its output has another shape.
pub fn load(bytes: &[u8], name: &str, shape: &DetectorShape) -> Result<Graph, EngineError> {
    Graph::load(
        bytes,
        name,
        &[Input::F32("images", &[1, 3, shape.height, shape.width])],
        &[Output("output", &[1, shape.cells(), BOX + shape.things])],
    )
}

impl Detector {
    /// A detector of the ONNX file `bytes`, called `name` in messages.
    ///
    /// # Errors
    /// As [`load`].
    pub fn open(bytes: &[u8], name: &str, shape: &DetectorShape) -> Result<Self, EngineError> {
        Self::new(&load(bytes, name, shape)?, shape)
    }

    /// A detector that runs the graph of [`load`].
    ///
    /// # Errors
    /// When the graph cannot be run.
    pub fn new(graph: &Graph, shape: &DetectorShape) -> Result<Self, EngineError> {
        Ok(Self {
            letterbox: Letterbox::new(shape.width, shape.height),
            session: graph.session()?,
            scores: vec![0.0; shape.things],
            shape: shape.clone(),
        })
    }

    /// Looks at a picture: [`Self::scores`] and [`Self::boxes`] then tell of it.
    ///
    /// # Errors
    /// When the graph fails.
    pub fn look(&mut self, picture: &Picture) -> Result<(), EngineError> {
        self.session.set(0, self.letterbox.run(picture))?;
        self.session.run()?;
        boxes::scores(self.session.output(0)?, &mut self.scores);
        Ok(())
    }

    /// For each class `[things]`, how sure the detector is that the last picture shows it: the highest of objectness times the
    /// class's probability over all cells, 0 … 1.
    #[must_use]
    pub fn scores(&self) -> &[f32] {
        &self.scores
    }

    /// Where the last picture shows things of this score and higher, surest first, as shares of its width and
    /// height.
    ///
    /// # Errors
    /// When nothing was looked at yet.
    pub fn boxes(&self, threshold: f32) -> Result<Vec<Thing>, EngineError> {
        let found = boxes::found(self.session.output(0)?, &self.shape, threshold);
        Ok(found.into_iter().filter_map(|thing| self.letterbox.in_picture(thing)).collect())
    }
}
