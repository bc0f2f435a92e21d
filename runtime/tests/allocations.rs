//! Capturing and decoding raw frames take no memory per frame once they are warm, and resizing takes the same little for each: the
//! resizer's library computes its weights anew, a short list for every row and column of the result.
#![allow(clippy::unwrap_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use metalens::camera::{CommandSource, Decoder, Frame, FrameSource, Next};
use metalens::vision::Preprocessor;
use metalens_firmware_config::Config;
use metalens_models::Preprocessing;

/// Counts what each thread allocates.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: everything is left to the system's allocator; counting touches a thread-local number that needs no memory.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as this function's own.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as this function's own.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as this function's own.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Warms up, and counts what `count` more rounds take.
fn allocations(count: usize, mut round: impl FnMut()) -> u64 {
    (0..20).for_each(|_| round());
    let before = ALLOCATIONS.get();
    (0..count).for_each(|_| round());
    ALLOCATIONS.get() - before
}

fn source(command: &str, format: &str) -> CommandSource {
    let config = format!("source = \"command:x\"\nstate = \"s\"\n[command]\n{format}");
    let mut source = CommandSource::new(command, &Config::parse(&config).unwrap());
    source.open().unwrap();
    source
}

fn next(source: &mut CommandSource, frame: &mut Frame) {
    while source.next(frame, Duration::from_secs(9)).unwrap() != Next::Frame {}
}

#[test]
fn raw_frames_take_no_memory_to_capture_and_decode() {
    let mut source = source("cat /dev/zero", "format = \"yuv420\"\nwidth = 640\nheight = 480\n");
    let (mut frame, mut decoder) = (Frame::default(), Decoder::default());
    let taken = allocations(200, || {
        next(&mut source, &mut frame);
        assert_eq!(decoder.decode(&frame).unwrap().dimensions(), (640, 480));
    });
    assert_eq!(taken, 0);
}

#[test]
fn encoded_frames_take_no_memory_to_capture() {
    let hopper = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/pictures/hopper.jpg");
    let mut source = source(&format!("while cat {hopper}; do :; done"), "format = \"mjpeg\"\n");
    let mut frame = Frame::default();
    assert_eq!(allocations(200, || next(&mut source, &mut frame)), 0);
}

#[test]
fn resizing_takes_a_list_for_every_row_and_column_and_no_more() {
    let preprocessing = Preprocessing { width: 64, height: 64, mean: [127.0; 3], std: [128.0; 3] };
    let mut preprocessor = Preprocessor::new(preprocessing);
    let picture = image::RgbImage::new(640, 480);
    let taken = allocations(100, || assert_eq!(preprocessor.run(&picture).len(), 3 * 64 * 64));
    assert!(taken <= 100 * (64 + 64 + 16), "{taken}");
    let same = image::RgbImage::new(64, 64);
    assert_eq!(allocations(100, || assert!(!preprocessor.run(&same).is_empty())), 0);
}
