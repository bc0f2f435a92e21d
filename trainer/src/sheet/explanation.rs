//! Where each word of a caption looked, and what its new words lean on.

use std::path::{Path, PathBuf};

use image::imageops::{FilterType, resize};
use image::{DynamicImage, Luma, Rgb, RgbImage};
use ndarray::ArrayView1;

use super::{Figure, Page, SIDE, read, thumbnail};
use metalens::Caption;
use metalens::calibrator::Leaning;

/// What there is to show.
pub struct Explanation<'a> {
    /// The picture.
    pub picture: &'a Path,
    /// What was said of it.
    pub caption: &'a Caption,
    /// Rows and columns of the encoder's grid.
    pub grid: [usize; 2],
    /// The samples that the calibration was learned from; none without one.
    pub samples: &'a [PathBuf],
    /// What its new words lean on.
    pub leaning: &'a [Leaning],
}

/// The page: the picture once for each word, dark where the word did not look, and the samples of each new word, those
/// first that it leans on most.
///
/// # Errors
/// When a picture cannot be read.
pub fn explanation_sheet(explanation: &Explanation) -> anyhow::Result<String> {
    let Explanation { picture, caption, grid, samples, leaning } = explanation;
    let name = picture.display().to_string();
    let mut page = Page::new(&caption.text(), &name);
    let small = read(picture)?.thumbnail(SIDE, SIDE).into_rgb8();
    page.heading("Where each word looked");
    page.open_grid();
    for (word, attention) in caption.words.iter().zip(caption.attention.rows()) {
        let lit = DynamicImage::from(lit(&small, &attention, *grid));
        let probability = format!("probability {:.2}", word.probability);
        page.figure(&thumbnail(&lit)?, &name, &word.word, &[probability]);
    }
    page.close_grid();
    for Leaning { word, shares } in *leaning {
        page.heading(&format!("What {word} leans on"));
        let mut order: Vec<(&PathBuf, f32)> = samples.iter().zip(shares.iter().copied()).collect();
        order.sort_by(|a, b| b.1.total_cmp(&a.1));
        let shown: Vec<(&PathBuf, String, String)> = order
            .into_iter()
            .map(|(path, share)| {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                (path, name, format!("{:.0} %", 100.0 * share))
            })
            .collect();
        page.grid(shown.iter().map(|(path, name, share)| Figure {
            path,
            name,
            headline: share,
            lines: std::slice::from_ref(name),
        }))?;
    }
    Ok(page.finish())
}

/// How bright a picture stays where a word did not look.
const DARK: f32 = 0.25;

/// The picture, as bright as a word looked: its attention `[positions]`, smoothly enlarged, the strongest place at full
/// brightness.
fn lit(picture: &RgbImage, attention: &ArrayView1<f32>, [rows, columns]: [usize; 2]) -> RgbImage {
    let most = attention.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
    let map = image::ImageBuffer::from_fn(columns as u32, rows as u32, |x, y| {
        Luma([attention[y as usize * columns + x as usize] / most])
    });
    let map = resize(&map, picture.width(), picture.height(), FilterType::Triangle);
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let light = DARK + (1.0 - DARK) * map.get_pixel(x, y).0[0];
        Rgb(picture.get_pixel(x, y).0.map(|value| (f32::from(value) * light).round() as u8))
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use metalens::Word;
    use ndarray::{Array2, array};

    use super::*;

    #[test]
    fn a_picture_is_lit_where_the_word_looked() {
        let white = RgbImage::from_pixel(40, 40, Rgb([200; 3]));
        let lit = lit(&white, &array![0.0, 0.8, 0.2, 0.0].view(), [2, 2]);
        // Bright at the right above, a quarter at the left below: .25 + .75 / 4.
        assert_eq!(lit.get_pixel(39, 0).0, [200; 3]);
        assert_eq!(lit.get_pixel(0, 0).0, [50; 3]);
        assert_eq!(lit.get_pixel(0, 39).0, [88; 3]);
    }

    #[test]
    fn the_page_has_a_picture_for_each_word_and_the_samples_of_new_words_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let paths: Vec<PathBuf> =
            ["a.png", "b.png", "c.png"].iter().map(|name| folder.path().join(name)).collect();
        for path in &paths {
            RgbImage::new(30, 30).save(path).unwrap();
        }
        let word = |word: &str| Word { word: word.to_owned(), probability: 0.5 };
        let caption = Caption {
            words: vec![word("a"), word("zorb")],
            log_probability: -1.0,
            attention: Array2::from_elem((2, 4), 0.25),
            concepts: Vec::new(),
            concept_attention: Array2::zeros((2, 0)),
            boxes: Vec::new(),
            familiarity: None,
            encoder_ms: 0.0,
            decoder_ms: 0.0,
        };
        let leaning = [Leaning { word: "zorb".to_owned(), shares: vec![0.3, 0.7] }];
        let page = explanation_sheet(&Explanation {
            picture: &paths[0],
            caption: &caption,
            grid: [2, 2],
            samples: &paths[1..],
            leaning: &leaning,
        })
        .unwrap();
        assert_eq!(page.matches("<img ").count(), 4);
        let order =
            ["<h1>a zorb", "probability 0.50", "What zorb leans on", "<b>70 %</b>c.png", "<b>30 %</b>b.png"];
        let places: Vec<usize> = order.iter().map(|text| page.find(text).unwrap()).collect();
        assert!(places.is_sorted(), "{places:?}");
    }
}
