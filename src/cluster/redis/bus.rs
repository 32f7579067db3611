//! The bus: messages to all nodes and to one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use redis::{PushKind, RedisError, Value};
use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    commands::Commands,
    counters::Counters,
    frame::{self, Destination, Header, Message, Unknown},
    keys,
    pushes::Pushes,
    registry::{Admitted, Refused},
    seal::Sealer,
    shared::{Shared, lock, started_millis},
    signals,
};
use crate::{
    cluster::{Ask, clock::unix_millis},
    telemetry::{Seldom, uptime},
};

/// Messages that go out with one round trip.
const BATCH: usize = 64;
/// Questions of other nodes that are worked on at once; more are left unanswered.
const HANDLED_MAX: usize = 256;

/// What mends clocks that differ or were wrong.
const CLOCKS_MEND: &str = "let chrony or systemd-timesyncd set the clock of every node (timedatectl)";

/// Counts what this run of this node has sent.
#[derive(Default)]
pub(super) struct Sent {
    frames: AtomicU64,
    broadcasts: AtomicU64,
}

/// Seals and sends what waits, in order, for as long as the connection lasts. Answers why it no longer does.
pub(super) async fn send(shared: &Shared, commands: &Commands, sent: &Sent) -> String {
    loop {
        if let Err(error) = send_waiting(shared, commands, sent).await {
            return format!("messages cannot be sent: {error}");
        }
        shared.outbox.wake.notified().await;
    }
}

/// Sends what waits now.
pub(super) async fn send_waiting(
    shared: &Shared,
    commands: &Commands,
    sent: &Sent,
) -> Result<(), RedisError> {
    loop {
        let batch = shared.outbox.take(BATCH);
        if batch.is_empty() {
            return Ok(());
        }
        let frames: Vec<(String, Vec<u8>)> =
            batch.iter().filter_map(|(to, message)| seal(shared, sent, to, message)).collect();
        let answers = join_all(frames.iter().map(|(channel, frame)| commands.publish(channel, frame))).await;
        if let Some(error) = answers.into_iter().find_map(Result::err) {
            return Err(error);
        }
    }
}

/// The channel and the frame of a message.
fn seal(shared: &Shared, sent: &Sent, to: &Destination, message: &Message) -> Option<(String, Vec<u8>)> {
    let (channel, broadcast) = match to {
        Destination::All => (keys::BUS.to_owned(), sent.broadcasts.fetch_add(1, Ordering::Relaxed) + 1),
        Destination::One(node, _) => (keys::channel(node), 0),
    };
    let header = Header {
        source: shared.own.id.clone(),
        incarnation: shared.own.incarnation,
        sequence: sent.frames.fetch_add(1, Ordering::Relaxed) + 1,
        broadcast,
        sent: unix_millis(),
    };
    Some((channel, frame::write(&shared.frame_sealer, &header, to, message)?))
}

/// Takes what the subscriptions bring, for as long as they last. Answers why they no longer do.
pub(super) async fn receive(shared: &Arc<Shared>, pushes: &mut Pushes) -> String {
    let slots = Arc::new(Semaphore::new(HANDLED_MAX));
    let mut handled = JoinSet::new();
    loop {
        let push = tokio::select! {
            push = pushes.recv() => push,
            Some(_) = handled.join_next() => continue,
        };
        let Some(push) = push else { return "the connection for messages ended".to_owned() };
        if push.kind == PushKind::Disconnection {
            return "the connection for messages broke".to_owned();
        }
        if !matches!(push.kind, PushKind::Message | PushKind::SMessage) {
            continue;
        }
        let [Value::BulkString(channel), Value::BulkString(frame)] = push.data.as_slice() else { continue };
        if channel != keys::BUS.as_bytes() && signals::take(shared, frame) {
            continue;
        }
        let Some((header, message, is_new)) = open(shared, channel, frame) else {
            Counters::add(&shared.counters.frames_refused);
            continue;
        };
        if is_new {
            shared.tell(&header.source, header.incarnation, Message::TellQuotas);
        }
        take(shared, &header, message, &slots, &mut handled);
    }
}

/// The message of a frame that may be believed, and whether its sender must be asked for what was missed.
fn open(shared: &Shared, channel: &[u8], frame: &[u8]) -> Option<(Header, Message, bool)> {
    let (header, bytes, sealed) = Header::read(frame)?;
    let to = if channel == keys::BUS.as_bytes() {
        Destination::All
    } else {
        Destination::One(shared.own.id.clone(), shared.own.incarnation)
    };
    let sealer = shared.registry.sealer(&shared.keys, &header.source, header.incarnation);
    let message = frame::open(&sealer, bytes, sealed, &to)?;
    if header.source == shared.own.id {
        return is_own(shared, &header, &message).then_some((header, message, false));
    }
    let mut judged = shared.registry.admit(&header, &sealer, unix_millis());
    if judged == Err(Refused::Unproved) && is_proved(shared, &header, &message, &sealer) {
        judged = shared.registry.admit(&header, &sealer, unix_millis());
        judged = judged.map(|admitted| Admitted { is_new: true, ..admitted });
    }
    match judged {
        Ok(admitted) => {
            if admitted.is_new {
                forget(shared, &header.source);
            }
            if admitted.has_gap {
                shared.compare_rows();
            }
            Some((header, message, admitted.is_new || admitted.has_gap))
        }
        Err(refused) => {
            refuse(&header, refused);
            None
        }
    }
}

/// Whether a run with a lower number than one before answers what it was just asked: then it is the one that goes on,
/// started when its clock had gone back, and nothing that is played again. If it was not asked yet, it is.
fn is_proved(shared: &Shared, header: &Header, message: &Message, sealer: &Arc<Sealer>) -> bool {
    static BEHIND: Seldom = Seldom::new(Duration::from_secs(60));
    let answered = match message {
        Message::Reply { id, .. } | Message::NotUnderstood { id } | Message::Unknown(Unknown::Reply(id)) => {
            Some(*id)
        }
        Message::Heartbeat(_)
        | Message::Leave
        | Message::Rows { .. }
        | Message::Quotas { .. }
        | Message::TellQuotas
        | Message::Events(_)
        | Message::Request { .. }
        | Message::Unknown(Unknown::Request(_) | Unknown::Other) => None,
    };
    if let Some(before) = answered.and_then(|id| shared.registry.prove(header, id, sealer)) {
        if BEHIND.permit(uptime()).is_some() {
            tracing::warn!(
                node = %header.source,
                seconds = started_millis(before).saturating_sub(started_millis(header.incarnation)) / 1000,
                mend = CLOCKS_MEND,
                "A node was started with a clock behind the one it was started with before; it has proved that it is \
                 there now, and is heard."
            );
        }
        return true;
    }
    let question = shared.questions.number();
    if shared.registry.doubt(header, question) {
        // Any question would do: this one changes nothing.
        let ask = Ask::Apply(Vec::new());
        shared.tell(&header.source, header.incarnation, Message::Request { id: question, ask });
    }
    false
}

/// What this node sent itself: it proves the bus. What another process sends in its name is a mistake. Answers whether
/// it was this process.
fn is_own(shared: &Shared, header: &Header, message: &Message) -> bool {
    static TWICE: Seldom = Seldom::new(Duration::from_secs(60));
    if header.incarnation == shared.own.incarnation {
        if let Message::Heartbeat(_) = message {
            *lock(&shared.proved) = Some(Instant::now());
            shared.proved_wake.notify_one();
        }
        return true;
    }
    if header.sent > shared.own.told && TWICE.permit(uptime()).is_some() {
        tracing::error!(node = %header.source, "Another process uses the name of this node; give each its own node.id.");
    }
    false
}

fn refuse(header: &Header, refused: Refused) {
    static CLOCKS: Seldom = Seldom::new(Duration::from_secs(60));
    if refused == Refused::Clock && CLOCKS.permit(uptime()).is_some() {
        let seconds = (unix_millis().abs_diff(header.sent)) / 1000;
        tracing::warn!(
            node = %header.source,
            seconds,
            mend = CLOCKS_MEND,
            "A message was refused for its age: it was played again, or the clocks of the two nodes differ."
        );
    }
}

/// Forgets what a node held.
pub(super) fn forget(shared: &Shared, node: &str) {
    if let Some(host) = shared.host() {
        host.quotas().forget_node(node);
    }
}

fn take(
    shared: &Arc<Shared>,
    header: &Header,
    message: Message,
    slots: &Arc<Semaphore>,
    handled: &mut JoinSet<()>,
) {
    if header.source == shared.own.id {
        return;
    }
    let Some(host) = shared.host().cloned() else { return };
    match message {
        Message::Heartbeat(info) => {
            if info.id == header.source
                && info.incarnation == header.incarnation
                && shared.registry.heard(*info, unix_millis())
            {
                tracing::info!(node = %header.source, "A node is there.");
                shared.review_nodes();
            }
        }
        Message::Leave => {
            if shared.registry.leave(&header.source) {
                tracing::info!(node = %header.source, "A node has left.");
            }
            forget(shared, &header.source);
            shared.signals.left(&header.source);
        }
        Message::Rows { rows, written, sequence } => {
            super::rows::heard(shared, written, sequence);
            if handled.len() >= 2 * HANDLED_MAX {
                // What is not taken over now is found in Redis.
                shared.compare_rows();
                return;
            }
            handled.spawn(async move {
                host.take_over(rows).await;
            });
        }
        Message::Quotas { is_first, counts } => {
            let quotas = host.quotas();
            if is_first {
                quotas.forget_node(&header.source);
            }
            for (user, count) in counts {
                quotas.set_elsewhere(&header.source, &user, count);
            }
        }
        Message::Events(partitions) => shared.hear_of_events(partitions),
        Message::TellQuotas => super::quotas::tell(shared, &header.source, header.incarnation),
        Message::Request { id, ask } => {
            let Ok(slot) = Arc::clone(slots).try_acquire_owned() else { return };
            let (shared, source, incarnation) =
                (Arc::clone(shared), header.source.clone(), header.incarnation);
            handled.spawn(async move {
                let answer = host.handle(ask).await;
                Counters::add(&shared.counters.requests_handled);
                shared.tell(&source, incarnation, Message::Reply { id, answer });
                drop(slot);
            });
        }
        Message::Reply { id, answer } => shared.questions.answered(id, &header.source, Some(answer)),
        Message::NotUnderstood { id } => shared.questions.answered(id, &header.source, None),
        Message::Unknown(unknown) => pass_over(shared, header, unknown),
    }
}

/// What a node of another version says: it is told so where it waits for an answer, and nobody is alarmed.
fn pass_over(shared: &Shared, header: &Header, unknown: Unknown) {
    Counters::add(&shared.counters.messages_unknown);
    match unknown {
        Unknown::Request(id) => {
            shared.tell(&header.source, header.incarnation, Message::NotUnderstood { id });
        }
        Unknown::Reply(id) => shared.questions.answered(id, &header.source, None),
        Unknown::Other => {}
    }
}
