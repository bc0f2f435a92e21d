//! Raw frames to 8-bit red, green and blue, by ITU-R BT.601 with limited range: what cameras and `rpicam-vid` give.
//!
//! ```text
//! R = 1.164 (Y - 16) + 1.596 (V - 128)
//! G = 1.164 (Y - 16) - 0.392 (U - 128) - 0.813 (V - 128)
//! B = 1.164 (Y - 16) + 2.017 (U - 128)
//! ```
//!
//! in fixed point, with 8 bits behind the point.

/// Fills `rgb` (3 bytes a pixel, rows of `width`) from YUYV rows that lie `stride` bytes apart.
pub(super) fn yuyv_to_rgb(data: &[u8], width: usize, stride: usize, rgb: &mut [u8]) {
    for (row, out) in data.chunks(stride).zip(rgb.chunks_exact_mut(3 * width)) {
        for (four, six) in row[..2 * width].as_chunks::<4>().0.iter().zip(out.as_chunks_mut::<6>().0) {
            let [y0, u, y1, v] = *four;
            let chroma = Chroma::new(u, v);
            let ([a, b, c], [d, e, f]) = (chroma.with(y0), chroma.with(y1));
            *six = [a, b, c, d, e, f];
        }
    }
}

/// Fills `rgb` from planes Y, U and V.
pub(super) fn yuv420_to_rgb(data: &[u8], width: usize, height: usize, rgb: &mut [u8]) {
    let (luma, chroma) = data.split_at(width * height);
    let (u, v) = chroma.split_at(chroma.len() / 2);
    let half = width / 2;
    for (y, (row, out)) in luma.chunks_exact(width).zip(rgb.chunks_exact_mut(3 * width)).enumerate() {
        let at = (y / 2) * half;
        let colours = u[at..at + half].iter().zip(&v[at..at + half]);
        let pairs = row.as_chunks::<2>().0.iter().zip(out.as_chunks_mut::<6>().0);
        for (([y0, y1], six), (&u, &v)) in pairs.zip(colours) {
            let chroma = Chroma::new(u, v);
            let ([a, b, c], [d, e, f]) = (chroma.with(*y0), chroma.with(*y1));
            *six = [a, b, c, d, e, f];
        }
    }
}

/// What U and V add to each colour, times 256.
struct Chroma {
    red: i32,
    green: i32,
    blue: i32,
}

impl Chroma {
    fn new(u: u8, v: u8) -> Self {
        let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
        Self { red: 409 * v, green: -100 * u - 208 * v, blue: 516 * u }
    }

    fn with(&self, y: u8) -> [u8; 3] {
        let luma = 298 * (i32::from(y) - 16) + 128;
        [self.red, self.green, self.blue].map(|colour| ((luma + colour) >> 8).clamp(0, 255) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The documentation's equations in floating point.
    fn reference(y: u8, u: u8, v: u8) -> [u8; 3] {
        let (y, u, v) = (1.164 * (f64::from(y) - 16.0), f64::from(u) - 128.0, f64::from(v) - 128.0);
        [y + 1.596 * v, y - 0.392 * u - 0.813 * v, y + 2.017 * u]
            .map(|colour| colour.round().clamp(0.0, 255.0) as u8)
    }

    #[test]
    fn colours_follow_bt_601_to_one_step() {
        for y in (0..=255).step_by(5) {
            for u in (0..=255).step_by(15) {
                for v in (0..=255).step_by(15) {
                    let (found, expected) = (Chroma::new(u, v).with(y), reference(y, u, v));
                    let close = found.iter().zip(&expected).all(|(a, b)| a.abs_diff(*b) <= 1);
                    assert!(close, "{y} {u} {v}: {found:?}, expected {expected:?}");
                }
            }
        }
    }

    #[test]
    fn a_row_of_yuyv_ends_at_its_width_and_starts_at_its_stride() {
        // White (235) and black (16), and two bytes that are no pixels.
        let data = [235, 128, 16, 128, 9, 9, 16, 128, 235, 128, 9, 9];
        let mut rgb = [7; 12];
        yuyv_to_rgb(&data, 2, 6, &mut rgb);
        assert_eq!(rgb, [255, 255, 255, 0, 0, 0, 0, 0, 0, 255, 255, 255]);
    }

    #[test]
    fn planes_share_colours_between_four_pixels() {
        // Red in BT.601: Y 81, U 90, V 240.
        let data = [81, 81, 81, 81, 90, 240];
        let mut rgb = [0; 12];
        yuv420_to_rgb(&data, 2, 2, &mut rgb);
        for pixel in rgb.chunks_exact(3) {
            assert!(pixel[0] > 250 && pixel[1] < 5 && pixel[2] < 5, "{pixel:?}");
        }
    }
}
