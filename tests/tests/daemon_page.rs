//! The daemon's page in a browser, from the first look to a caption in somebody's own words and back.
//!
//! Needs Chromium and its driver, Debian's packages `chromium` and `chromium-driver`. Leaves pictures of the page in
//! `target/tmp/page`, for people to look at.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use metalens_tests::browser::Browser;
use metalens_tests::served::{Daemon, wait};

const PROGRAM: &str = env!("CARGO_BIN_EXE_metalens-under-test");

/// An astronaut, and the same in a mirror.
fn pictures(folder: &Path) -> PathBuf {
    let pictures = folder.join("pictures");
    std::fs::create_dir(&pictures).unwrap();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/pictures/astronaut.jpg");
    std::fs::copy(file, pictures.join("a.jpg")).unwrap();
    let astronaut = image::open(file).unwrap().to_rgb8();
    image::imageops::flip_horizontal(&astronaut).save(pictures.join("b.jpg")).unwrap();
    pictures
}

/// The caption on the page, once it is wholly spoken.
fn caption(browser: &Browser) -> Option<String> {
    let script = "const words = [...document.querySelectorAll('#caption .word')];
        return words.some((word) => word.classList.contains('unsaid')) ? '' : words.map((word) => word.innerText).join(' ');";
    let text = browser.script(script).ok()?.as_str()?.to_owned();
    (!text.is_empty()).then_some(text)
}

fn keep(browser: &Browser, text: &str) {
    browser.click("#keep").unwrap();
    let placeholder = wait("what it says of the frame", || {
        let placeholder =
            browser.script("return document.querySelector('#frame-caption').placeholder").ok()?;
        placeholder.as_str()?.strip_prefix("it says: ").map(str::to_owned)
    });
    assert!(!placeholder.unwrap().is_empty());
    browser.type_into("#frame-caption", text).unwrap();
    browser.click("#frame .strong").unwrap();
    let shown = format!(
        "return [...document.querySelectorAll('#samples-list .said')].some((said) => said.innerText === {text:?})"
    );
    wait("the sample", || (browser.script(&shown).ok()? == true).then_some(())).unwrap();
}

/// What the page tells of a calibration, once it tells this.
fn outcome(browser: &Browser, expected: &str) -> String {
    let mut text = String::new();
    let told = wait(expected, || {
        text = browser.text("#outcome");
        text.contains(expected).then(|| text.clone())
    });
    told.unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn somebody_teaches_it_a_name_on_the_page_hears_it_and_takes_it_back() {
    let Some(browser) = Browser::start().unwrap() else {
        println!("skipped: there is no chromium with chromedriver");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(Path::new(PROGRAM), &pictures(folder.path()), 1.0, "").unwrap();
    browser.show_as(1280, 800, "light").unwrap();
    browser.open(&format!("http://{}/", daemon.address)).unwrap();

    let mut before = BTreeSet::new();
    let began = daemon.output().len();
    wait("captions of both pictures", || {
        before.extend(caption(&browser));
        (daemon.output().len() > began + 4 && !before.is_empty()).then_some(())
    })
    .unwrap();
    assert!(before.iter().all(|caption| !caption.contains("collins")), "{before:?}");
    assert_eq!(browser.text("#phase-words"), "Captioning");
    let seen = browser.script("return document.querySelector('#picture').naturalWidth").unwrap();
    assert_eq!(seen, 512);

    browser.point_at("#caption .word:nth-of-type(2)").unwrap();
    wait("where a word looked", || browser.text("#hint").contains("% sure").then_some(())).unwrap();
    assert_eq!(browser.script("return document.querySelector('#heat').hidden").unwrap(), false);
    browser.point_at("#samples-title").unwrap();
    wait("the live picture", || {
        (browser.script("return document.querySelector('#heat').hidden").ok()? == true).then_some(())
    })
    .unwrap();

    browser.type_into("#token", "wrong").unwrap();
    browser.click("#unlock button").unwrap();
    wait("a refusal", || browser.text("#teach-error").contains("does not know this token").then_some(()))
        .unwrap();
    assert!(!browser.complaints().unwrap().is_empty(), "the browser tells of the refusal");
    browser.script("document.querySelector('#token').value = ''").unwrap();
    browser.type_into("#token", &daemon.token().unwrap()).unwrap();
    browser.click("#unlock button").unwrap();

    keep(&browser, "colonel collins in an orange suit");
    browser.click("#adapt").unwrap();
    outcome(&browser, "Not kept: one picture is too few to tell whether calibrating helps; add another.");
    browser.click("#force").unwrap();
    outcome(&browser, "It learned. Calibration 1 is in use.");
    browser.click("#undo").unwrap();
    outcome(&browser, "It captions as it was delivered.");

    keep(&browser, "colonel collins in front of a flag");
    browser.click("#adapt").unwrap();
    let learned = outcome(&browser, "It learned. Calibration 2 is in use.");
    assert!(learned.contains("better, loss per word") && learned.contains("collins"), "{learned}");
    wait("the name", || caption(&browser).filter(|caption| caption.contains("collins"))).unwrap();
    wait("what became of the samples", || browser.text("#samples-list .better").contains("→").then_some(()))
        .unwrap();
    pictures_of_the_page(&browser);

    // What it asks about it knows now; it does not ask again.
    browser.click("#asks-list button[type=button]").unwrap();
    wait("no more questions", || browser.text("#asks").is_empty().then_some(())).unwrap();

    browser.click("#undo").unwrap();
    outcome(&browser, "It captions as it was delivered.");
    wait("what was said before", || caption(&browser).filter(|caption| before.contains(caption))).unwrap();
    browser.click("#samples-list button").unwrap();
    wait("a question", || browser.text("#samples-list button").contains("Really").then_some(())).unwrap();
    browser.click("#samples-list button").unwrap();
    wait("one sample less", || (browser.text("#samples-count") == "1").then_some(())).unwrap();

    let complaints = browser.complaints().unwrap();
    assert!(complaints.is_empty(), "{complaints:?}");
    browser.open(&format!("http://{}/", daemon.address)).unwrap();
    wait("the token is remembered", || browser.text("#unlocked").contains("unlocked").then_some(())).unwrap();
    drop(daemon);
    wait("that the device is gone is told", || browser.text("#lost").contains("lost").then_some(())).unwrap();
}

#[test]
fn a_word_that_went_by_a_thing_shows_its_box() {
    let Some(browser) = Browser::start().unwrap() else {
        println!("skipped: there is no chromium with chromedriver");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let pictures = folder.path().join("pictures");
    std::fs::create_dir(&pictures).unwrap();
    let cat = concat!(env!("CARGO_MANIFEST_DIR"), "/pictures/chelsea.jpg");
    std::fs::copy(cat, pictures.join("a.jpg")).unwrap();
    let daemon = Daemon::start(Path::new(PROGRAM), &pictures, 1.0, "").unwrap();
    browser.show_as(1280, 800, "light").unwrap();
    browser.open(&format!("http://{}/", daemon.address)).unwrap();
    wait("a caption", || caption(&browser)).unwrap();
    browser.script("document.querySelector('#caption .word').click()").unwrap();
    wait("what it went by", || browser.text("#hint").contains("It went by cat").then_some(())).unwrap();
    let yellow = "const heat = document.querySelector('#heat');
        const { data } = heat.getContext('2d').getImageData(0, 0, heat.width, heat.height);
        let count = 0;
        for (let at = 0; at < data.length; at += 4) count += data[at] === 255 && data[at + 1] === 200 && data[at + 2] === 87;
        return count";
    let count = browser.script(yellow).unwrap().as_u64().unwrap();
    assert!(count > 500, "{count}");
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    std::fs::create_dir_all(&folder).unwrap();
    browser.screenshot(&folder.join("box.png")).unwrap();
}

/// For people; and nothing is wider than the narrowest phone.
fn pictures_of_the_page(browser: &Browser) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    std::fs::create_dir_all(&folder).unwrap();
    browser.script("document.querySelector('#caption .word:nth-of-type(2)').click()").unwrap();
    for (name, width, height) in [("narrow", 320, 640), ("phone", 390, 844), ("desktop", 1280, 800)] {
        for colours in ["light", "dark"] {
            browser.show_as(width, height, colours).unwrap();
            let script = "return document.documentElement.scrollWidth";
            wait("the width", || (browser.script(script).ok()? == width).then_some(())).unwrap();
            browser.screenshot(&folder.join(format!("{name}-{colours}.png"))).unwrap();
        }
    }
    browser.script("document.querySelector('#caption .word:nth-of-type(2)').click()").unwrap();
}
