//! What meta-test found: a table, curves, and what was said before and after.

use std::path::PathBuf;

use plotters::prelude::*;

use super::{Figure, Page};
use crate::meta::{Method, Reached, table};
use crate::tasks::{Group, Pool, Subject, Task};

/// Queries shown of a task.
const QUERIES: usize = 8;

/// The page: the table of what methods reached, a curve for each family of methods that differ in one number, and the first
/// tasks' queries with the captions of the first method and of calibration, or else of the last.
///
/// `path_of` is the file of the picture at a place of the pool.
///
/// # Errors
/// When a picture cannot be read.
pub fn protocol_sheet(
    title: &str,
    reached: &[Reached],
    tasks: &[Task],
    pool: &Pool,
    path_of: impl Fn(usize) -> PathBuf,
) -> anyhow::Result<String> {
    let mut page = Page::new(title, &table(reached));
    let main = if reached.iter().any(|reached| reached.figures.contains_key("f1")) { "f1" } else { "cider" };
    for (family, along) in [("calibrated", "steps"), ("head alone", "steps"), ("calibrated", "shots")] {
        let points: Vec<(f64, f64)> = reached
            .iter()
            .filter_map(|reached| Some((reached.along(family, along)?, reached.figures.get(main)?.mean)))
            .collect();
        if points.len() > 1 {
            page.heading(&format!("{main} over {along}, {family}"));
            page.svg(&curve(&points, along, main)?);
        }
    }
    let calibrated = reached.iter().find(|reached| reached.method == Method::Calibrated.to_string());
    let (Some(before), Some(after)) = (reached.first(), calibrated.or(reached.last())) else {
        return Ok(page.finish());
    };
    for (place, task) in tasks.iter().enumerate().take(before.examples.len()) {
        let about = match &task.subject {
            Subject::NewWord { concept, nonce } => format!("{nonce}, which the corpus calls {concept}"),
            Subject::NewDomain { scenes } => scenes.join(", "),
        };
        page.heading(&format!("Task {}: {about}", task.number));
        let shown: Vec<(PathBuf, String, Vec<String>)> = task
            .query
            .iter()
            .enumerate()
            .step_by((task.query.len() / QUERIES).max(1))
            .map(|(query, sample)| {
                let group = match &sample.group {
                    Group::Concept => "with it".to_owned(),
                    Group::Unrelated => "without it".to_owned(),
                    Group::Scene(scene) => scene.clone(),
                };
                let said =
                    |reached: &Reached| format!("{}: {}", reached.method, reached.examples[place][query]);
                let first = task.texts(sample, pool).into_iter().next().unwrap_or_default();
                let lines = vec![said(before), format!("people: {first}"), group];
                (path_of(sample.picture), said(after), lines)
            })
            .collect();
        page.grid(shown.iter().map(|(path, headline, lines)| Figure { path, name: "", headline, lines }))?;
    }
    Ok(page.finish())
}

fn curve(points: &[(f64, f64)], along: &str, figure: &str) -> anyhow::Result<String> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (560, 280)).into_drawing_area();
        area.fill(&WHITE)?;
        let most = points.iter().fold(0.0_f64, |most, (x, _)| most.max(*x));
        let high = points.iter().fold(0.0_f64, |high, (_, y)| high.max(*y));
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(36)
            .y_label_area_size(56)
            .build_cartesian_2d(0.0..most, 0.0..high * 1.1)?;
        chart.configure_mesh().x_desc(along).y_desc(figure).light_line_style(TRANSPARENT).draw()?;
        let colour = RGBColor(30, 90, 180);
        chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
        chart.draw_series(points.iter().map(|&point| Circle::new(point, 4, colour.filled())))?;
        area.present()?;
    }
    Ok(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::meta::Estimate;
    use crate::tasks::{Sample, TaskPicture};

    #[test]
    fn a_page_has_the_table_a_curve_and_captions_before_and_after() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        image::RgbImage::new(30, 30).save(&path).unwrap();
        let captions = ["a dog".to_owned()];
        let pool = Pool::new([TaskPicture { name: "a.png", captions: &captions, scene: None }]);
        let sample = Sample { picture: 0, group: Group::Concept, captions: vec![0] };
        let task = Task {
            number: 3,
            subject: Subject::NewWord { concept: "dog".into(), nonce: "lumovak".into() },
            support: Vec::new(),
            query: vec![sample],
            written: None,
        };
        let reached = |method: Method, f1: f64, said: &str| Reached {
            method: method.to_string(),
            figures: BTreeMap::from([("f1".to_owned(), Estimate { mean: f1, interval: [0.1, 0.9] })]),
            by_concept: BTreeMap::new(),
            examples: vec![vec![said.to_owned()]],
        };
        let all = [
            reached(Method::Before, 0.0, "a cat"),
            reached(Method::Steps(1), 0.4, "a thing"),
            reached(Method::Steps(5), 0.8, "a lumovak <b>"),
        ];
        let page = protocol_sheet("words", &all, &[task], &pool, |_| path.clone()).unwrap();
        assert!(page.contains("calibrated, 5 steps  0.800 [0.100 0.900]"));
        assert_eq!(page.matches("<svg").count(), 1);
        assert!(page.contains("f1 over steps") && !page.contains("over shots"));
        assert!(page.contains("lumovak &lt;b&gt;") && page.contains("before: a cat"));
        assert!(
            page.contains("people: a lumovak")
                && page.contains("Task 3: lumovak, which the corpus calls dog")
        );
    }
}
