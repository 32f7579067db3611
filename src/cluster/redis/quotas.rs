//! How many allocations users hold on which node: told when it changes, told again to nodes that missed it.

use std::time::Duration;

use super::{frame::Message, shared::Shared};

/// Changes are gathered for so long.
const GATHERED: Duration = Duration::from_millis(50);
/// Users in one message.
const BATCH: usize = 2000;

/// Tells all nodes what changes, for as long as the connection lasts.
pub(super) async fn exchange(shared: &Shared) -> String {
    if let Some(host) = shared.host() {
        let quotas = host.quotas();
        // What changed while nobody could be told is in the whole, too.
        drop(quotas.take_changes());
        for message in whole(quotas.all()) {
            shared.tell_all(message);
        }
    }
    loop {
        tokio::time::sleep(GATHERED).await;
        let Some(host) = shared.host() else { continue };
        let changes = host.quotas().take_changes();
        for part in changes.chunks(BATCH) {
            let counts = part.iter().map(|(user, count)| (user.to_string(), *count)).collect();
            shared.tell_all(Message::Quotas { is_first: false, counts });
        }
    }
}

/// Tells one node everything.
pub(super) fn tell(shared: &Shared, node: &str, incarnation: u64) {
    let Some(host) = shared.host() else { return };
    for message in whole(host.quotas().all()) {
        shared.tell(node, incarnation, message);
    }
}

fn whole(all: Vec<(std::sync::Arc<str>, u32)>) -> Vec<Message> {
    if all.is_empty() {
        return vec![Message::Quotas { is_first: true, counts: Vec::new() }];
    }
    all.chunks(BATCH)
        .enumerate()
        .map(|(index, part)| {
            let counts = part.iter().map(|(user, count)| (user.to_string(), *count)).collect();
            Message::Quotas { is_first: index == 0, counts }
        })
        .collect()
}
