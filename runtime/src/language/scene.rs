//! What there is to be said of a picture.

use crate::evidence::Concept;
use crate::vision::Tokens;

/// What the decoder attends to: visual tokens, and the concepts beside them.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// What the encoder made of the picture.
    pub seen: Tokens<'a>,
    /// What the picture shows, of most confidence first; none for a bundle without concepts.
    pub concepts: &'a [Concept],
}
