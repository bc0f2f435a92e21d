//! Parts of pictures in other light, so that a captioner sees each picture in more than one way.

use image::imageops;
use metalens::vision::Picture;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

/// The least share of a picture's width, and of its height, that a crop keeps.
const LEAST: f64 = 0.75;
/// The most that brightness and contrast are changed by, either way.
const LIGHT: f32 = 0.2;

/// A part of a picture, as chance has it that depends on the picture's name and the crop's number alone: brighter or darker,
/// with more contrast or less.
pub fn crop(picture: &Picture, name: &str, number: usize) -> Picture {
    let mut rng = ChaCha8Rng::from_seed(Sha256::digest(format!("{name} {number}")).into());
    let part = part(picture, &mut rng);
    in_other_light(part, &mut rng)
}

fn part(picture: &Picture, rng: &mut ChaCha8Rng) -> Picture {
    let mut span = |whole: u32| {
        let kept = ((f64::from(whole) * rng.random_range(LEAST..1.0)).round() as u32).clamp(1, whole);
        (rng.random_range(0..=whole - kept), kept)
    };
    let ((x, width), (y, height)) = (span(picture.width()), span(picture.height()));
    imageops::crop_imm(picture, x, y, width, height).to_image()
}

fn in_other_light(mut part: Picture, rng: &mut ChaCha8Rng) -> Picture {
    let brightness = 1.0 + rng.random_range(-LIGHT..=LIGHT);
    let contrast = 1.0 + rng.random_range(-LIGHT..=LIGHT);
    let values = part.as_raw().iter().map(|&value| u64::from(value)).sum::<u64>();
    let mean = values as f32 / part.as_raw().len() as f32;
    for value in part.iter_mut() {
        // The conversion cuts to 0 ... 255.
        *value = (((f32::from(*value) - mean) * contrast + mean) * brightness).round() as u8;
    }
    part
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
            // Columns grow brighter to the right and rows downwards, in every light.
            let (first, last) =
                (part.get_pixel(0, 0).0, part.get_pixel(part.width() - 1, part.height() - 1).0);
            assert!(first[0] < last[0] && first[1] < last[1]);
        }
        assert!(crops.iter().any(|part| part.dimensions() != crops[0].dimensions()));
        assert_eq!(crop(&picture, "a.jpg", 3), crops[3]);
        assert_ne!(crop(&picture, "b.jpg", 3), crops[3]);
        assert_eq!(crop(&Picture::new(1, 1), "a.jpg", 0).dimensions(), (1, 1));
    }

    #[test]
    fn a_part_is_what_stands_there() {
        let picture = Picture::from_fn(80, 40, |x, y| Rgb([x as u8, y as u8, 0]));
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..20 {
            let part = part(&picture, &mut rng);
            let [x, y, _] = part.get_pixel(0, 0).0.map(u32::from);
            assert_eq!(part, imageops::crop_imm(&picture, x, y, part.width(), part.height()).to_image());
        }
    }
}
