//! A contact sheet: captions beside their pictures, on one page that needs nothing else.

use std::fmt::Write;
use std::io::Cursor;
use std::path::Path;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::DynamicImage;
use image::codecs::jpeg::JpegEncoder;
use metalens::vision;

use crate::evaluate::{Captioned, Evaluation};

/// The longer side of a picture on the page, in pixels.
const SIDE: u32 = 240;
/// JPEG quality of a picture on the page.
const QUALITY: u8 = 80;

const HEAD: &str = "<style>
body { font: 14px/1.4 system-ui, sans-serif; margin: 1.5rem; color: #222; background: #fff }
main { display: grid; grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); gap: 1.2rem }
figure { margin: 0 }
img { width: 100%; height: 180px; object-fit: contain; background: #eee }
figcaption b { display: block; font-size: 15px; color: #111 }
figcaption { color: #777; font-size: 12px }
</style>";

/// The page: every picture with its caption, its CIDEr and what people said, the worst first.
///
/// # Errors
/// When a picture that was captioned can no longer be read.
pub fn contact_sheet(title: &str, evaluation: &Evaluation) -> anyhow::Result<String> {
    let mut captions: Vec<&Captioned> = evaluation.captions.iter().collect();
    captions.sort_by(|a, b| a.cider.total_cmp(&b.cider).then_with(|| a.id.cmp(&b.id)));
    let title = escape(title);
    let mut page = format!("<!doctype html>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n{HEAD}\n");
    let scores = evaluation.scores;
    // Writing to a String cannot fail.
    let _ = writeln!(page, "<h1>{title}</h1>\n<pre>{} pictures\n{scores}</pre>\n<main>", captions.len());
    for captioned in captions {
        let picture = thumbnail(&captioned.path).with_context(|| captioned.path.display().to_string())?;
        let picture = STANDARD.encode(picture);
        let Captioned { id, caption, captions, cider, .. } = captioned;
        let (id, caption) = (escape(id), escape(caption));
        let _ = writeln!(
            page,
            "<figure><img alt=\"{id}\" src=\"data:image/jpeg;base64,{picture}\">\n\
             <figcaption><b>{caption}</b>CIDEr {cider:.2}, {id}<br>{}</figcaption></figure>",
            captions.iter().map(|text| escape(text)).collect::<Vec<_>>().join("<br>")
        );
    }
    page.push_str("</main>\n");
    Ok(page)
}

fn thumbnail(path: &Path) -> anyhow::Result<Vec<u8>> {
    let picture = DynamicImage::from(vision::decode(&std::fs::read(path)?)?);
    let small =
        if picture.width().max(picture.height()) > SIDE { picture.thumbnail(SIDE, SIDE) } else { picture };
    let mut bytes = Cursor::new(Vec::new());
    small.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, QUALITY))?;
    Ok(bytes.into_inner())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
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
