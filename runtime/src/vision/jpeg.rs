//! Decodes JPEG pictures.

use std::borrow::Cow;

use image::RgbImage;
use image::metadata::Orientation;
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;

use super::decode::{DecodeError, Picture, check_size, pixels, reason, upright};

/// Strictly: left to itself, the decoder fills what is missing or damaged with grey. What is missing of a picture of several scans,
/// as progressive ones are, is not noticed where its end is there.
pub(super) fn decode(bytes: &[u8]) -> Result<Picture, DecodeError> {
    let scan = match Scan::first(bytes) {
        Err(place) if place >= bytes.len() => return Err(DecodeError::Truncated("JPEG")),
        // What is wrong, or odd, the decoder says better.
        scan => scan.ok(),
    };
    // What stands before it, such as a thumbnail, has an end of its own.
    if !ends(&bytes[scan.map_or(0, |scan| scan.data)..]) {
        return Err(DecodeError::Truncated("JPEG"));
    }
    let only = scan.filter(|scan| scan.frame.is_sequential && scan.components == scan.frame.components);
    let bytes = match &only {
        Some(scan) => {
            let (width, height) = scan.frame.size;
            // Two copies of the pixels, where they are turned.
            check_size(width, height, 6 * pixels(width, height))?;
            Cow::Owned(scan.with_ones(bytes)?)
        }
        None => Cow::Borrowed(bytes),
    };
    let options = DecoderOptions::new_safe()
        .set_strict_mode(true)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(&bytes), options);
    let error = |error: zune_jpeg::errors::DecodeErrors| reason("JPEG", &error.to_string());
    decoder.decode_headers().map_err(error)?;
    let info = decoder.info().ok_or_else(|| reason("JPEG", "it has no size"))?;
    let (width, height) = (u32::from(info.width), u32::from(info.height));
    if only.is_none() {
        // Coefficients of two bytes stand beside the pixels until the last scan.
        check_size(width, height, (3 + 2 * u64::from(info.components)) * pixels(width, height))?;
    }
    let orientation = decoder.exif().and_then(|exif| Orientation::from_exif_chunk(exif));
    let data = decoder.decode().map_err(error)?;
    let rgb = RgbImage::from_raw(width, height, data)
        .ok_or_else(|| reason("JPEG", "its pixels are not as many as its size says"))?;
    Ok(upright(rgb, orientation.unwrap_or(Orientation::NoTransforms)))
}

const START_OF_SCAN: u8 = 0xda;
const END_OF_IMAGE: u8 = 0xd9;
const RESTART_INTERVAL: u8 = 0xdd;

/// Whether the last marker is there: inside a scan 0xff is always followed by 0x00 or a restart marker.
fn ends(bytes: &[u8]) -> bool {
    bytes.windows(2).any(|pair| pair == [0xff, END_OF_IMAGE])
}

/// What is known of a picture before its first scan.
#[derive(Clone, Copy)]
struct Frame {
    /// Whether one scan has all of a component.
    is_sequential: bool,
    components: u8,
    /// Width and height in pixels.
    size: (u32, u32),
    /// The blocks that are coded one after the other in a scan of all components.
    units: usize,
}

impl Frame {
    /// Reads a start-of-frame segment behind its marker (ITU-T T.81, B.2.2 and A.2).
    fn read(marker: u8, segment: &[u8]) -> Option<Self> {
        let &[_, _, _, high, low, wide, narrow, components, ref rest @ ..] = segment else { return None };
        let (height, width) = (u16::from_be_bytes([high, low]), u16::from_be_bytes([wide, narrow]));
        let factors = rest.get(..3 * usize::from(components))?.chunks_exact(3).map(|component| component[1]);
        let (mut across, mut down) = (1, 1);
        // A scan of one component goes by its own blocks.
        for factor in factors.filter(|_| components > 1) {
            (across, down) = (across.max(factor >> 4), down.max(factor & 15));
        }
        let count = |pixels: u16, blocks: u8| usize::from(pixels).div_ceil(8 * usize::from(blocks));
        let units = count(width, across) * count(height, down);
        let size = (u32::from(width), u32::from(height));
        Some(Self { is_sequential: marker != 0xc2, components, size, units })
    }
}

/// The first scan of a JPEG.
#[derive(Clone, Copy)]
struct Scan {
    /// Where its data begin.
    data: usize,
    /// Components of the picture that it holds.
    components: u8,
    /// How many units stand between restart markers; 0 where there are none.
    interval: usize,
    frame: Frame,
}

impl Scan {
    /// Finds it; or tells where the segments end without one.
    fn first(bytes: &[u8]) -> Result<Self, usize> {
        let (mut place, mut frame, mut interval) = (2, None, 0);
        while let Some(&[0xff, marker, high, low]) = bytes.get(place..place + 4) {
            let segment = &bytes[place + 2..];
            match marker {
                START_OF_SCAN => {
                    let components = *segment.get(2).ok_or(bytes.len())?;
                    let data = place + 2 + usize::from(u16::from_be_bytes([high, low]));
                    if data > bytes.len() {
                        return Err(data);
                    }
                    return Ok(Self { data, components, interval, frame: frame.ok_or(place)? });
                }
                // Baseline, extended sequential, progressive; others are not decoded.
                0xc0..=0xc2 => frame = Frame::read(marker, segment),
                RESTART_INTERVAL => {
                    let number = segment.get(2..4).ok_or(bytes.len())?;
                    interval = usize::from(u16::from_be_bytes([number[0], number[1]]));
                }
                _ => {}
            }
            // Any number of 0xff may stand before a marker.
            place += if marker == 0xff { 1 } else { 2 + usize::from(u16::from_be_bytes([high, low])) };
        }
        Err(place)
    }

    /// The file with bits of one wherever the data of the scan, the only one, end: before restart markers and behind it.
    ///
    /// Where a marker stands too early the decoder takes every bit that is missing for a zero, and finds no fault with a picture
    /// whose lower half is lost. No code of a JPEG has ones alone (ITU-T T.81, annex C), so that it stops there. A whole picture
    /// does not read on.
    ///
    /// # Errors
    /// When the scan does not end, or has not the restart markers that it is to have.
    fn with_ones(&self, bytes: &[u8]) -> Result<Vec<u8>, DecodeError> {
        /// Eight ones as they are written.
        const ONES: [u8; 2] = [0xff, 0x00];
        /// More than the 64 bits that the decoder holds at a time.
        const BYTES: usize = 16;

        let missing = || reason("JPEG", "a part of it is missing");
        // One more than stand between intervals: some encoders write one behind the last as well.
        let most = if self.interval > 0 { self.frame.units.div_ceil(self.interval) } else { 0 };
        let mut filled = Vec::with_capacity(bytes.len() + ONES.len() * BYTES);
        let (mut copied, mut place, mut restarts) = (0, self.data, 0);
        loop {
            let pair =
                bytes[place..].windows(2).position(|pair| pair[0] == 0xff && !matches!(pair[1], 0 | 0xff));
            place += pair.ok_or(DecodeError::Truncated("JPEG"))?;
            filled.extend_from_slice(&bytes[copied..place]);
            filled.extend(ONES.iter().cycle().take(ONES.len() * BYTES));
            copied = place;
            match bytes[place + 1] {
                // Their numbers go round.
                marker @ 0xd0..=0xd7 if usize::from(marker & 7) == restarts % 8 && restarts < most => {
                    restarts += 1
                }
                0xd0..=0xd7 => return Err(missing()),
                _ => break,
            }
            place += 2;
        }
        if restarts + 1 < most {
            return Err(missing());
        }
        filled.extend_from_slice(&bytes[copied..]);
        Ok(filled)
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

    /// Whether what is left of a picture is refused, where a part of it is lost, as of a camera's frame on its way, and its end is
    /// there.
    fn is_refused_in_part(whole: &[u8]) -> bool {
        let scan = Scan::first(whole).unwrap().data;
        let data = whole.len() - 2 - scan;
        let lacks = |from: usize, to: usize| decode(&[&whole[..from], &whole[to..]].concat()).is_err();
        decode(whole).is_ok()
            && (1..8).all(|part| {
                let from = scan + data * part / 8;
                lacks(from, whole.len() - 2) && lacks(from, (from + data / 10).min(whole.len() - 2))
            })
    }

    #[test]
    fn a_picture_that_lacks_a_part_is_an_error_even_when_its_end_is_there() {
        assert!(is_refused_in_part(&encode(drawing())));
        assert!(is_refused_in_part(include_bytes!("../../../tests/pictures/camera.jpg")));
    }

    /// `tests/pictures/restarts.jpg`, made with Pillow 13 of `tests/pictures/hopper.jpg`: `image.resize((96, 96)).save(...,
    /// quality=60, restart_marker_rows=1)`.
    #[test]
    fn restart_markers_hide_nothing() {
        let whole = include_bytes!("../../tests/pictures/restarts.jpg");
        assert!(is_refused_in_part(whole));
        // Half of one interval, and all of one.
        let is_restart = |pair: &[u8]| matches!(pair, [0xff, 0xd0..=0xd7]);
        let next = |from: usize| from + whole[from..].windows(2).position(is_restart).unwrap();
        let first = next(Scan::first(whole).unwrap().data);
        let second = next(first + 2);
        for from in [first, (first + second) / 2] {
            assert!(error(&[&whole[..from], &whole[second..]].concat()).contains("damaged"));
        }
    }

    /// `tests/pictures/progressive.jpg`, made in the same way with `progressive=True`.
    #[test]
    fn a_progressive_picture_is_read_and_one_without_its_end_is_not() {
        let whole = include_bytes!("../../tests/pictures/progressive.jpg");
        let (progressive, sequential) =
            (decode(whole).unwrap(), decode(include_bytes!("../../tests/pictures/restarts.jpg")).unwrap());
        assert_eq!(progressive, sequential);
        assert!(error(&whole[..whole.len() / 2]).contains("ends early"));
    }

    #[test]
    fn what_is_odd_is_left_to_the_decoder() {
        let mut jpeg = encode(drawing());
        let frame = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
        // A byte between segments, which libjpeg skips as well.
        let padded = [&jpeg[..frame], &[0], &jpeg[frame..]].concat();
        assert_eq!(decode(&padded).unwrap(), decode(&jpeg).unwrap());
        // A restart marker where there are to be none.
        let end = jpeg.len() - 2;
        assert!(error(&[&jpeg[..end], &[0xff, 0xd0], &jpeg[end..]].concat()).contains("missing"));
        // Lossless coding.
        jpeg[frame + 1] = 0xc3;
        assert!(error(&jpeg).contains("damaged"), "{}", error(&jpeg));
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
