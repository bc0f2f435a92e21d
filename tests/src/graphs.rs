//! A bundle's graphs, one by one, for one hypothesis: to be compared with what computes the same elsewhere.

use metalens::engine::{Graph, Input, Output, Session};
use metalens_models::{Bundle, DetectorShape, file};

/// The graphs; inputs and outputs are in the order of the bundle's documentation. Those in parentheses are there in a bundle
/// with concepts.
pub struct Graphs {
    /// `image` -> `tokens`, `keys`, `state` (, `phi`).
    pub encoder: Session,
    /// `word`, `state`, `tokens`, `keys` (, `concepts`, `confidence`) -> `next_state`, `z`, `attention` (, `pointer`).
    pub decoder: Session,
    /// `z` -> `logits`.
    pub head: Session,
    /// `images` -> `output`, in a bundle with a detector.
    pub detector: Option<Session>,
}

impl Graphs {
    /// Loads them.
    ///
    /// # Errors
    /// When the bundle is refused.
    pub fn open(bundle: &Bundle) -> anyhow::Result<Self> {
        let s = bundle.manifest().shapes;
        let p = &bundle.manifest().preprocessing;
        let load = |name: &str, inputs: &[Input], outputs: &[Output]| -> anyhow::Result<Session> {
            Ok(Graph::load(&bundle.read(name)?, name, inputs, outputs)?.session()?)
        };
        let with_concepts = if s.concepts > 0 { 2 } else { 0 };
        let concepts = [1, s.concepts];
        let made = [
            Output("tokens", &[1, s.positions(), s.token]),
            Output("keys", &[1, s.positions(), s.key]),
            Output("state", &[1, s.state]),
            Output("phi", &[1, s.phi]),
        ];
        let read = [
            Input::I64("word", &[1]),
            Input::F32("state", &[1, s.state]),
            Input::F32("tokens", &[1, s.positions(), s.token]),
            Input::F32("keys", &[1, s.positions(), s.key]),
            Input::I64("concepts", &concepts),
            Input::F32("confidence", &concepts),
        ];
        let said = [
            Output("next_state", &[1, s.state]),
            Output("z", &[1, s.feature]),
            Output("attention", &[1, s.positions() + s.concepts]),
            Output("pointer", &[1, 2]),
        ];
        let image = [Input::F32("image", &[1, 3, p.height, p.width])];
        let shape = bundle.manifest().detector.as_ref();
        let detector = |shape: &DetectorShape| {
            let images = [Input::F32("images", &[1, 3, shape.height, shape.width])];
            load(file::DETECTOR, &images, &[Output("output", &[1, shape.cells(), 5 + shape.things])])
        };
        Ok(Self {
            encoder: load(file::ENCODER, &image, &made[..3 + with_concepts / 2])?,
            decoder: load(file::DECODER, &read[..4 + with_concepts], &said[..3 + with_concepts / 2])?,
            head: load(
                file::HEAD,
                &[Input::F32("z", &[1, s.feature])],
                &[Output("logits", &[1, s.vocabulary])],
            )?,
            detector: shape.map(detector).transpose()?,
        })
    }
}
