//! tract finds with the published YOLOX-Nano what onnxruntime 1.32 finds with it. The file is not part of this repository.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};
use metalens::vision::{Detector, decode};
use metalens_models::DetectorShape;

/// The file's bytes.
fn published() -> Option<Vec<u8>> {
    let data = std::env::var_os("METALENS_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    let path = data.join("models/yolox_nano.onnx");
    let bytes = std::fs::read(&path).ok();
    if bytes.is_none() {
        println!("skipped: no {}; METALENS_DATA names the folder of models", path.display());
    }
    bytes
}

fn detector() -> Option<Detector> {
    Some(Detector::open(&published()?, "yolox_nano.onnx", &DetectorShape::yolox_nano()).unwrap())
}

/// A road sign of eight sides on a pole, 416 x 312 pixels: as wide as the input, so that nothing is resized.
fn sign() -> RgbImage {
    RgbImage::from_fn(416, 312, |x, y| {
        let (x, y) = (i64::from(x), i64::from(y));
        let (across, down) = ((x - 208).abs(), (y - 110).abs());
        let inside = |side: i64| across.max(down) < side && (across + down) * 7071 < side * 10_000;
        Rgb(match () {
            () if inside(74) && down < 18 && across < 54 && x / 8 % 2 == 0 => [255, 255, 255],
            () if inside(74) => [200, 20, 30],
            () if inside(80) => [255, 255, 255],
            () if across < 6 && y > 110 && y < 290 => [120, 120, 120],
            () if y > 230 => [80, 120, 60],
            () => [150, 190, 230],
        })
    })
}

#[test]
fn a_drawn_stop_sign_is_found_with_onnxruntimes_numbers() {
    let Some(mut detector) = detector() else { return };
    detector.look(&sign()).unwrap();
    // onnxruntime: the classes that score highest, and the sum of all.
    let expected = [(11, 0.933_832_9), (29, 0.005_522_8), (37, 0.000_465_3), (74, 0.000_324_2)];
    for (class, score) in expected {
        let found = detector.scores()[class];
        assert!((found - score).abs() < 1e-4, "class {class}: {found}, not {score}");
    }
    let sum: f32 = detector.scores().iter().sum();
    assert!((sum - 0.942_414_2).abs() < 1e-3, "{sum}");

    let boxes = detector.boxes(0.3).unwrap();
    assert_eq!(boxes.len(), 1, "{boxes:?}");
    let stop = boxes[0];
    assert!(stop.class == 11 && (stop.score - 0.933_832_9).abs() < 1e-4, "{stop:?}");
    // In pixels of the picture.
    let (width, height) = (sign().width() as f32, sign().height() as f32);
    let sides = [
        (stop.x * width, 130.14),
        (stop.y * height, 31.99),
        (stop.width * width, 154.38),
        (stop.height * height, 159.55),
    ];
    assert!(sides.iter().all(|(found, expected)| (found - expected).abs() < 0.05), "{stop:?}");
}

#[test]
fn a_cat_is_found_in_a_photograph_that_is_resized() {
    let Some(mut detector) = detector() else { return };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/pictures/chelsea.jpg");
    let picture = decode(&std::fs::read(path).unwrap()).unwrap();
    detector.look(&picture).unwrap();
    // onnxruntime on what Pillow decodes and resizes: .6126 cat, .2528 dog.
    let [cat, dog] = [15, 16].map(|class| detector.scores()[class]);
    assert!((cat - 0.6126).abs() < 0.03 && (dog - 0.2528).abs() < 0.06, "cat {cat}, dog {dog}");
    for thing in detector.boxes(0.1).unwrap() {
        assert!(thing.x >= 0.0 && thing.x + thing.width <= 1.0001, "{thing:?}");
        assert!(thing.y >= 0.0 && thing.y + thing.height <= 1.0001, "{thing:?}");
    }
}

#[test]
fn an_output_of_another_size_is_refused_with_both_shapes() {
    let Some(bytes) = published() else { return };
    let shape = DetectorShape { things: 20, ..DetectorShape::yolox_nano() };
    let error = Detector::open(&bytes, "detector.onnx", &shape).err().unwrap().to_string();
    assert!(error.starts_with("detector.onnx: output output has shape 1,3549,85"), "{error}");
    assert!(error.ends_with("[1, 3549, 25]"), "{error}");
}
