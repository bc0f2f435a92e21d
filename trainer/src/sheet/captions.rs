//! Captions that a bundle makes, beside their pictures.

use super::{Figure, Page};
use crate::evaluate::{Captioned, Evaluation};

/// The page: every picture with its caption, its CIDEr and what people said, the worst first.
///
/// # Errors
/// When a picture that was captioned can no longer be read.
pub fn contact_sheet(title: &str, evaluation: &Evaluation) -> anyhow::Result<String> {
    let mut captions: Vec<&Captioned> = evaluation.captions.iter().collect();
    captions.sort_by(|a, b| a.cider.total_cmp(&b.cider).then_with(|| a.id.cmp(&b.id)));
    let mut page = Page::new(title, &format!("{} pictures\n{}", captions.len(), evaluation.scores));
    let lines: Vec<Vec<String>> = captions
        .iter()
        .map(|captioned| {
            let score = format!("CIDEr {:.2}, {}", captioned.cider, captioned.id);
            std::iter::once(score).chain(captioned.captions.iter().cloned()).collect()
        })
        .collect();
    page.grid(captions.iter().zip(&lines).map(|(captioned, lines)| Figure {
        path: &captioned.path,
        name: &captioned.id,
        headline: &captioned.caption,
        lines,
    }))?;
    Ok(page.finish())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use metalens::vision;

    use super::*;
    use crate::score::{Sample, score};

    #[test]
    fn a_page_shows_every_picture_worst_first_and_survives_any_caption() {
        let folder = tempfile::tempdir().unwrap();
        let captioned = |name: &str, caption: &str, cider| {
            let path = folder.path().join(name);
            image::RgbImage::new(600, 300).save(&path).unwrap();
            Captioned {
                id: name.into(),
                caption: caption.into(),
                captions: vec!["a <b>".into()],
                cider,
                path,
            }
        };
        let captions =
            vec![captioned("good.png", "a cat & a dog", 1.5), captioned("bad.png", "nothing", 0.25)];
        let samples = [Sample { hypothesis: "a".into(), references: vec!["a".into()] }];
        let evaluation =
            Evaluation { beam: 3, scores: score(&samples).unwrap(), captions, rejected: Vec::new() };
        let page = contact_sheet("a sheet", &evaluation).unwrap();
        assert_eq!(page.matches("<img ").count(), 2);
        assert!(page.find("bad.png").unwrap() < page.find("good.png").unwrap());
        assert!(
            page.contains("a cat &amp; a dog") && page.contains("a &lt;b&gt;") && !page.contains("<b>\"")
        );
        let start = page.find("base64,").unwrap() + "base64,".len();
        let end = start + page[start..].find('"').unwrap();
        let picture = vision::decode(&STANDARD.decode(&page[start..end]).unwrap()).unwrap();
        assert_eq!(picture.dimensions(), (240, 120));
    }
}
