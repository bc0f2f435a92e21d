//! The thread that captures: it fills the slot, finds a lost camera again, and never waits for a caption.

use std::time::{Duration, Instant};

use super::health::CameraHealth;
use super::hub::Hub;
use super::metrics::Kind;
use super::slot::Filler;
use crate::camera::{CameraError, FrameSource, Next, Pace};

/// For how long nothing else is looked at, such as a stop.
const PATIENCE: Duration = Duration::from_millis(100);

/// The first wait before a lost camera is opened again; each further one is twice as long, up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Captures until the daemon stops or the source ends.
///
/// # Errors
/// When the source can never have a frame.
pub fn capture(source: &mut dyn FrameSource, mut filler: Filler, hub: &Hub) -> Result<(), CameraError> {
    let mut sequence = 0;
    'open: while reopen(source, hub)? {
        let mut last = Instant::now();
        while !hub.stopping() {
            hub.pulse.capture();
            if source.pace() == Pace::Replay && !filler.wait_until_idle(PATIENCE) {
                last = Instant::now();
                continue;
            }
            let mut frame = filler.frame();
            let next = source.next(&mut frame, PATIENCE);
            hub.metrics.lost.inc_by(source.lost());
            match next {
                Ok(Next::Frame) => {
                    sequence += 1;
                    frame.sequence = sequence;
                    drop(frame);
                    if filler.publish() {
                        hub.metrics.dropped.inc();
                    }
                    hub.metrics.captured.inc();
                    last = Instant::now();
                    hub.camera(CameraHealth::Open);
                }
                Ok(Next::NotYet) => {
                    if source.patience().is_some_and(|patience| last.elapsed() > patience) {
                        lost(hub, &format!("no frame for {:.1} s", last.elapsed().as_secs_f32()));
                        continue 'open;
                    }
                }
                Ok(Next::Ended) => {
                    hub.camera(CameraHealth::Ended);
                    return Ok(());
                }
                Err(error @ CameraError::Unreadable { .. }) => {
                    hub.metrics.error(Kind::frame);
                    tracing::warn!("{error}");
                }
                Err(error @ CameraError::Impossible { .. }) => return Err(error),
                Err(error) => {
                    lost(hub, &error.to_string());
                    continue 'open;
                }
            }
        }
        break;
    }
    Ok(())
}

/// Opens the source, however often that takes; whether it is open, and not the daemon about to stop.
fn reopen(source: &mut dyn FrameSource, hub: &Hub) -> Result<bool, CameraError> {
    let mut wait = FIRST_WAIT;
    while !hub.stopping() {
        hub.pulse.capture();
        match source.open() {
            Ok(()) => return Ok(true),
            Err(error @ CameraError::Impossible { .. }) => return Err(error),
            Err(error) => lost(hub, &error.to_string()),
        }
        let until = Instant::now() + wait;
        while Instant::now() < until && !hub.stopping() {
            std::thread::sleep(PATIENCE.min(until.saturating_duration_since(Instant::now())));
        }
        wait = (2 * wait).min(LONGEST_WAIT);
    }
    Ok(false)
}

/// Told once, however long the camera is away.
fn lost(hub: &Hub, reason: &str) {
    hub.metrics.error(Kind::camera);
    if hub.camera(CameraHealth::Missing) {
        tracing::warn!("the camera is lost and looked for: {reason}");
    }
}
