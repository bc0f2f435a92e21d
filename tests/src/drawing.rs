//! A corpus of drawn pictures, in Flickr8k's format.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use image::{Rgb, RgbImage};

/// Colours and their names.
const COLOURS: [(&str, [u8; 3]); 4] =
    [("red", [220, 40, 30]), ("green", [40, 190, 60]), ("blue", [40, 70, 220]), ("yellow", [230, 210, 40])];
/// Shapes.
const SHAPES: [&str; 2] = ["square", "bar"];
/// Width and height of a picture.
pub const SIDE: u32 = 56;

/// One picture: `kind` chooses colour and shape, `place` where it stands.
#[must_use]
pub fn picture(kind: usize, place: u32) -> RgbImage {
    let (_, colour) = COLOURS[kind % COLOURS.len()];
    let wide = SHAPES[kind / COLOURS.len() % SHAPES.len()] == "bar";
    let (left, top) = (4 + place % 5 * 4, 4 + place / 5 % 5 * 4);
    let (width, height) = if wide { (32, 8) } else { (20, 20) };
    RgbImage::from_fn(SIDE, SIDE, |x, y| {
        let inside = (left..left + width).contains(&x) && (top..top + height).contains(&y);
        Rgb(if inside { colour } else { [200, 200, 205] })
    })
}

/// How many kinds of pictures there are.
pub const KINDS: usize = COLOURS.len() * SHAPES.len();

/// What people say of a kind.
#[must_use]
pub fn captions(kind: usize) -> [String; 2] {
    let (colour, shape) = (COLOURS[kind % COLOURS.len()].0, SHAPES[kind / COLOURS.len() % SHAPES.len()]);
    [format!("A {colour} {shape} ."), format!("There is a {colour} {shape} here .")]
}

/// Writes `per_kind` training pictures and one dev picture of every kind into `folder`.
///
/// # Errors
/// When a file cannot be written.
pub fn write_corpus(folder: &Path, per_kind: usize) -> anyhow::Result<()> {
    let images = folder.join("images");
    std::fs::create_dir_all(&images)?;
    let (mut tokens, mut train, mut dev) = (String::new(), String::new(), String::new());
    for kind in 0..KINDS {
        for number in 0..=per_kind {
            let name = format!("{kind}-{number:02}.png");
            picture(kind, number as u32 * 7).save(images.join(&name)).with_context(|| name.clone())?;
            for (place, caption) in captions(kind).iter().enumerate() {
                writeln!(tokens, "{name}#{place}\t{caption}")?;
            }
            writeln!(if number < per_kind { &mut train } else { &mut dev }, "{name}")?;
        }
    }
    for (name, text) in [
        ("Flickr8k.token.txt", tokens),
        ("Flickr_8k.trainImages.txt", train),
        ("Flickr_8k.devImages.txt", dev),
    ] {
        std::fs::write(folder.join(name), text).with_context(|| name.to_owned())?;
    }
    Ok(())
}
