//! From a decoded picture to the encoder's input.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use metalens_models::Preprocessing;

use super::Picture;

/// Resizes and normalises pictures into one buffer, over and over.
pub struct Preprocessor {
    settings: Preprocessing,
    resizer: Resizer,
    resized: Image<'static>,
    pixels: Vec<f32>,
}

impl Preprocessor {
    /// A preprocessor for the encoder of a bundle.
    #[must_use]
    pub fn new(settings: Preprocessing) -> Self {
        let (width, height) = (settings.width, settings.height);
        Self {
            resizer: Resizer::new(),
            resized: Image::new(width as u32, height as u32, PixelType::U8x3),
            pixels: vec![0.0; 3 * width * height],
            settings,
        }
    }

    /// The picture as f32 `[3, height, width]`: resized whatever its proportions (bilinear, over the whole of each
    /// output pixel's area), then (value - mean) / std.
    pub fn run(&mut self, picture: &Picture) -> &[f32] {
        let (width, height) = (self.settings.width, self.settings.height);
        let same = picture.dimensions() == (width as u32, height as u32);
        if !same {
            let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
            ImageRef::new(picture.width(), picture.height(), picture.as_raw(), PixelType::U8x3)
                .map_err(|error| error.to_string())
                .and_then(|source| {
                    self.resizer
                        .resize(&source, &mut self.resized, &options)
                        .map_err(|error| error.to_string())
                })
                .expect("a picture holds width x height x 3 bytes, and both images are of 8-bit RGB");
        }
        let bytes = if same { picture.as_raw() } else { self.resized.buffer() };
        let Preprocessing { mean, std, .. } = self.settings;
        for (channel, plane) in self.pixels.chunks_exact_mut(width * height).enumerate() {
            let scale = 1.0 / std[channel];
            for (value, rgb) in plane.iter_mut().zip(bytes.chunks_exact(3)) {
                *value = (f32::from(rgb[channel]) - mean[channel]) * scale;
            }
        }
        &self.pixels
    }

    /// What [`Self::run`] made last.
    #[must_use]
    pub fn pixels(&self) -> &[f32] {
        &self.pixels
    }

    /// The same, mirrored left to right.
    #[must_use]
    pub fn mirrored(&self) -> Vec<f32> {
        self.pixels.chunks_exact(self.settings.width).flat_map(|row| row.iter().rev().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage};

    use super::*;

    fn settings() -> Preprocessing {
        Preprocessing { width: 4, height: 2, mean: [127.0, 100.0, 0.0], std: [128.0, 50.0, 255.0] }
    }

    #[test]
    fn channels_are_planes_of_normalised_values() {
        let picture = RgbImage::from_fn(4, 2, |x, y| Rgb([x as u8, 100 + y as u8, 255]));
        let mut preprocessor = Preprocessor::new(settings());
        let pixels = preprocessor.run(&picture);
        // Row 1, column 3: (3 - 127) / 128, (101 - 100) / 50, 255 / 255.
        assert_eq!([pixels[7], pixels[15], pixels[23]], [-124.0 / 128.0, 0.02, 1.0]);
        assert_eq!(preprocessor.mirrored()[4], -124.0 / 128.0);
    }

    #[test]
    fn a_larger_picture_is_squashed_to_the_mean_of_each_area() {
        // Left half 0, right half 200, 80x20: away from the edge, columns 0 and 3 of the 4 see one value each.
        let picture = RgbImage::from_fn(80, 20, |x, _| if x < 40 { Rgb([0; 3]) } else { Rgb([200; 3]) });
        let mut preprocessor = Preprocessor::new(settings());
        let pixels = preprocessor.run(&picture);
        assert_eq!(pixels[16], 0.0);
        assert!((pixels[19] - 200.0 / 255.0).abs() < 1e-6);
    }
}
