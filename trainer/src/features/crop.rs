//! Parts of pictures, so that a captioner sees each picture in more than one way.

use image::imageops;
use metalens::vision::Picture;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// The least share of a picture's width, and of its height, that a crop keeps.
const LEAST: f64 = 0.75;

/// A part of a picture, as chance has it that depends on the picture's name and the crop's number alone.
pub fn crop(picture: &Picture, name: &str, number: usize) -> Picture {
    let mut rng = ChaCha8Rng::from_seed(Sha256::digest(format!("{name} {number}")).into());
    let mut span = |whole: u32| {
        let kept = ((f64::from(whole) * rng.random_range(LEAST..1.0)).round() as u32).clamp(1, whole);
        (rng.random_range(0..=whole - kept), kept)
    };
    let ((x, width), (y, height)) = (span(picture.width()), span(picture.height()));
    imageops::crop_imm(picture, x, y, width, height).to_image()
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    #[test]
    fn a_crop_is_a_large_part_of_the_picture_and_the_same_each_time() {
        let picture = Picture::from_fn(80, 40, |x, y| Rgb([x as u8, y as u8, 0]));
        let crops: Vec<Picture> = (0..20).map(|number| crop(&picture, "a.jpg", number)).collect();
        for part in &crops {
            assert!((60..=80).contains(&part.width()) && (30..=40).contains(&part.height()));
            let [x, y, _] = part.get_pixel(0, 0).0.map(u32::from);
            assert_eq!(part, &imageops::crop_imm(&picture, x, y, part.width(), part.height()).to_image());
        }
        assert!(crops.iter().any(|part| part.dimensions() != crops[0].dimensions()));
        assert_eq!(crop(&picture, "a.jpg", 3), crops[3]);
        assert_ne!(crop(&picture, "b.jpg", 3), crops[3]);
        assert_eq!(crop(&Picture::new(1, 1), "a.jpg", 0).dimensions(), (1, 1));
    }
}
