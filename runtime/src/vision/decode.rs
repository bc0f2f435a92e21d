//! Decodes JPEG, PNG and WebP pictures.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{
    DynamicImage, GenericImageView, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits, Rgb,
    RgbImage, Rgba,
};

use super::jpeg;

/// An upright picture of 8-bit red, green and blue.
pub type Picture = RgbImage;

/// Pictures with a side of fewer pixels show nothing that could be named.
pub const MIN_SIDE: u32 = 16;

/// Memory that decoding may take: a JPEG of 89 megapixels fits, and one of 59 that is progressive.
const MAX_ALLOCATION: u64 = 512 << 20;

/// Why bytes did not become a picture.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// There are no bytes.
    #[error("the file is empty")]
    Empty,
    /// The first bytes are of no format that is read.
    #[error("not a JPEG, PNG or WebP picture")]
    UnknownFormat,
    /// The picture's data stop before its end.
    #[error("the {0} picture ends early; copy the file again")]
    Truncated(&'static str),
    /// The picture's data make no sense.
    #[error("the {format} picture is damaged: {reason}")]
    Damaged {
        /// JPEG, PNG or WebP.
        format: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// A side has too few pixels.
    #[error("the picture is {width}x{height} pixels; each side needs at least {MIN_SIDE}")]
    TooSmall {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// Decoding would take too much memory.
    #[error("the picture is {width}x{height} pixels; that is too large to decode here, make it smaller")]
    TooLarge {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
}

/// Decodes a picture, turns it upright by its EXIF orientation, and converts it to 8-bit RGB: CMYK, greyscale and 16-bit
/// pictures are converted, transparent ones are laid over white.
///
/// # Errors
/// When the bytes are no whole picture of a format and a size that is read.
pub fn decode(bytes: &[u8]) -> Result<Picture, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Empty);
    }
    let format = match image::guess_format(bytes) {
        Ok(format @ (ImageFormat::Jpeg | ImageFormat::Png | ImageFormat::WebP)) => format,
        _ => return Err(DecodeError::UnknownFormat),
    };
    let name = if format == ImageFormat::Png { "PNG" } else { "WebP" };
    if format == ImageFormat::Jpeg {
        return jpeg::decode(bytes);
    }
    if format == ImageFormat::WebP && webp_ends_early(bytes) {
        return Err(DecodeError::Truncated(name));
    }
    let error = |error: ImageError| describe(name, &error);
    let mut decoder = ImageReader::with_format(Cursor::new(bytes), format).into_decoder().map_err(error)?;
    let (width, height) = decoder.dimensions();
    // Decoded as it is, and once more as 8-bit RGB.
    check_size(width, height, decoder.total_bytes() + 3 * pixels(width, height))?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MAX_ALLOCATION);
    decoder.set_limits(limits).map_err(error)?;
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let picture = DynamicImage::from_decoder(decoder).map_err(error)?;
    let rgb = if picture.color().has_alpha() { over_white(&picture) } else { picture.into_rgb8() };
    Ok(upright(rgb, orientation))
}

/// Whether there are fewer bytes than the file's head says; the decoder would call what is left corrupt.
fn webp_ends_early(bytes: &[u8]) -> bool {
    let Some(&[a, b, c, d]) = bytes.get(4..8) else { return true };
    // The size does not count the eight bytes up to its own end.
    (u32::from_le_bytes([a, b, c, d]) as usize).saturating_add(8) > bytes.len()
}

pub(super) fn pixels(width: u32, height: u32) -> u64 {
    u64::from(width) * u64::from(height)
}

/// `bytes` is the most memory that decoding takes.
pub(super) fn check_size(width: u32, height: u32, bytes: u64) -> Result<(), DecodeError> {
    if width < MIN_SIDE || height < MIN_SIDE {
        return Err(DecodeError::TooSmall { width, height });
    }
    if bytes > MAX_ALLOCATION {
        return Err(DecodeError::TooLarge { width, height });
    }
    Ok(())
}

pub(super) fn upright(rgb: RgbImage, orientation: Orientation) -> RgbImage {
    if orientation == Orientation::NoTransforms {
        return rgb;
    }
    let mut picture = DynamicImage::from(rgb);
    picture.apply_orientation(orientation);
    picture.into_rgb8()
}

fn over_white(picture: &DynamicImage) -> RgbImage {
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let Rgba([r, g, b, alpha]) = picture.get_pixel(x, y);
        let alpha = u16::from(alpha);
        Rgb([r, g, b].map(|value| ((u16::from(value) * alpha + 255 * (255 - alpha) + 127) / 255) as u8))
    })
}

fn describe(format: &'static str, error: &ImageError) -> DecodeError {
    reason(format, &error.to_string())
}

/// What a decoder's message means.
pub(super) fn reason(format: &'static str, message: &str) -> DecodeError {
    let line = message.lines().next().unwrap_or_default();
    let lower = line.to_lowercase();
    let ended = [
        "unexpected eof",
        "unexpected end",
        "premature end",
        "failed to fill whole buffer",
        "end of file",
        "exhausted",
        "no more bytes",
    ];
    if ended.iter().any(|phrase| lower.contains(phrase)) {
        return DecodeError::Truncated(format);
    }
    DecodeError::Damaged { format, reason: line.to_owned() }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Cursor;

    use image::{GrayImage, ImageBuffer, Luma, RgbaImage};

    use super::*;

    fn drawing() -> RgbImage {
        RgbImage::from_fn(40, 30, |x, y| Rgb([(x * 6) as u8, (y * 8) as u8, 90]))
    }

    fn encode(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.into().write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    fn error(bytes: &[u8]) -> String {
        let error = decode(bytes).unwrap_err().to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    }

    #[test]
    fn jpeg_png_and_webp_are_read() {
        for format in [ImageFormat::Png, ImageFormat::WebP] {
            assert_eq!(decode(&encode(drawing(), format)).unwrap(), drawing());
        }
        let jpeg = decode(&encode(drawing(), ImageFormat::Jpeg)).unwrap();
        assert_eq!(jpeg.dimensions(), (40, 30));
    }

    #[test]
    fn grey_sixteen_bit_and_transparent_pictures_become_rgb() {
        let grey = GrayImage::from_pixel(20, 20, Luma([77]));
        assert_eq!(decode(&encode(grey, ImageFormat::Png)).unwrap().get_pixel(3, 3).0, [77; 3]);
        let deep: ImageBuffer<Rgb<u16>, _> = ImageBuffer::from_pixel(20, 20, Rgb([0xffff_u16, 0x8080, 0]));
        assert_eq!(decode(&encode(deep, ImageFormat::Png)).unwrap().get_pixel(3, 3).0, [255, 128, 0]);
        // Over white: 100 * 51 / 255 + 255 * 204 / 255 = 224.
        let clear = RgbaImage::from_pixel(20, 20, Rgba([100, 0, 255, 51]));
        assert_eq!(decode(&encode(clear, ImageFormat::Png)).unwrap().get_pixel(3, 3).0, [224, 204, 255]);
    }

    #[test]
    fn nothing_and_no_picture_are_told_apart() {
        assert_eq!(error(b""), "the file is empty");
        assert_eq!(error(b"hello, world, this is text"), "not a JPEG, PNG or WebP picture");
        assert_eq!(
            error(b"GIF89a is a picture, but not one that is read"),
            "not a JPEG, PNG or WebP picture"
        );
    }

    #[test]
    fn a_picture_cut_anywhere_is_an_error_and_never_half_a_picture() {
        for format in [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP] {
            let whole = encode(drawing(), format);
            let picture = decode(&whole).unwrap();
            for length in 1..whole.len() {
                // A PNG without the last bytes of its empty end chunk still has all of its pixels.
                let cut = decode(&whole[..length]);
                assert!(
                    cut.is_err() || cut.unwrap() == picture,
                    "{format:?} cut to {length} of {}",
                    whole.len()
                );
            }
            let text = error(&whole[..whole.len() * 3 / 4]);
            assert!(text.contains("ends early"), "{format:?}: {text}");
        }
    }

    #[test]
    fn slivers_are_refused_with_their_size() {
        let dot = encode(RgbImage::new(1, 1), ImageFormat::Png);
        assert_eq!(error(&dot), "the picture is 1x1 pixels; each side needs at least 16");
        let sliver = encode(RgbImage::new(20_000, 10), ImageFormat::Png);
        assert_eq!(error(&sliver), "the picture is 20000x10 pixels; each side needs at least 16");
    }

    #[test]
    fn a_picture_that_claims_to_be_huge_is_refused_before_memory_is_taken() {
        let mut png = encode(RgbImage::new(20, 20), ImageFormat::Png);
        // Width and height of the header chunk, and its checksum.
        png[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
        let mut crc = u32::MAX;
        for &byte in &png[12..29] {
            crc ^= u32::from(byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
            }
        }
        png[29..33].copy_from_slice(&(!crc).to_be_bytes());
        assert!(error(&png).contains("65536x65536 pixels; that is too large"));
    }
}
