//! From frames to pictures, in one buffer.

use image::RgbImage;

use super::raw::{yuv420_to_rgb, yuyv_to_rgb};
use super::{Format, Frame, FrameError};
use crate::vision::{self, Picture};

/// Makes pictures of frames. Raw frames need no allocation once the first one was seen; encoded ones take what their
/// decoder takes.
#[derive(Default)]
pub struct Decoder {
    picture: Picture,
}

impl Decoder {
    /// The frame as a picture.
    ///
    /// # Errors
    /// When the frame is damaged or is no whole picture.
    pub fn decode(&mut self, frame: &Frame) -> Result<&Picture, FrameError> {
        match frame.format {
            Format::Encoded => self.picture = vision::decode(&frame.data)?,
            Format::Yuyv { width, height, stride } => {
                let used = (height as usize - 1) * stride as usize + 2 * width as usize;
                check(frame, [width, height], used..=(height * stride) as usize)?;
                self.resize(width, height);
                yuyv_to_rgb(&frame.data, width as usize, stride as usize, self.picture.as_mut());
            }
            Format::Yuv420 { width, height } => {
                let expected = (width * height * 3 / 2) as usize;
                check(frame, [width, height], expected..=expected)?;
                self.resize(width, height);
                yuv420_to_rgb(&frame.data, width as usize, height as usize, self.picture.as_mut());
            }
        }
        Ok(&self.picture)
    }

    fn resize(&mut self, width: u32, height: u32) {
        if self.picture.dimensions() != (width, height) {
            self.picture = RgbImage::new(width, height);
        }
    }
}

fn check(frame: &Frame, size: [u32; 2], expected: std::ops::RangeInclusive<usize>) -> Result<(), FrameError> {
    if expected.contains(&frame.data.len()) {
        return Ok(());
    }
    let [width, height] = size;
    Err(FrameError::Size { width, height, found: frame.data.len(), expected: *expected.end() })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn frame(format: Format, bytes: usize) -> Frame {
        Frame { data: vec![128; bytes], format, ..Frame::default() }
    }

    #[test]
    fn raw_frames_need_all_of_their_bytes() {
        let mut decoder = Decoder::default();
        let yuyv = Format::Yuyv { width: 16, height: 16, stride: 40 };
        // The last row may end where its pixels end.
        for (bytes, whole) in
            [(16 * 40, true), (15 * 40 + 32, true), (15 * 40 + 31, false), (16 * 40 + 1, false)]
        {
            assert_eq!(decoder.decode(&frame(yuyv, bytes)).is_ok(), whole, "{bytes}");
        }
        let planes = Format::Yuv420 { width: 16, height: 16 };
        assert_eq!(decoder.decode(&frame(planes, 384)).unwrap().dimensions(), (16, 16));
        let error = decoder.decode(&frame(planes, 383)).unwrap_err().to_string();
        assert_eq!(error, "a raw frame of 16x16 pixels has 383 bytes instead of 384");
    }
}
