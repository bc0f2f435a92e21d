//! From a decoded picture to the detector's input.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};

use super::Thing;
use crate::vision::Picture;

/// What stands beside the picture.
const GREY: f32 = 114.0;

/// Puts pictures into one buffer in their proportions, over and over.
pub(super) struct Letterbox {
    width: usize,
    height: usize,
    resizer: Resizer,
    pixels: Vec<f32>,
    /// Of the last picture: its size in pixels.
    picture: [u32; 2],
    /// What it was multiplied by.
    scale: f32,
}

impl Letterbox {
    pub(super) fn new(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            resizer: Resizer::new(),
            pixels: vec![GREY; 3 * width * height],
            picture: [0; 2],
            scale: 1.0,
        }
    }

    /// The picture as f32 `[3, height, width]`, blue, green, red, 0 … 255: as large as fits (bilinear, over the whole of each output
    /// pixel's area), at the upper left.
    pub(super) fn run(&mut self, picture: &Picture) -> &[f32] {
        let size = picture.dimensions();
        let scale = (self.width as f32 / size.0 as f32).min(self.height as f32 / size.1 as f32);
        let fitted = |side: u32, most: usize| ((side as f32 * scale) as u32).clamp(1, most as u32);
        let (width, height) = (fitted(size.0, self.width), fitted(size.1, self.height));
        if size == (width, height) {
            self.place(picture.as_raw(), width as usize);
        } else {
            let mut resized = Image::new(width, height, PixelType::U8x3);
            let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
            ImageRef::new(size.0, size.1, picture.as_raw(), PixelType::U8x3)
                .map_err(|error| error.to_string())
                .and_then(|source| {
                    self.resizer.resize(&source, &mut resized, &options).map_err(|error| error.to_string())
                })
                .expect("a picture holds width x height x 3 bytes, and both images are of 8-bit RGB");
            self.place(resized.buffer(), width as usize);
        }
        (self.picture, self.scale) = ([size.0, size.1], scale);
        &self.pixels
    }

    fn place(&mut self, bytes: &[u8], width: usize) {
        for (plane, values) in self.pixels.chunks_exact_mut(self.width * self.height).enumerate() {
            let colour = 2 - plane;
            let mut rows = bytes.chunks_exact(3 * width);
            for line in values.chunks_exact_mut(self.width) {
                let (inside, beside) = line.split_at_mut(rows.len().min(1) * width);
                let row = rows.next().unwrap_or_default();
                for (value, rgb) in inside.iter_mut().zip(row.chunks_exact(3)) {
                    *value = f32::from(rgb[colour]);
                }
                beside.fill(GREY);
            }
        }
    }

    /// What was found in the input, as shares of the last picture's width and height and cut at its edges; nothing where it lies
    /// beside.
    pub(super) fn in_picture(&self, thing: Thing) -> Option<Thing> {
        let [width, height] = self.picture.map(|side| side as f32 * self.scale);
        let share = |at: f32, side: f32| (at / side).clamp(0.0, 1.0);
        let (left, right) = (share(thing.x, width), share(thing.x + thing.width, width));
        let (top, bottom) = (share(thing.y, height), share(thing.y + thing.height, height));
        let inside = Thing { x: left, y: top, width: right - left, height: bottom - top, ..thing };
        (inside.width > 0.0 && inside.height > 0.0).then_some(inside)
    }
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;

    #[test]
    fn a_picture_keeps_its_proportions_at_the_upper_left_and_is_blue_first() {
        let mut letterbox = Letterbox::new(8, 8);
        // A picture that fills all comes first: nothing of it may be left.
        letterbox.run(&RgbImage::from_pixel(8, 8, Rgb([9, 9, 9])));
        let pixels = letterbox.run(&RgbImage::from_pixel(32, 16, Rgb([10, 20, 30]))).to_vec();
        for (plane, colour) in pixels.chunks_exact(64).zip([30.0, 20.0, 10.0]) {
            assert!(plane[..32].iter().all(|&value| value == colour), "{plane:?}");
            assert!(plane[32..].iter().all(|&value| value == GREY), "{plane:?}");
        }
        let upright = letterbox.run(&RgbImage::from_pixel(2, 4, Rgb([10, 20, 30])));
        assert_eq!(upright[..8], [30.0, 30.0, 30.0, 30.0, GREY, GREY, GREY, GREY]);
        assert_eq!(upright[56..64], upright[..8]);
    }

    #[test]
    fn boxes_are_told_as_shares_of_the_picture() {
        let mut letterbox = Letterbox::new(8, 8);
        letterbox.run(&RgbImage::new(32, 16));
        let thing = |x, y, width, height| Thing { class: 3, score: 0.5, x, y, width, height };
        // The scale is 1/4; the picture ends in row 4 of the input.
        assert_eq!(letterbox.in_picture(thing(1.0, 1.0, 2.0, 2.0)), Some(thing(0.125, 0.25, 0.25, 0.5)));
        assert_eq!(letterbox.in_picture(thing(-1.0, 3.0, 2.0, 5.0)), Some(thing(0.0, 0.75, 0.125, 0.25)));
        assert_eq!(letterbox.in_picture(thing(1.0, 5.0, 2.0, 2.0)), None);
    }
}
