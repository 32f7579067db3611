//! What the subscriptions bring, until it is read.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use redis::{PushInfo, PushKind, Value, aio::SendError};
use tokio::sync::mpsc;

use super::{counters::Counters, frame::FRAME_BYTES_MAX};

/// Messages that may wait to be read. More are dropped; what was in them is asked for again.
const MESSAGES_MAX: usize = 8192;
/// Their bytes together.
const BYTES_MAX: usize = 64 << 20;
/// About what a message takes beside its bytes.
const OVERHEAD: usize = 256;

/// What waits.
pub(super) struct Pushes {
    waiting: mpsc::Receiver<PushInfo>,
    bytes: Arc<AtomicUsize>,
}

impl Pushes {
    /// The next one; `None` when the connection is no more.
    pub(super) async fn recv(&mut self) -> Option<PushInfo> {
        let push = self.waiting.recv().await?;
        self.bytes.fetch_sub(size(&push), Ordering::Relaxed);
        Some(push)
    }
}

/// What takes messages from the connection, and where they are read.
pub(super) fn pushes(
    counters: &Arc<Counters>,
) -> (impl Fn(PushInfo) -> Result<(), SendError> + Send + Sync + 'static, Pushes) {
    let (sender, waiting) = mpsc::channel(MESSAGES_MAX);
    let bytes = Arc::new(AtomicUsize::new(0));
    let (counters, held) = (Arc::clone(counters), Arc::clone(&bytes));
    let take = move |push: PushInfo| {
        // A connection must not break because nobody reads fast enough.
        if is_wanted(&push.kind) && !hold(&sender, &held, push) {
            Counters::add(&counters.frames_dropped);
        }
        Ok(())
    };
    (take, Pushes { waiting, bytes })
}

/// Lets it wait; `false` if there is no room.
fn hold(sender: &mpsc::Sender<PushInfo>, held: &AtomicUsize, push: PushInfo) -> bool {
    let size = size(&push);
    let is_end = push.kind == PushKind::Disconnection;
    let before = held.fetch_add(size, Ordering::Relaxed);
    let fits = size <= FRAME_BYTES_MAX + 2 * OVERHEAD && before + size <= BYTES_MAX;
    let is_held = (fits || is_end) && sender.try_send(push).is_ok();
    if !is_held {
        held.fetch_sub(size, Ordering::Relaxed);
    }
    is_held
}

fn is_wanted(kind: &PushKind) -> bool {
    matches!(kind, PushKind::Message | PushKind::SMessage | PushKind::Disconnection)
}

fn size(push: &PushInfo) -> usize {
    let text = |value: &Value| {
        // No message has a part of another kind.
        if let Value::BulkString(bytes) = value { bytes.len() } else { FRAME_BYTES_MAX }
    };
    OVERHEAD + push.data.iter().map(text).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: usize) -> PushInfo {
        let data = vec![Value::BulkString(b"c".to_vec()), Value::BulkString(vec![0; bytes])];
        PushInfo { kind: PushKind::Message, data }
    }

    #[tokio::test]
    async fn what_waits_is_bounded_in_bytes() {
        let counters = Arc::new(Counters::default());
        let (take, mut pushes) = pushes(&counters);
        for _ in 0..30 {
            take(message(4 << 20)).unwrap();
        }
        take(message(5 << 20)).unwrap();
        take(PushInfo { kind: PushKind::Subscribe, data: vec![] }).unwrap();
        assert_eq!(
            Counters::get(&counters.frames_dropped),
            16,
            "the sixteenth exceeds 64 MiB with its overhead"
        );
        for _ in 0..15 {
            assert_eq!(pushes.recv().await.unwrap().kind, PushKind::Message);
        }
        assert_eq!(pushes.bytes.load(Ordering::Relaxed), 0);
        take(message(4 << 20)).unwrap();
        assert!(pushes.recv().await.is_some());
    }
}
