//! Evidence: which words people say of a picture, from what its trunk sees (Fang et al. 2015; Yao et al. 2017).
//!
//! ```text
//! phi = [mean_i f_i; max_i f_i] R - m           [phi]    f [positions, channels] is the trunk's map: see [`Phi`]
//! e   = E phi + b_E                             [rows]   log-odds, one row a word: see [`fit`]
//! ```
//!
//! E is trained on the share of a picture's captions that say a word. Where the decoder then learns from it, it is
//! cross-fitted: evidence that has seen a picture is too sure of it. Words that classes of ImageNet and things of the detector show
//! stand in [`words`].

mod file;
mod fit;
mod phi;
mod shares;
mod sources;
pub mod words;

pub use file::{Evidence, Examples};
pub use fit::{Fitting, Linear, fit};
pub use phi::{Phi, pool};
pub use shares::{content_words, shares};
pub use sources::sources;
