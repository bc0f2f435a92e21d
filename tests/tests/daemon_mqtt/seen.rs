//! What another thread hears, and waiting for it.

use std::fmt::Debug;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use metalens_tests::daemon::LONG;

/// A list that another thread adds to.
#[derive(Clone)]
pub struct Seen<T>(Arc<(Mutex<Vec<T>>, Condvar)>);

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Clone + Debug> Seen<T> {
    pub fn push(&self, value: T) {
        self.0.0.lock().unwrap().push(value);
        self.0.1.notify_all();
    }

    pub fn all(&self) -> Vec<T> {
        self.0.0.lock().unwrap().clone()
    }

    pub fn len(&self) -> usize {
        self.0.0.lock().unwrap().len()
    }

    /// Waits until something is found in the list.
    pub fn wait<R>(&self, what: &str, find: impl Fn(&[T]) -> Option<R>) -> R {
        let deadline = Instant::now() + LONG;
        let (list, grows) = &*self.0;
        let mut list = list.lock().unwrap();
        loop {
            if let Some(found) = find(&list) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain for {what}; there was {list:#?}");
            list = grows.wait_timeout(list, left).unwrap().0;
        }
    }
}
