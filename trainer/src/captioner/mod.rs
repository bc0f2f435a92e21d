//! The trainable captioner: projection, attention, recurrent decoder and head, in candle.
//!
//! ```text
//! v = LayerNorm(W_v trunk)                  [pictures, 49, token]   visual tokens
//! k = W_k v                                 [pictures, 49, key]     their attention keys
//! h_0 = tanh(W_0 mean(v))                   [rows, state]
//! a_t = softmax(w . tanh(k + W_q h_{t-1}))  [rows, 49]              additive attention (Bahdanau et al. 2015, A.1.2)
//! c_t = sum_i a_t,i v_i                     [rows, token]
//! h_t = GRU([e_t; c_t], h_{t-1})            [rows, state]           (Cho et al. 2014; gates as in cuDNN)
//! z_t = [h_t; c_t; e_t]                     [rows, feature]
//! logits_t = W_2 silu(W_1 z_t + b_1) + b_2  [rows, vocabulary]
//! ```
//!
//! Where it knows concepts, words that a picture shows and how sure that is, these are tokens beside the visual ones, and those that
//! were not said yet are pointed at:
//!
//! ```text
//! c_k = LayerNorm(W_c [e(word_k); confidence_k] + b_c)      [concepts, token]   attended to as the v_i are, by keys W_k c_k
//! (a, b) = W_p z_t + b_p                                    [rows, 2]
//! logits_t(word_k) += softplus(a + b confidence_k)          for each k that was not said
//! ```
//!
//! The same equations stand in the exported graphs (`export`); a test compares the two.

mod batch;
mod concepts;
mod forward;
pub mod ops;
mod parameters;

pub use batch::{Batch, PackedCaptions};
pub use concepts::{ConceptRows, EncodedConcepts};
pub use forward::{Captioner, Dropout, Encoded, Seen, Step};
pub use parameters::{NO_PICTURE, Parameters, Sizes};

/// LayerNorm's epsilon, here and in the exported graph.
pub const LAYER_NORM_EPSILON: f64 = 1e-5;
