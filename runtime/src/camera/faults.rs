//! A source that misbehaves on purpose, the same way for the same seed.
//!
//! It wraps any [`FrameSource`], so that what stands above it is tried against everything that cameras do: frames that are
//! dropped, doubled, cut off or frozen, silence, an unplugged cable, and a clock that jumps.

use std::time::{Duration, Instant};

use metalens_firmware_config::{Faults, Probability};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{CameraError, Frame, FrameSource, Next, Pace};

/// How many frames a frozen camera repeats.
const FROZEN: u32 = 10;

/// Injects faults into what another source gives.
pub struct FaultInjector {
    source: Box<dyn FrameSource>,
    faults: Faults,
    random: ChaCha8Rng,
    /// The last frame that came, for what repeats it.
    last: Frame,
    repeats: u32,
    silent_until: Option<Instant>,
    away_until: Option<Instant>,
    /// Seconds by which the clock on the wall is off.
    jumped_s: i64,
}

impl FaultInjector {
    /// Wraps a source.
    #[must_use]
    pub fn new(source: Box<dyn FrameSource>, faults: &Faults) -> Self {
        Self {
            source,
            random: ChaCha8Rng::seed_from_u64(faults.seed),
            faults: faults.clone(),
            last: Frame::default(),
            repeats: 0,
            silent_until: None,
            away_until: None,
            jumped_s: 0,
        }
    }

    fn happens(&mut self, probability: Probability) -> bool {
        self.random.random_bool(probability.get())
    }

    fn away(&self) -> CameraError {
        CameraError::Closed {
            source_name: "faults".to_owned(),
            reason: "unplugged by the fault injector".to_owned(),
        }
    }

    fn repeat(&mut self, frame: &mut Frame) -> Next {
        frame.copy_from(&self.last);
        frame.stamp();
        self.shift(frame);
        Next::Frame
    }

    fn shift(&self, frame: &mut Frame) {
        let by = Duration::from_secs(self.jumped_s.unsigned_abs());
        let shifted = if self.jumped_s < 0 { frame.time.checked_sub(by) } else { frame.time.checked_add(by) };
        frame.time = shifted.unwrap_or(frame.time);
    }
}

fn is_ahead(until: &mut Option<Instant>) -> bool {
    if until.is_some_and(|until| Instant::now() >= until) {
        *until = None;
    }
    until.is_some()
}

impl FrameSource for FaultInjector {
    fn open(&mut self) -> Result<(), CameraError> {
        if is_ahead(&mut self.away_until) {
            return Err(self.away());
        }
        self.source.open()
    }

    fn next(&mut self, frame: &mut Frame, wait: Duration) -> Result<Next, CameraError> {
        if is_ahead(&mut self.silent_until) {
            std::thread::sleep(wait);
            return Ok(Next::NotYet);
        }
        if self.repeats > 0 {
            self.repeats -= 1;
            return Ok(self.repeat(frame));
        }
        let faults = self.faults.clone();
        let next = self.source.next(frame, wait)?;
        if next != Next::Frame {
            return Ok(next);
        }
        if self.happens(faults.unplug) {
            self.away_until = Some(Instant::now() + Duration::from_millis(faults.unplug_ms));
            let reason = "unplugged by the fault injector".to_owned();
            return Err(CameraError::Gone { source_name: "faults".to_owned(), reason });
        }
        if self.happens(faults.stall) {
            self.silent_until = Some(Instant::now() + Duration::from_millis(faults.stall_ms));
            return Ok(Next::NotYet);
        }
        if self.happens(faults.drop) {
            return Ok(Next::NotYet);
        }
        if self.happens(faults.clock_jump) {
            self.jumped_s = if self.jumped_s == 0 { faults.clock_jump_s } else { 0 };
        }
        self.shift(frame);
        self.last.copy_from(frame);
        if self.happens(faults.duplicate) {
            self.repeats = 1;
        }
        if self.happens(faults.freeze) {
            self.repeats = FROZEN;
        }
        if self.happens(faults.truncate) {
            let half = frame.data.len() / 2;
            frame.data.truncate(half);
        }
        Ok(Next::Frame)
    }

    fn lost(&mut self) -> u64 {
        self.source.lost()
    }

    fn pace(&self) -> Pace {
        self.source.pace()
    }

    fn patience(&self) -> Option<Duration> {
        self.source.patience()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    /// Frame n has 8 bytes of n.
    struct Counting(u8);

    impl FrameSource for Counting {
        fn open(&mut self) -> Result<(), CameraError> {
            Ok(())
        }

        fn next(&mut self, frame: &mut Frame, _: Duration) -> Result<Next, CameraError> {
            self.0 = self.0.wrapping_add(1);
            frame.data = vec![self.0; 8];
            frame.time = UNIX_EPOCH + Duration::from_secs(1_000_000);
            Ok(Next::Frame)
        }

        fn patience(&self) -> Option<Duration> {
            None
        }
    }

    fn injector(faults: Faults) -> FaultInjector {
        FaultInjector::new(Box::new(Counting(0)), &faults)
    }

    fn always() -> Probability {
        Probability::new(1.0).unwrap()
    }

    fn next(injector: &mut FaultInjector) -> (Result<Next, CameraError>, Frame) {
        let mut frame = Frame::default();
        (injector.next(&mut frame, Duration::from_millis(1)), frame)
    }

    #[test]
    fn without_faults_frames_pass() {
        let mut injector = injector(Faults::default());
        let bytes: Vec<u8> = (0..5).map(|_| next(&mut injector).1.data[0]).collect();
        assert_eq!(bytes, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn frames_are_doubled_frozen_cut_and_dropped() {
        let firsts = |faults: Faults, count: usize| -> Vec<u8> {
            let mut injector = injector(faults);
            (0..count).map(|_| next(&mut injector).1.data[0]).collect()
        };
        assert_eq!(firsts(Faults { duplicate: always(), ..Faults::default() }, 4), [1, 1, 2, 2]);
        assert_eq!(
            firsts(Faults { freeze: always(), ..Faults::default() }, 12),
            [[1; 11].as_slice(), &[2]].concat()
        );
        let (_, frame) = next(&mut injector(Faults { truncate: always(), ..Faults::default() }));
        assert_eq!(frame.data, [1; 4]);
        let (dropped, _) = next(&mut injector(Faults { drop: always(), ..Faults::default() }));
        assert_eq!(dropped.unwrap(), Next::NotYet);
    }

    #[test]
    fn an_unplugged_camera_comes_back_after_its_time() {
        let faults = Faults { unplug: always(), unplug_ms: 30, ..Faults::default() };
        let mut injector = injector(faults);
        assert!(matches!(next(&mut injector).0, Err(CameraError::Gone { .. })));
        assert!(matches!(injector.open(), Err(CameraError::Closed { .. })));
        std::thread::sleep(Duration::from_millis(40));
        injector.open().unwrap();
    }

    #[test]
    fn a_stall_is_silence_for_its_time() {
        let mut injector = injector(Faults { stall: always(), stall_ms: 30, ..Faults::default() });
        for _ in 0..3 {
            assert_eq!(next(&mut injector).0.unwrap(), Next::NotYet);
        }
        injector.faults.stall = Probability::default();
        std::thread::sleep(Duration::from_millis(40));
        assert_eq!(next(&mut injector).0.unwrap(), Next::Frame);
    }

    #[test]
    fn the_clock_jumps_and_jumps_back() {
        let mut injector =
            injector(Faults { clock_jump: always(), clock_jump_s: -86_400, ..Faults::default() });
        let seconds: Vec<u64> = (0..3)
            .map(|_| next(&mut injector).1.time.duration_since(UNIX_EPOCH).unwrap().as_secs())
            .collect();
        assert_eq!(seconds, [913_600, 1_000_000, 913_600]);
    }

    #[test]
    fn the_same_seed_makes_the_same_faults() {
        let some = Probability::new(0.3).unwrap();
        let faults = Faults { seed: 7, drop: some, duplicate: some, truncate: some, ..Faults::default() };
        let run = |faults: &Faults| -> Vec<Vec<u8>> {
            let mut injector = injector(faults.clone());
            (0..50).map(|_| next(&mut injector).1.data).collect()
        };
        assert_eq!(run(&faults), run(&faults));
        assert_ne!(run(&faults), run(&Faults { seed: 8, ..faults }));
    }
}
