//! Hands the latest frame from the thread that captures to the thread that captions.
//!
//! Three frames go round: one is being filled, one waits, one is being looked at. Whoever has filled one swaps it with
//! the one that waits, by a single atomic exchange; so does whoever wants to look. Neither waits for the other, nothing is
//! copied or allocated, and a frame that was never looked at is used again: it is dropped. (The frames' mutexes are never
//! contended, since the exchange gives each frame one owner; they make that plain to the compiler.)

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::camera::Frame;

/// Set beside the number of the frame that waits, when nobody has looked at it.
const FRESH: u8 = 0b100;
const NUMBER: u8 = 0b011;

/// What both sides share.
struct Slot {
    frames: [Mutex<Frame>; 3],
    /// The frame that waits.
    waiting: AtomicU8,
    /// No more frames will come.
    closed: AtomicBool,
    /// The side that looks has nothing to look at.
    idle: AtomicBool,
    looker: OnceLock<Thread>,
    filler: OnceLock<Thread>,
}

impl Slot {
    fn frame(&self, number: u8) -> MutexGuard<'_, Frame> {
        self.frames[usize::from(number)].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The side that fills frames.
pub struct Filler {
    slot: Arc<Slot>,
    mine: u8,
}

/// The side that looks at frames.
pub struct Looker {
    slot: Arc<Slot>,
    mine: u8,
}

/// What there is to look at.
pub enum Latest<'a> {
    /// The newest frame.
    Frame(MutexGuard<'a, Frame>),
    /// None came within the time.
    NotYet,
    /// None will come any more.
    Closed,
}

/// Both sides of a new slot.
#[must_use]
pub fn slot() -> (Filler, Looker) {
    let slot = Arc::new(Slot {
        frames: Default::default(),
        waiting: AtomicU8::new(1),
        closed: AtomicBool::new(false),
        idle: AtomicBool::new(false),
        looker: OnceLock::new(),
        filler: OnceLock::new(),
    });
    (Filler { slot: slot.clone(), mine: 0 }, Looker { slot, mine: 2 })
}

impl Filler {
    /// The frame to fill.
    pub fn frame(&mut self) -> MutexGuard<'_, Frame> {
        self.slot.frame(self.mine)
    }

    /// Hands over the frame that was filled; whether one was dropped for it.
    pub fn publish(&mut self) -> bool {
        // Before the frame, so that whoever takes it finds himself busy.
        self.slot.idle.store(false, Ordering::Release);
        let before = self.slot.waiting.swap(self.mine | FRESH, Ordering::AcqRel);
        self.mine = before & NUMBER;
        self.wake();
        before & FRESH != 0
    }

    /// Waits until the other side has nothing to look at, for at most `wait`; whether that is so.
    pub fn wait_until_idle(&self, wait: Duration) -> bool {
        self.slot.filler.get_or_init(thread::current);
        let deadline = Instant::now() + wait;
        loop {
            if self.slot.idle.load(Ordering::Acquire) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            thread::park_timeout(left);
        }
    }

    fn wake(&self) {
        if let Some(looker) = self.slot.looker.get() {
            looker.unpark();
        }
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        self.slot.closed.store(true, Ordering::Release);
        self.wake();
    }
}

impl Looker {
    /// The newest frame that was not looked at yet; waits for it for at most `wait`.
    pub fn latest(&mut self, wait: Duration) -> Latest<'_> {
        self.slot.looker.get_or_init(thread::current);
        let deadline = Instant::now() + wait;
        loop {
            // In this order: a frame that is handed over before the slot is closed is seen.
            let closed = self.slot.closed.load(Ordering::Acquire);
            if self.slot.waiting.load(Ordering::Acquire) & FRESH != 0 {
                self.slot.idle.store(false, Ordering::Release);
                self.mine = self.slot.waiting.swap(self.mine, Ordering::AcqRel) & NUMBER;
                return Latest::Frame(self.slot.frame(self.mine));
            }
            if closed {
                return Latest::Closed;
            }
            self.rest();
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Latest::NotYet;
            }
            thread::park_timeout(left);
        }
    }

    /// Says that there is nothing to look at, unless a frame came meanwhile.
    fn rest(&self) {
        self.slot.idle.store(true, Ordering::SeqCst);
        if let Some(filler) = self.slot.filler.get() {
            filler.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(5);

    fn put(filler: &mut Filler, sequence: u64) -> bool {
        filler.frame().sequence = sequence;
        filler.publish()
    }

    fn take(looker: &mut Looker) -> Option<u64> {
        match looker.latest(Duration::ZERO) {
            Latest::Frame(frame) => Some(frame.sequence),
            Latest::NotYet | Latest::Closed => None,
        }
    }

    #[test]
    fn the_newest_frame_is_taken_once_and_those_before_it_are_dropped() {
        let (mut filler, mut looker) = slot();
        assert_eq!(take(&mut looker), None);
        assert_eq!([1, 2, 3].map(|sequence| put(&mut filler, sequence)), [false, true, true]);
        assert_eq!([take(&mut looker), take(&mut looker)], [Some(3), None]);
        assert!(!put(&mut filler, 4));
        assert_eq!(take(&mut looker), Some(4));
    }

    #[test]
    fn what_was_handed_over_is_seen_before_the_end() {
        let (mut filler, mut looker) = slot();
        put(&mut filler, 1);
        drop(filler);
        assert_eq!(take(&mut looker), Some(1));
        assert!(matches!(looker.latest(SECOND), Latest::Closed));
    }

    #[test]
    fn a_replay_loses_nothing() {
        let (mut filler, mut looker) = slot();
        let reading = thread::spawn(move || {
            let mut seen = Vec::new();
            while let Latest::Frame(frame) = looker.latest(SECOND) {
                seen.push(frame.sequence);
            }
            seen
        });
        for sequence in 1..=2000 {
            assert!(filler.wait_until_idle(SECOND));
            assert!(!put(&mut filler, sequence), "{sequence} was put upon one that nobody had seen");
        }
        drop(filler);
        assert_eq!(reading.join().ok(), Some((1..=2000).collect()));
    }

    #[test]
    fn live_frames_come_in_order_and_whole() {
        let (mut filler, mut looker) = slot();
        let writing = thread::spawn(move || {
            let mut dropped = 0;
            for sequence in 1..=20_000_u64 {
                let mut frame = filler.frame();
                frame.sequence = sequence;
                frame.data.clear();
                frame.data.extend([sequence as u8; 64]);
                drop(frame);
                dropped += u64::from(filler.publish());
            }
            dropped
        });
        let (mut last, mut seen) = (0, 0);
        while let Latest::Frame(frame) = looker.latest(SECOND) {
            assert!(frame.sequence > last);
            assert!(frame.data.iter().all(|&byte| byte == frame.sequence as u8), "torn");
            (last, seen) = (frame.sequence, seen + 1);
        }
        assert_eq!((last, Some(20_000 - seen)), (20_000, writing.join().ok()));
    }
}
