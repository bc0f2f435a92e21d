//! Long work on several threads, with a progress bar.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that counts `what`, with a rate and the time left.
#[must_use]
pub fn bar_style(what: &str) -> ProgressStyle {
    ProgressStyle::with_template(&format!("{{bar:30}} {{pos}}/{{len}} {what}  {{per_sec}}  {{eta}} left"))
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// What a worker makes of each item, in the items' order. `worker` makes one worker a thread.
///
/// # Errors
/// The first of a worker's errors; or when `stop` is set.
pub(crate) fn map<T: Sync, R: Send, W: FnMut(&T) -> anyhow::Result<R>>(
    items: &[T],
    threads: usize,
    what: &str,
    stop: &AtomicBool,
    worker: impl Fn() -> anyhow::Result<W> + Sync,
) -> anyhow::Result<Vec<R>> {
    let bar = ProgressBar::new(items.len() as u64).with_style(bar_style(what));
    let next = AtomicUsize::new(0);
    let work = || -> anyhow::Result<Vec<(usize, R)>> {
        let mut worker = worker()?;
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(place) else { return Ok(done) };
            anyhow::ensure!(!stop.load(Ordering::Relaxed), "interrupted");
            done.push((place, worker(item)?));
            bar.inc(1);
        }
    };
    let done = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads.max(1)).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect::<anyhow::Result<Vec<_>>>()
    })?;
    bar.finish_and_clear();
    let mut done: Vec<(usize, R)> = done.into_iter().flatten().collect();
    done.sort_by_key(|(place, _)| *place);
    Ok(done.into_iter().map(|(_, made)| made).collect())
}
