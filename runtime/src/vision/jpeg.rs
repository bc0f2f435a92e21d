//! Decodes JPEG pictures.

use std::borrow::Cow;

use image::RgbImage;
use image::metadata::Orientation;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::decode::{DecodeError, Picture, check_size, pixels, reason, upright};

/// Strictly: left to itself, the decoder fills what is missing or damaged with grey.
pub(super) fn decode(bytes: &[u8]) -> Result<Picture, DecodeError> {
    let scan = Scan::first(bytes).map_err(|place| {
        // What is wrong with segments, the decoder would say no better.
        if place >= bytes.len() { DecodeError::Truncated("JPEG") } else { reason("JPEG", "it has no scan") }
    })?;
    let bytes = scan.with_ones_behind_it(bytes)?;
    let options = DecoderOptions::new_safe()
        .set_strict_mode(true)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&bytes), options);
    let error = |error: zune_jpeg::errors::DecodeErrors| reason("JPEG", &error.to_string());
    decoder.decode_headers().map_err(error)?;
    let (width, height) = decoder.dimensions().unwrap_or_default();
    let (width, height) = (width as u32, height as u32);
    // Two copies of the pixels where they are turned; or, where several scans make them, coefficients of two bytes beside them.
    let bytes_a_pixel = if scan.is_only { 6 } else { 3 + 2 * u64::from(scan.components) };
    check_size(width, height, bytes_a_pixel * pixels(width, height))?;
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    let data = decoder.decode().map_err(error)?;
    let rgb = RgbImage::from_raw(width, height, data)
        .ok_or_else(|| reason("JPEG", "its pixels are not as many as its size says"))?;
    Ok(upright(rgb, orientation.unwrap_or(Orientation::NoTransforms)))
}

/// The first scan of a JPEG.
struct Scan {
    /// Where its segment begins.
    place: usize,
    /// Components of the picture.
    components: u8,
    /// Whether it holds all of the picture: neither further components nor further bits of these are in other scans.
    is_only: bool,
}

impl Scan {
    /// Finds it; or tells where the segments end without one.
    fn first(bytes: &[u8]) -> Result<Self, usize> {
        const START_OF_SCAN: u8 = 0xda;
        let (mut place, mut frame) = (2, None);
        while let Some(&[0xff, marker, high, low]) = bytes.get(place..place + 4) {
            match marker {
                START_OF_SCAN => {
                    let (sequential, components) = frame.ok_or(place)?;
                    let is_only = sequential && bytes.get(place + 4) == Some(&components);
                    return Ok(Self { place, components, is_only });
                }
                // Start of frame: baseline, extended sequential, progressive; others are not decoded.
                0xc0..=0xc2 => {
                    frame = bytes.get(place + 9).map(|&components| (marker != 0xc2, components));
                }
                _ => {}
            }
            // Any number of 0xff may stand before a marker.
            place += if marker == 0xff { 1 } else { 2 + usize::from(u16::from_be_bytes([high, low])) };
        }
        Err(place)
    }

    /// The file with bits of one between the scan and its end.
    ///
    /// At the end of the image the decoder takes every bit that is missing for a zero, and finds no fault with a picture whose lower
    /// half is lost. No code of a JPEG has ones alone (ITU-T T.81, annex C), so that it stops there. A whole picture does not read on.
    ///
    /// # Errors
    /// When no end follows.
    fn with_ones_behind_it<'a>(&self, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, DecodeError> {
        /// Inside a scan 0xff is always followed by 0x00 or a restart marker, so that these two bytes cannot be picture data; before
        /// it (in a thumbnail) they do not count.
        const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];
        /// Eight ones as they are written: more than the 64 bits that the decoder holds at a time.
        const ONES: [u8; 2] = [0xff, 0x00];
        const BYTES: usize = 16;

        let end = bytes[self.place..].windows(2).position(|pair| pair == END_OF_IMAGE);
        let (scan, rest) = bytes.split_at(self.place + end.ok_or(DecodeError::Truncated("JPEG"))?);
        if !self.is_only {
            return Ok(Cow::Borrowed(bytes));
        }
        Ok(Cow::Owned([scan, &ONES.repeat(BYTES), rest].concat()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Cursor;

    use image::{DynamicImage, GrayImage, ImageFormat, Luma, Rgb};

    use super::super::decode;
    use super::*;

    fn encode(picture: impl Into<DynamicImage>) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.into().write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
        bytes.into_inner()
    }

    fn drawing() -> RgbImage {
        RgbImage::from_fn(40, 30, |x, y| Rgb([(x * 6) as u8, (y * 8) as u8, 90]))
    }

    fn error(bytes: &[u8]) -> String {
        decode(bytes).map(|picture| picture.dimensions()).unwrap_err().to_string()
    }

    /// `tests/pictures/cmyk.jpg`, made with Pillow 13 as `Image.new("CMYK", (32, 24), (255, 0, 0, 0)).save(...)`: pure cyan.
    #[test]
    fn a_cmyk_jpeg_becomes_rgb() {
        let picture = decode(include_bytes!("../../tests/pictures/cmyk.jpg")).unwrap();
        let [red, green, blue] = picture.get_pixel(10, 10).0;
        assert!(red < 30 && green > 200 && blue > 200, "{:?}", [red, green, blue]);
    }

    /// `tests/pictures/sideways.jpg`, made with Pillow 13: 48x32, left half black, right half white, EXIF orientation 6
    /// (turn right to see it upright).
    #[test]
    fn a_picture_is_turned_upright_by_its_exif_orientation() {
        let picture = decode(include_bytes!("../../tests/pictures/sideways.jpg")).unwrap();
        assert_eq!(picture.dimensions(), (32, 48));
        assert!(picture.get_pixel(16, 5).0[0] < 50 && picture.get_pixel(16, 43).0[0] > 200);
    }

    #[test]
    fn a_grey_jpeg_becomes_rgb() {
        let grey = encode(GrayImage::from_pixel(20, 20, Luma([77])));
        assert_eq!(decode(&grey).unwrap().get_pixel(3, 3).0, [77; 3]);
    }

    /// As a camera that lost a part of its frame sends it.
    #[test]
    fn a_picture_that_lacks_a_part_is_an_error_even_when_its_end_is_there() {
        for whole in [encode(drawing()), include_bytes!("../../../tests/pictures/camera.jpg").to_vec()] {
            assert!(decode(&whole).is_ok());
            let scan = Scan::first(&whole).unwrap().place + 14;
            let data = whole.len() - 2 - scan;
            for part in 1..8 {
                let (cut, end) = (scan + data * part / 8, &whole[whole.len() - 2..]);
                assert!(error(&[&whole[..cut], end].concat()).contains("damaged"));
                let after = &whole[(cut + data / 10).min(whole.len() - 2)..];
                assert!(error(&[&whole[..cut], after].concat()).contains("damaged"));
            }
        }
    }

    /// A camera module's 64 megapixels, of which this file holds the first few: baseline is decoded row by row, and what is
    /// progressive keeps its coefficients until the last scan.
    #[test]
    fn a_picture_of_64_megapixels_fits_unless_it_is_progressive() {
        const BASELINE: [u8; 2] = [0xff, 0xc0];
        let mut jpeg = encode(drawing());
        let frame = jpeg.windows(2).position(|pair| pair == BASELINE).unwrap();
        let (height, width) = (6944_u16.to_be_bytes(), 9152_u16.to_be_bytes());
        jpeg[frame + 5..frame + 9].copy_from_slice(&[height, width].concat());
        assert!(error(&jpeg).contains("damaged"), "{}", error(&jpeg));
        jpeg[frame + 1] = 0xc2;
        assert!(error(&jpeg).contains("9152x6944 pixels; that is too large"), "{}", error(&jpeg));
    }
}
