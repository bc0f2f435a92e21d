//! A bundle's graphs, one by one, for one hypothesis: to be compared with what computes the same elsewhere.

use metalens::engine::{Graph, Input, Output, Session};
use metalens_models::{Bundle, file};

/// The three graphs; inputs and outputs are in the order of the bundle's documentation.
pub struct Graphs {
    /// `image` -> `tokens`, `keys`, `state`.
    pub encoder: Session,
    /// `word`, `state`, `tokens`, `keys` -> `next_state`, `z`, `attention`.
    pub decoder: Session,
    /// `z` -> `logits`.
    pub head: Session,
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
        Ok(Self {
            encoder: load(
                file::ENCODER,
                &[Input::F32("image", &[1, 3, p.height, p.width])],
                &[
                    Output("tokens", &[1, s.positions(), s.token]),
                    Output("keys", &[1, s.positions(), s.key]),
                    Output("state", &[1, s.state]),
                ],
            )?,
            decoder: load(
                file::DECODER,
                &[
                    Input::I64("word", &[1]),
                    Input::F32("state", &[1, s.state]),
                    Input::F32("tokens", &[1, s.positions(), s.token]),
                    Input::F32("keys", &[1, s.positions(), s.key]),
                ],
                &[
                    Output("next_state", &[1, s.state]),
                    Output("z", &[1, s.feature]),
                    Output("attention", &[1, s.positions()]),
                ],
            )?,
            head: load(
                file::HEAD,
                &[Input::F32("z", &[1, s.feature])],
                &[Output("logits", &[1, s.vocabulary])],
            )?,
        })
    }
}
