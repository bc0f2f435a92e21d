//! Frames as JPEG pictures, for people and for samples.

use image::codecs::jpeg::JpegEncoder;

use crate::camera::{Decoder, Frame, FrameError};

/// Good enough that a sample is not captioned otherwise than the frame was.
const QUALITY: u8 = 92;

/// The frame as a JPEG file: as it came where it is one.
///
/// # Errors
/// When the frame is no whole picture.
pub fn jpeg(frame: &Frame) -> Result<Vec<u8>, FrameError> {
    if frame.data.starts_with(&[0xFF, 0xD8]) {
        return Ok(frame.data.clone());
    }
    let mut decoder = Decoder::default();
    let picture = decoder.decode(frame)?;
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, QUALITY)
        .encode_image(picture)
        .expect("a picture of 8-bit RGB can be written to memory");
    Ok(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::camera::Format;

    #[test]
    fn a_jpeg_stays_as_it_is_and_everything_else_becomes_one() {
        let hopper = include_bytes!("../../../tests/pictures/hopper.jpg");
        let frame = Frame { data: hopper.to_vec(), ..Frame::default() };
        assert_eq!(jpeg(&frame).unwrap(), hopper);

        let grey = Frame {
            data: vec![128; 384],
            format: Format::Yuv420 { width: 16, height: 16 },
            ..Frame::default()
        };
        let decoded = crate::vision::decode(&jpeg(&grey).unwrap()).unwrap();
        // Y 128 is 1.164 (128 - 16) = 130.
        assert_eq!((decoded.dimensions(), decoded.get_pixel(3, 3).0), ((16, 16), [130; 3]));
    }
}
