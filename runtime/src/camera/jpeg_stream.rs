//! Cuts a stream of JPEG pictures, one behind the other, into pictures.
//!
//! Segments are stepped over by their lengths, so that a thumbnail inside a picture does not end it (ITU-T T.81, annex B).

/// A picture of more bytes is none: the stream is searched for the next one.
const MAX_BYTES: usize = 64 << 20;

/// How far the picture under way was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between pictures; whether the last byte was FF.
    Between { ff: bool },
    /// Before a marker; whether its FF was read.
    Marker { ff: bool },
    /// Before a segment's length, of which the first byte may have been read.
    Length { scan: bool, first: Option<u8> },
    /// In a segment.
    Segment { scan: bool, left: usize },
    /// In the coded data of a scan; whether the last byte was FF.
    Scan { ff: bool },
}

/// Finds pictures in a stream that comes in parts.
pub(super) struct JpegStream {
    state: State,
}

impl JpegStream {
    pub fn new() -> Self {
        Self { state: State::Between { ff: false } }
    }

    /// Appends what belongs to the picture under way to `picture`. Gives how many bytes were used, and whether the picture
    /// is whole with them; the next picture goes into an empty buffer.
    pub fn push(&mut self, bytes: &[u8], picture: &mut Vec<u8>) -> (usize, bool) {
        for (place, &byte) in bytes.iter().enumerate() {
            picture.push(byte);
            self.state = match self.state {
                // Wherever it stands, a picture begins.
                State::Between { ff: true } | State::Marker { ff: true } | State::Scan { ff: true }
                    if byte == SOI =>
                {
                    picture.clear();
                    picture.extend([0xFF, SOI]);
                    State::Marker { ff: false }
                }
                State::Between { .. } => State::Between { ff: byte == 0xFF },
                State::Marker { ff: false } if byte == 0xFF => State::Marker { ff: true },
                State::Marker { ff: true } | State::Scan { ff: true } if byte == EOI => {
                    self.state = State::Between { ff: false };
                    return (place + 1, true);
                }
                State::Marker { ff: true } => after_marker(byte),
                State::Length { scan, first: None } => State::Length { scan, first: Some(byte) },
                State::Length { scan, first: Some(first) } => {
                    match usize::from(u16::from_be_bytes([first, byte])) {
                        2 => after_segment(scan),
                        // The length counts its own two bytes.
                        length if length > 2 => State::Segment { scan, left: length - 2 },
                        _ => State::Between { ff: false },
                    }
                }
                State::Segment { scan, left: 1 } => after_segment(scan),
                State::Segment { scan, left } => State::Segment { scan, left: left - 1 },
                State::Scan { ff: true } if is_data(byte) => State::Scan { ff: false },
                State::Scan { ff: true } if byte != 0xFF => after_marker(byte),
                State::Scan { .. } => State::Scan { ff: byte == 0xFF },
                // Not where a picture goes on.
                State::Marker { ff: false } => State::Between { ff: false },
            };
            if picture.len() > MAX_BYTES {
                self.state = State::Between { ff: false };
            }
            if matches!(self.state, State::Between { .. }) {
                picture.clear();
            }
        }
        (bytes.len(), false)
    }
}

const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOS: u8 = 0xDA;

/// A stuffed zero and restart markers belong to a scan's data.
fn is_data(byte: u8) -> bool {
    matches!(byte, 0x00 | 0xD0..=0xD7)
}

fn after_marker(byte: u8) -> State {
    match byte {
        // Fill bytes.
        0xFF => State::Marker { ff: true },
        0x01 | 0xD0..=0xD7 => State::Marker { ff: false },
        0x00 => State::Between { ff: false },
        _ => State::Length { scan: byte == SOS, first: None },
    }
}

fn after_segment(scan: bool) -> State {
    if scan { State::Scan { ff: false } } else { State::Marker { ff: false } }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const HOPPER: &[u8] = include_bytes!("../../../tests/pictures/hopper.jpg");

    fn cut(stream: &[u8], part: usize) -> Vec<Vec<u8>> {
        let (mut splitter, mut picture, mut pictures) = (JpegStream::new(), Vec::new(), Vec::new());
        for mut bytes in stream.chunks(part) {
            while !bytes.is_empty() {
                let (used, whole) = splitter.push(bytes, &mut picture);
                bytes = &bytes[used..];
                if whole {
                    pictures.push(std::mem::take(&mut picture));
                }
            }
        }
        pictures
    }

    /// A picture whose first segment holds another picture, as a thumbnail does.
    fn with_thumbnail(thumbnail: &[u8]) -> Vec<u8> {
        let length = u16::try_from(thumbnail.len() + 2).unwrap().to_be_bytes();
        [&[0xFF, 0xD8, 0xFF, 0xE1], length.as_slice(), thumbnail, &HOPPER[2..]].concat()
    }

    #[test]
    fn pictures_are_the_same_in_whatever_parts_they_come() {
        let small = [0xFF, 0xD8, 0xFF, 0xDA, 0, 2, 1, 0xFF, 0, 0xFF, 0xD3, 2, 0xFF, 0xD9].to_vec();
        let pictures = [HOPPER.to_vec(), small.clone(), with_thumbnail(&small), HOPPER.to_vec()];
        let stream = pictures.concat();
        for part in [1, 2, 3, 1000, 4096, stream.len()] {
            assert_eq!(cut(&stream, part), pictures, "in parts of {part} bytes");
        }
    }

    #[test]
    fn what_stands_between_pictures_is_left_out_and_half_a_picture_does_not_swallow_the_next() {
        let noise = [0, 0xFF, 1, 0xFF, 0xFF];
        let stream = [&noise, HOPPER, &noise, &HOPPER[..2000], HOPPER, HOPPER].concat();
        let pictures = cut(&stream, 777);
        assert_eq!(pictures.first().unwrap(), HOPPER);
        assert_eq!(pictures.last().unwrap(), HOPPER);
        assert_eq!(pictures.len(), 3);
    }
}
