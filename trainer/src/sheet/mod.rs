//! Contact sheets: pictures beside what is said of them, on one page that needs nothing else.

mod captions;
mod explanation;
mod protocol;
mod task;

use std::fmt::Write;
use std::io::Cursor;
use std::path::Path;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::DynamicImage;
use image::codecs::jpeg::JpegEncoder;
use metalens::vision;

pub use captions::contact_sheet;
pub use explanation::{Explanation, explanation_sheet};
pub use protocol::protocol_sheet;
pub use task::task_sheet;

/// The longer side of a picture on the page, in pixels.
const SIDE: u32 = 240;
/// JPEG quality of a picture on the page.
const QUALITY: u8 = 80;

const HEAD: &str = "<style>
body { font: 14px/1.4 system-ui, sans-serif; margin: 1.5rem; color: #222; background: #fff }
section { display: grid; grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); gap: 1.2rem }
figure { margin: 0 }
img { width: 100%; height: 180px; object-fit: contain; background: #eee }
figcaption b { display: block; font-size: 15px; color: #111 }
figcaption { color: #777; font-size: 12px }
</style>";

/// A page that is being written.
struct Page(String);

/// A picture and what stands below it.
struct Figure<'a> {
    /// The file.
    path: &'a Path,
    /// What it is called.
    name: &'a str,
    /// What is read first; may be empty.
    headline: &'a str,
    /// What stands on lines of their own.
    lines: &'a [String],
}

impl Page {
    /// A page with a title and a few lines below it.
    fn new(title: &str, introduction: &str) -> Self {
        let (title, introduction) = (escape(title), escape(introduction));
        Self(format!(
            "<!doctype html>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n{HEAD}\n<h1>{title}</h1>\n\
             <pre>{introduction}</pre>\n"
        ))
    }

    fn heading(&mut self, text: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.0, "<h2>{}</h2>", escape(text));
    }

    /// A drawing, as it is.
    fn svg(&mut self, drawing: &str) {
        self.0.push_str(drawing);
        self.0.push('\n');
    }

    /// Pictures side by side.
    fn grid<'a>(&mut self, figures: impl IntoIterator<Item = Figure<'a>>) -> anyhow::Result<()> {
        self.open_grid();
        for Figure { path, name, headline, lines } in figures {
            let picture = read(path).and_then(|picture| thumbnail(&picture));
            self.figure(&picture.with_context(|| path.display().to_string())?, name, headline, lines);
        }
        self.close_grid();
        Ok(())
    }

    fn open_grid(&mut self) {
        self.0.push_str("<section>\n");
    }

    fn close_grid(&mut self) {
        self.0.push_str("</section>\n");
    }

    fn figure(&mut self, jpeg: &[u8], name: &str, headline: &str, lines: &[String]) {
        let picture = STANDARD.encode(jpeg);
        let (name, headline) = (escape(name), escape(headline));
        let lines = lines.iter().map(|text| escape(text)).collect::<Vec<_>>().join("<br>");
        // Writing to a String cannot fail.
        let _ = writeln!(
            self.0,
            "<figure><img alt=\"{name}\" src=\"data:image/jpeg;base64,{picture}\">\n\
             <figcaption><b>{headline}</b>{lines}</figcaption></figure>"
        );
    }

    fn finish(self) -> String {
        self.0
    }
}

fn read(path: &Path) -> anyhow::Result<DynamicImage> {
    Ok(DynamicImage::from(vision::decode(&std::fs::read(path)?)?))
}

fn thumbnail(picture: &DynamicImage) -> anyhow::Result<Vec<u8>> {
    let large = picture.width().max(picture.height()) > SIDE;
    let small = if large { &picture.thumbnail(SIDE, SIDE) } else { picture };
    let mut bytes = Cursor::new(Vec::new());
    small.write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, QUALITY))?;
    Ok(bytes.into_inner())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
