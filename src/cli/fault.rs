//! Noticing that a thread panicked without which the process is not whole.

use std::{
    sync::{Arc, OnceLock},
    thread,
};

use tokio::sync::Notify;

/// The threads that must not panic; relay threads are watched by their channels.
const WATCHED: [&str; 2] = [super::control::THREAD, "iceway-store"];

/// Tells when one of the watched threads panics.
pub(super) struct Fault {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    thread: OnceLock<String>,
    happened: Notify,
}

impl Fault {
    /// Watches from now on, until the process ends. What panics say goes where it went before.
    pub(super) fn watch() -> Self {
        Self::watch_threads(&WATCHED)
    }

    fn watch_threads(watched: &'static [&str]) -> Self {
        let shared = Arc::new(Shared::default());
        let told = Arc::clone(&shared);
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            before(panic);
            let name = thread::current().name().unwrap_or_default().to_owned();
            // Also where a task panics and the runtime of the thread goes on without it.
            if watched.contains(&name.as_str()) {
                let _is_first = told.thread.set(name);
                told.happened.notify_one();
            }
        }));
        Self { shared }
    }

    /// Waits until one panics, and names it.
    pub(super) async fn happened(&self) -> &str {
        self.shared.happened.notified().await;
        self.shared.thread.get().map_or("?", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_panics_in_a_watched_thread_is_noticed() {
        let fault = Fault::watch_threads(&["watched-by-a-test"]);
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let thread = thread::Builder::new().name("watched-by-a-test".to_owned());
        let run =
            move || runtime().block_on(async { tokio::spawn(async { panic!("on purpose") }).await.is_err() });
        assert!(thread.spawn(run).unwrap().join().unwrap());
        assert_eq!(runtime().block_on(fault.happened()), "watched-by-a-test");
    }
}
