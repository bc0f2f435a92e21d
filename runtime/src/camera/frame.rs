//! A frame, in a buffer that is used again and again.

use std::time::{Instant, SystemTime};

/// What a frame's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A JPEG, PNG or WebP file.
    Encoded,
    /// Two bytes a pixel: Y0 U Y1 V, for two pixels side by side.
    Yuyv {
        /// Pixels, even.
        width: u32,
        /// Pixels.
        height: u32,
        /// Bytes from one row to the next.
        stride: u32,
    },
    /// A plane of Y, one of U and one of V, both at half the width and half the height (I420).
    Yuv420 {
        /// Pixels, even.
        width: u32,
        /// Pixels, even.
        height: u32,
    },
}

/// A picture as a source gives it.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Its bytes.
    pub data: Vec<u8>,
    /// What they are.
    pub format: Format,
    /// Its number, counted from 1 by whoever captures.
    pub sequence: u64,
    /// When it was there.
    pub captured: Instant,
    /// The same by the clock on the wall, which may jump.
    pub time: SystemTime,
    /// The file that it was read from; empty for cameras.
    pub file: String,
}

impl Default for Frame {
    fn default() -> Self {
        Self {
            data: Vec::new(),
            format: Format::Encoded,
            sequence: 0,
            captured: Instant::now(),
            time: SystemTime::UNIX_EPOCH,
            file: String::new(),
        }
    }
}

impl Frame {
    /// Notes that the frame came just now.
    pub fn stamp(&mut self) {
        self.captured = Instant::now();
        self.time = SystemTime::now();
    }

    /// Makes this frame the same as another one, in its own buffer.
    pub fn copy_from(&mut self, other: &Self) {
        self.data.clone_from(&other.data);
        self.file.clone_from(&other.file);
        (self.format, self.sequence) = (other.format, other.sequence);
        (self.captured, self.time) = (other.captured, other.time);
    }
}
