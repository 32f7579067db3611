//! Whether the HTTP threads answer.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    time::{Instant, timeout_at},
};

/// How long a thread may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// Reaches the HTTP threads from any other. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct HttpThreads(Arc<Vec<(String, Handle)>>);

impl HttpThreads {
    pub(super) fn add(&mut self, name: &str, thread: &Handle) {
        Arc::make_mut(&mut self.0).push((name.to_owned(), thread.clone()));
    }

    /// The names of those that did not take up work within a second. Needs a tokio runtime with time.
    pub async fn silent(&self) -> Vec<String> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        let asked: Vec<_> = self.0.iter().map(|(name, thread)| (name, thread.spawn(async {}))).collect();
        let mut silent = Vec::new();
        for (name, answer) in asked {
            if !matches!(timeout_at(deadline, answer).await, Ok(Ok(()))) {
                silent.push(name.clone());
            }
        }
        silent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_thread_that_is_stuck_and_one_that_has_ended_are_named() {
        let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (serving, stuck, ended) = (runtime(), runtime(), runtime());
        let mut threads = HttpThreads::default();
        for (name, runtime) in [("serving", &serving), ("stuck", &stuck), ("ended", &ended)] {
            threads.add(name, runtime.handle());
        }
        ended.shutdown_background();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let thread = std::thread::spawn(move || serving.block_on(stopped).is_err());
        // Nobody drives the second one.
        assert_eq!(threads.silent().await, ["stuck", "ended"]);
        drop(stop);
        assert!(thread.join().unwrap());
        stuck.shutdown_background();
    }
}
