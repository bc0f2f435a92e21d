//! What a camera is asked for, and whether what it does is understood.

use metalens_firmware_config::{FramesPerSecond, PixelFormat};

use crate::camera::Format;

/// Video4Linux's name of an encoding.
pub(super) type Code = [u8; 4];

const MJPG: Code = *b"MJPG";
/// What some drivers call the same.
const JPEG: Code = *b"JPEG";
const YUYV: Code = *b"YUYV";

/// The encodings that may be taken, the best one first: a JPEG takes a tenth of YUYV's share of the bus.
fn wanted(format: PixelFormat) -> &'static [Code] {
    match format {
        PixelFormat::Auto => &[MJPG, JPEG, YUYV],
        PixelFormat::Mjpg => &[MJPG, JPEG],
        PixelFormat::Yuyv => &[YUYV],
    }
}

/// The encoding to ask for, of those that the driver offers.
///
/// # Errors
/// With the reason, when none is understood or wanted.
pub(super) fn choose(offered: &[Code], format: PixelFormat) -> Result<Code, String> {
    let chosen = wanted(format).iter().find(|code| offered.contains(code));
    chosen.copied().ok_or_else(|| refusal(&names(offered), format))
}

/// What the driver set, whatever it was asked for, as the format of frames.
///
/// # Errors
/// With the reason, when that is not understood or not wanted.
pub(super) fn read(code: Code, size: [u32; 2], stride: u32, format: PixelFormat) -> Result<Format, String> {
    if !wanted(format).contains(&code) {
        return Err(refusal(&names(&[code]), format));
    }
    let [width, height] = size;
    if code != YUYV {
        return Ok(Format::Encoded);
    }
    if width < 2 || width % 2 == 1 || height == 0 {
        return Err(format!(
            "it gives {width}x{height} pixels; ask for another camera.width and camera.height"
        ));
    }
    // Some drivers leave the stride out where rows are not padded.
    Ok(Format::Yuyv { width, height, stride: stride.max(2 * width) })
}

fn refusal(given: &str, format: PixelFormat) -> String {
    match format {
        PixelFormat::Auto => format!("it gives {given} and neither MJPG nor YUYV; give another source"),
        PixelFormat::Mjpg => format!("it gives {given} and not MJPG; try camera.format = \"auto\""),
        PixelFormat::Yuyv => format!("it gives {given} and not YUYV; try camera.format = \"auto\""),
    }
}

fn names(codes: &[Code]) -> String {
    let names: Vec<_> = codes.iter().map(|code| String::from_utf8_lossy(code)).collect();
    names.join(", ")
}

/// The time from one frame to the next in seconds, as a numerator and a denominator.
pub(super) fn interval(rate: FramesPerSecond) -> [u32; 2] {
    let rate = rate.get();
    // Whole rates as drivers list them: 1/15 and not 1000/15000.
    if rate.fract() == 0.0 { [1, rate as u32] } else { [1000, (1000.0 * rate).round().max(1.0) as u32] }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn mjpg_is_preferred_where_the_driver_has_it() {
        let nv12 = *b"NV12";
        for (offered, format, expected) in [
            (&[YUYV, MJPG][..], PixelFormat::Auto, Some(MJPG)),
            (&[YUYV, JPEG], PixelFormat::Auto, Some(JPEG)),
            (&[nv12, YUYV], PixelFormat::Auto, Some(YUYV)),
            (&[YUYV, MJPG], PixelFormat::Yuyv, Some(YUYV)),
            (&[YUYV, JPEG], PixelFormat::Mjpg, Some(JPEG)),
            (&[YUYV], PixelFormat::Mjpg, None),
            (&[nv12], PixelFormat::Auto, None),
        ] {
            assert_eq!(choose(offered, format).ok(), expected, "{} {format:?}", names(offered));
        }
    }

    #[test]
    fn what_the_driver_set_instead_is_taken_where_the_configuration_leaves_the_choice() {
        let yuyv = Format::Yuyv { width: 640, height: 480, stride: 1280 };
        assert_eq!(read(YUYV, [640, 480], 1280, PixelFormat::Auto), Ok(yuyv));
        assert_eq!(read(YUYV, [640, 480], 0, PixelFormat::Yuyv), Ok(yuyv));
        assert_eq!(read(MJPG, [640, 480], 0, PixelFormat::Auto), Ok(Format::Encoded));
        assert_eq!(
            read(YUYV, [640, 480], 1280, PixelFormat::Mjpg).unwrap_err(),
            "it gives YUYV and not MJPG; try camera.format = \"auto\""
        );
        assert_eq!(
            read(*b"NV12", [640, 480], 640, PixelFormat::Auto).unwrap_err(),
            "it gives NV12 and neither MJPG nor YUYV; give another source"
        );
        assert!(read(YUYV, [641, 480], 1282, PixelFormat::Auto).unwrap_err().contains("641x480"));
    }

    #[test]
    fn the_interval_is_one_over_the_rate() {
        for (rate, expected) in [(15.0, [1, 15]), (7.5, [1000, 7500]), (0.0001, [1000, 1])] {
            assert_eq!(interval(FramesPerSecond::new(rate).unwrap()), expected);
        }
    }
}
