//! Captions that a bundle makes, beside their pictures.

use std::collections::BTreeSet;

use super::{Figure, Page};
use crate::evaluate::{Captioned, Evaluation};
use crate::score::ThingsSaid;

/// The page: every picture with its caption, its CIDEr, the things that nobody says or that it misses, and what people said, the
/// worst first.
///
/// # Errors
/// When a picture that was captioned can no longer be read.
pub fn contact_sheet(title: &str, evaluation: &Evaluation) -> anyhow::Result<String> {
    let mut captions: Vec<&Captioned> = evaluation.captions.iter().collect();
    captions.sort_by(|a, b| a.cider.total_cmp(&b.cider).then_with(|| a.id.cmp(&b.id)));
    let introduction = format!("{} pictures\n{}\n{}", captions.len(), evaluation.scores, evaluation.things);
    let mut page = Page::new(title, &introduction);
    let lines: Vec<Vec<String>> = captions
        .iter()
        .map(|captioned| {
            let score = format!("CIDEr {:.2}, {}", captioned.cider, captioned.id);
            let things = captioned.things.as_ref().and_then(things);
            std::iter::once(score).chain(things).chain(captioned.captions.iter().cloned()).collect()
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

/// What is wrong with the things of a caption.
fn things(ThingsSaid { wrong, missed, .. }: &ThingsSaid) -> Option<String> {
    let list = |what: &str, things: &BTreeSet<String>| {
        (!things.is_empty())
            .then(|| format!("{what} {}", Vec::from_iter(things.iter().map(String::as_str)).join(", ")))
    };
    let parts: Vec<String> =
        [list("nobody says", wrong), list("misses", missed)].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use metalens::vision;

    use super::*;
    use crate::score::{Sample, ThingScores, score};

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
                things: ThingsSaid::of(caption, &["a cat".into(), "a cat on a bed".into(), "a bed".into()]),
                path,
            }
        };
        let captions =
            vec![captioned("good.png", "a cat & a dog", 1.5), captioned("bad.png", "nothing", 0.25)];
        let samples = [Sample { hypothesis: "a".into(), references: vec!["a".into()] }];
        let scores = score(&samples).unwrap();
        let things = ThingScores::default();
        let evaluation = Evaluation { beam: 3, scores, things, captions, rejected: Vec::new() };
        let page = contact_sheet("a sheet", &evaluation).unwrap();
        assert_eq!(page.matches("<img ").count(), 2);
        assert!(page.find("bad.png").unwrap() < page.find("good.png").unwrap());
        assert!(
            page.contains("nobody says dog; misses bed") && page.contains("<br>misses bed, cat<br>"),
            "{page}"
        );
        assert!(
            page.contains("a cat &amp; a dog") && page.contains("a &lt;b&gt;") && !page.contains("<b>\"")
        );
        let start = page.find("base64,").unwrap() + "base64,".len();
        let end = start + page[start..].find('"').unwrap();
        let picture = vision::decode(&STANDARD.decode(&page[start..end]).unwrap()).unwrap();
        assert_eq!(picture.dimensions(), (240, 120));
    }
}
