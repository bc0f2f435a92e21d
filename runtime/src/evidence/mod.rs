//! Which words a picture shows, and how surely: the concepts that the decoder reads beside the visual tokens.
//!
//! ```text
//! e = E phi + b                [rows]   log-odds that people who caption the picture say the word (Fang et al. 2015, section 3)
//! p = sum softmax(classes)              probability of the classes that show a word
//! s = score of the detector's thing     highest of the picture
//! confidence = max(sigmoid(e), share p, s), each only from its threshold on
//! ```
//!
//! [`select`] is pure, so that the trainer makes the concepts that it trains with in the same way; [`Evidence`] ties it to a bundle.

mod forms;
mod load;
mod select;

pub(crate) use forms::Forms;
pub use load::{Evidence, EvidenceError, tensor};
pub use metalens_models::{EvidenceSettings as Settings, Sources};
pub use select::{Concept, select};
