//! The command line of the trainer.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    keep_candle_on_the_calling_thread();
    cli::main()
}

/// Work is split over threads by pictures and shards; threads that candle starts for single operations would only get
/// in their way, and these variables are its one setting.
#[allow(unsafe_code)]
fn keep_candle_on_the_calling_thread() {
    for name in ["RAYON_NUM_THREADS", "CANDLE_NUM_THREADS"] {
        // SAFETY: this is the first thing that the program does; no other thread runs yet.
        unsafe { std::env::set_var(name, "1") };
    }
}
