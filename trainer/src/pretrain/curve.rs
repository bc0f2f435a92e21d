//! The learning curve, as a table and as a picture.

use std::fmt::Write;

use plotters::prelude::*;

use super::checkpoint::EpochRow;

/// One line an epoch, with a header.
pub(super) fn csv(history: &[EpochRow]) -> String {
    let mut text = String::from(
        "epoch,learning_rate,training_loss,validation_loss,bleu1,bleu2,bleu3,bleu4,rouge_l,cider,seconds,pictures_per_second\n",
    );
    for row in history {
        let scores = &row.validated.scores;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{},{:.3e},{:.4},{:.4},{:.4},{:.4},{:.4},{:.4},{:.4},{:.4},{:.1},{:.1}",
            row.epoch,
            row.learning_rate,
            row.training_loss,
            row.validated.loss,
            scores.bleu1,
            scores.bleu2,
            scores.bleu3,
            scores.bleu4,
            scores.rouge_l,
            scores.cider,
            row.seconds,
            row.pictures_per_second,
        );
    }
    text
}

/// A line of the picture.
type Line<'a> = (&'a str, RGBColor, fn(&EpochRow) -> f64);

/// Losses above, scores below.
pub(super) fn svg(history: &[EpochRow]) -> anyhow::Result<String> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (760, 720)).into_drawing_area();
        area.fill(&WHITE)?;
        let (above, below) = area.split_vertically(360);
        let losses: [Line; 2] = [
            ("training loss", RGBColor(150, 150, 150), |row| row.training_loss),
            ("validation loss", RGBColor(200, 60, 40), |row| row.validated.loss),
        ];
        panel(&above, "nats per word", history, &losses)?;
        let scores: [Line; 2] = [
            ("CIDEr", RGBColor(30, 90, 180), |row| row.validated.scores.cider),
            ("BLEU-4", RGBColor(20, 140, 90), |row| row.validated.scores.bleu4),
        ];
        panel(&below, "validation, greedy", history, &scores)?;
        area.present()?;
    }
    Ok(text)
}

fn panel(
    area: &DrawingArea<SVGBackend, plotters::coord::Shift>,
    title: &str,
    history: &[EpochRow],
    lines: &[Line],
) -> anyhow::Result<()> {
    let values = || lines.iter().flat_map(|(_, _, value)| history.iter().map(value));
    let low = values().fold(f64::INFINITY, f64::min);
    let high = values().fold(f64::NEG_INFINITY, f64::max);
    let margin = ((high - low) * 0.08).max(0.01);
    let epochs = history.len().max(2) as f64;
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(1.0..epochs, low - margin..high + margin)?;
    chart.configure_mesh().x_desc("epoch").y_desc(title).light_line_style(TRANSPARENT).draw()?;
    for (name, colour, value) in lines {
        let points = history.iter().map(|row| (row.epoch as f64, value(row)));
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(*name)
            .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart.configure_series_labels().background_style(WHITE.mix(0.8)).border_style(BLACK.mix(0.3)).draw()?;
    Ok(())
}
