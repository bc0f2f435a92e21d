//! Frames that are dropped, doubled, cut off and frozen, silence, an unplugged cable and a jumping clock, all at once.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use metalens_tests::daemon::LONG;

use super::scene::*;
use super::text;

/// Frames that have to come through.
const FRAMES: f64 = 10_000.0;
/// When memory has settled.
const WARM: f64 = 2_000.0;
/// How long a fault lasts, and how soon after its end there must be a caption.
const FAULT: Duration = Duration::from_millis(300);
const RECOVERY: Duration = Duration::from_secs(2);

#[test]
fn ten_thousand_frames_with_every_fault_at_once() {
    let scene = Scene::new(&PICTURES);
    let expected: HashMap<String, String> = scene.captions(&[]).into_iter().collect();
    let daemon = scene.start(
        "[files]\nrate = 1000\n[caption]\nmin_change = 0\n\
         [faults]\nseed = 11\ndrop = 0.05\nduplicate = 0.05\ntruncate = 0.1\nfreeze = 0.01\n\
         stall = 0.001\nunplug = 0.001\nclock_jump = 0.01\nstall_ms = 300\nunplug_ms = 300\nclock_jump_s = -86400\n",
    );
    let (mut warm, mut captions, mut longest, mut last) = (None, 0, Duration::ZERO, Instant::now());
    loop {
        let line = daemon.caption(LONG).unwrap();
        if captions > 0 {
            longest = longest.max(last.elapsed());
        }
        last = Instant::now();
        captions += 1;
        assert_eq!(text(&line, "caption"), expected[&text(&line, "file")], "of a whole frame, or none");
        if captions % 200 == 0 {
            let captured = daemon.metric("metalens_frames_captured_total").unwrap();
            if captured > WARM && warm.is_none() {
                warm = Some(daemon.resident_kib().unwrap());
            }
            if captured > FRAMES {
                break;
            }
        }
    }
    assert!(longest < FAULT + RECOVERY, "no caption for {longest:?}");
    let grown = daemon.resident_kib().unwrap().saturating_sub(warm.unwrap());
    println!(
        "{captions} captions of {FRAMES} frames, the longest pause {longest:?}, {grown} KiB more than after {WARM} frames"
    );
    assert!(grown < 2048, "{grown} KiB more");
    for (metric, least) in
        [("metalens_errors_total{kind=\"frame\"}", 100.0), ("metalens_errors_total{kind=\"camera\"}", 3.0)]
    {
        let counted = daemon.metric(metric).unwrap();
        assert!(counted >= least, "{metric} {counted}");
    }
}
