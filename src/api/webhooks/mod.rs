//! Webhooks: tells the backend what happened, at least once, in order where it matters.
//!
//! Runs in a thread of its own, so that a slow backend holds up nobody.

mod counters;
mod dispatch;
mod lanes;
mod post;
mod turn;

use std::{io, sync::Arc, thread::JoinHandle};

use tokio::sync::watch;

pub use counters::WebhookFigures;

use self::{counters::Counters, dispatch::Dispatch};
use super::service::{Service, unix_millis};
use crate::{cluster::Cluster, config::Webhooks};

/// The name of the thread, as debuggers and panics show it.
const THREAD: &str = "iceway-webhooks";

/// What the thread shares with the endpoints.
pub(super) struct Handle {
    settings: watch::Sender<Arc<Webhooks>>,
    ending: watch::Sender<bool>,
    counters: Counters,
}

/// The thread that delivers. Dropping it waits for what can still be delivered, for at most three seconds.
pub struct WebhookSender {
    handle: Arc<Handle>,
    thread: Option<JoinHandle<()>>,
}

impl Handle {
    pub(super) fn new(webhooks: &Webhooks) -> Arc<Self> {
        Arc::new(Self {
            settings: watch::Sender::new(Arc::new(webhooks.clone())),
            ending: watch::Sender::new(false),
            counters: Counters::default(),
        })
    }

    /// Delivers as configured from now on. A receiver that did not want to hear anything is asked again.
    pub(super) fn reload(&self, webhooks: &Webhooks) {
        self.settings.send_replace(Arc::new(webhooks.clone()));
    }

    /// Has what waits tried at once.
    pub(super) fn retry(&self) {
        self.settings.send_modify(|_| {});
    }

    pub(super) fn note_dead(&self, dead: u64) {
        self.counters.dead.store(dead, std::sync::atomic::Ordering::Relaxed);
    }

    pub(super) fn figures(&self) -> WebhookFigures {
        self.counters.figures(unix_millis())
    }
}

/// Begins to deliver what waits.
///
/// # Errors
/// The system gives no thread.
pub fn deliver(service: &Service) -> io::Result<WebhookSender> {
    WebhookSender::start(service.cluster.clone(), Arc::clone(&service.webhooks))
}

impl WebhookSender {
    /// Delivers what waits in a cluster without a relay.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn of(cluster: Cluster, webhooks: &Webhooks) -> io::Result<Self> {
        Self::start(cluster, Handle::new(webhooks))
    }

    /// Delivers as configured from now on.
    pub fn reload(&self, webhooks: &Webhooks) {
        self.handle.reload(webhooks);
    }

    /// What happened to deliveries so far.
    #[must_use]
    pub fn figures(&self) -> WebhookFigures {
        self.handle.figures()
    }

    fn start(cluster: Cluster, handle: Arc<Handle>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let dispatch = Dispatch::new(cluster, Arc::clone(&handle));
        let thread = std::thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || runtime.block_on(dispatch.run()))?;
        Ok(Self { handle, thread: Some(thread) })
    }
}

impl Drop for WebhookSender {
    fn drop(&mut self) {
        self.handle.ending.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(thread = THREAD, "Ended in a panic.");
        }
    }
}
