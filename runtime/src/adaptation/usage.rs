//! How the captions of a support set use its new words.
//!
//! A word in one caption of many is hardly what the pictures were taken to teach: a slip of the pen, or a thing that was there by
//! chance. And of the new words of one caption, as in "this is my gripper" or "the gripper is jammed", the one that ends the first
//! group of them is most likely the thing, and the others say something of it:
//!
//! ```text
//! frequency = mean over the support's pictures of min(1, 2 share of the picture's captions that have the word)
//! rank      = mean over its captions of the new words in earlier groups and of those that follow it in its own
//! ```

/// How captions use a new word.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Usage {
    /// Places in the support of the pictures whose captions have it, in their order.
    pub pictures: Vec<usize>,
    /// From 0, in no caption, to 1, where at least half of every picture's captions have it.
    pub frequency: f64,
    /// 0 for what the captions are about.
    pub rank: f64,
}

/// The usage of each of the `new_words` words from `known` on in captions, each with the place of its picture among `count`.
#[must_use]
pub fn usages<'a>(
    captions: impl Iterator<Item = (&'a [usize], usize)>,
    known: usize,
    new_words: usize,
    count: usize,
) -> Vec<Usage> {
    let captions: Vec<(&[usize], usize)> = captions.collect();
    let mut of_picture = vec![0.0; count];
    captions.iter().for_each(|&(_, picture)| of_picture[picture] += 1.0);
    let of = |word: usize| {
        let mut said = vec![0.0; count];
        let (mut ranks, mut total) = (0, 0.0);
        for &(caption, picture) in &captions {
            if let Some(place) = caption.iter().position(|&other| other == known + word) {
                said[picture] += 1.0;
                total += 1.0;
                ranks += rank(caption, place, known);
            }
        }
        let shares = said.iter().zip(&of_picture).filter(|(said, _)| **said > 0.0);
        let frequency = shares.map(|(said, all)| f64::min(1.0, 2.0 * said / all)).sum::<f64>();
        Usage {
            pictures: (0..count).filter(|&picture| said[picture] > 0.0).collect(),
            frequency: frequency / count.max(1) as f64,
            rank: if total > 0.0 { ranks as f64 / total } else { 0.0 },
        }
    };
    (0..new_words).map(of).collect()
}

/// The new words in earlier groups than that at `place`, and those that follow it in its own.
fn rank(caption: &[usize], place: usize, known: usize) -> usize {
    let is_new = |word: &&usize| **word >= known;
    let own = caption[..place].iter().rev().take_while(is_new).count();
    let earlier = caption[..place - own].iter().filter(is_new).count();
    earlier + caption[place + 1..].iter().take_while(is_new).count()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const KNOWN: usize = 10;
    const GRIPPER: usize = 10;
    const JAMMED: usize = 11;
    const MY: usize = 12;

    fn used(captions: &[(usize, &[usize])], count: usize) -> Vec<Usage> {
        usages(captions.iter().map(|&(picture, caption)| (caption, picture)), KNOWN, 3, count)
    }

    #[test]
    fn the_last_word_of_the_first_group_is_what_captions_are_about() {
        // "my gripper is jammed", "the gripper is jammed".
        let [gripper, jammed, my] =
            used(&[(0, &[MY, GRIPPER, 3, JAMMED]), (1, &[4, GRIPPER, 3, JAMMED])], 2).try_into().unwrap();
        assert_eq!([gripper.rank, jammed.rank, my.rank], [0.0, 1.5, 1.0]);
        assert_eq!([gripper.frequency, jammed.frequency, my.frequency], [1.0, 1.0, 0.5]);
        assert_eq!(my.pictures, [0]);
    }

    #[test]
    fn a_word_that_half_of_a_pictures_captions_have_counts_there_in_full() {
        let [gripper, jammed, my] = used(
            &[(0, &[GRIPPER]), (0, &[5, GRIPPER]), (0, &[5]), (0, &[JAMMED]), (1, &[GRIPPER, 6]), (3, &[5])],
            4,
        )
        .try_into()
        .unwrap();
        assert_eq!(gripper, Usage { pictures: vec![0, 1], frequency: 0.5, rank: 0.0 });
        assert_eq!((jammed.pictures, jammed.frequency), (vec![0], 0.125));
        assert_eq!(my, Usage::default());
    }
}
