//! Keeps the connection up: connects, runs everything that needs it, and begins again when it is lost, at growing and
//! random intervals.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use super::{
    bus::{self, Sent},
    connect::Link,
    coturn,
    frame::Message,
    heart, quotas, rows,
    shared::{Shared, jitter},
    signals,
};

/// The first wait before connecting again.
const WAIT_MIN: Duration = Duration::from_millis(200);
/// The longest.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// A connection that lasted so long was a good one: the next wait is short again.
const GOOD_AFTER: Duration = Duration::from_secs(10);
/// How long saying good-bye may take.
const LEAVE_MAX: Duration = Duration::from_secs(1);

/// Runs until the node ends.
pub(super) async fn supervise(shared: Arc<Shared>) {
    tokio::select! {
        () = keep_connected(&shared) => {}
        () = heart::keep_own(&shared) => {}
    }
}

async fn keep_connected(shared: &Arc<Shared>) {
    let mut closing = shared.closing.subscribe();
    let sent = Sent::default();
    let mut run_id = String::new();
    let mut wait = WAIT_MIN;
    while !*closing.borrow() {
        let began = Instant::now();
        let reason = tokio::select! {
            connected = shared.connector.connect() => match connected {
                Ok(link) => {
                    if !run_id.is_empty() && run_id != link.run_id {
                        tracing::info!(server = link.server, "Redis began anew; this node asserts what it knows.");
                    }
                    run_id.clone_from(&link.run_id);
                    run(shared, link, &sent).await
                }
                Err(error) => error.to_string(),
            },
            () = closed(&mut closing) => return,
        };
        shared.commands.store(None);
        shared.outbox.clear();
        shared.signals.set_bus(false);
        if *closing.borrow() {
            return;
        }
        shared.degraded(&reason);
        share(shared);
        if began.elapsed() > GOOD_AFTER {
            wait = WAIT_MIN;
        }
        tokio::select! {
            () = sleep(jitter(wait)) => {}
            () = closed(&mut closing) => return,
        }
        wait = (wait * 2).min(WAIT_MAX);
        prune(shared);
    }
}

/// Everything that needs the connection, at once. Answers why it ended.
async fn run(shared: &Arc<Shared>, mut link: Link, sent: &Sent) -> String {
    let commands = Arc::new(link.commands.clone());
    shared.commands.store(Some(Arc::clone(&commands)));
    let mut closing = shared.closing.subscribe();
    let reason = tokio::select! {
        reason = heart::beat(shared, &commands) => reason,
        reason = bus::send(shared, &commands, sent) => reason,
        reason = signals::send(shared, &commands) => reason,
        reason = bus::receive(shared, &mut link.pushes) => reason,
        reason = rows::exchange(shared, &commands) => reason,
        reason = quotas::exchange(shared) => reason,
        reason = coturn::read_secrets(shared, &commands) => reason,
        reason = heart::follow_master(shared, link.master.as_ref()) => reason,
        () = keep_share(shared) => "the share is no longer kept".to_owned(),
        () = closed(&mut closing) => {
            // After what waits: it may be news that nobody else has.
            shared.tell_all(Message::Leave);
            let leaving = async {
                // What the signaling relay said last comes before that.
                let said = signals::send_waiting(shared, &commands).await;
                if let Err(error) = said.and(bus::send_waiting(shared, &commands, sent).await) {
                    tracing::debug!(%error, "The others are not told that this node ends; its lease tells them.");
                }
                heart::leave(shared, &commands).await;
            };
            drop(timeout(LEAVE_MAX, leaving).await);
            "this node ends".to_owned()
        }
    };
    format!("{}: {reason}", link.server)
}

/// Returns when the node ends.
async fn closed(closing: &mut watch::Receiver<bool>) {
    // The sender lives as long as what it is received by.
    drop(closing.wait_for(|&is_closing| is_closing).await.map(|_| ()));
}

/// While this node counts alone it counts against its share.
async fn keep_share(shared: &Shared) {
    loop {
        share(shared);
        sleep(Duration::from_millis(500)).await;
    }
}

fn share(shared: &Shared) {
    if let Some(host) = shared.host() {
        // Redis out of memory or read-only still carries messages: then all are counted.
        let is_counted = shared.commands().is_some() && shared.is_proved(super::BUS_MAX);
        host.quotas().set_share(if is_counted { 1 } else { shared.health.share() });
    }
}

/// Leases end while there is no connection, too.
fn prune(shared: &Shared) {
    for node in shared.registry.prune() {
        tracing::warn!(node, "A node is silent; its lease is over.");
        bus::forget(shared, &node);
    }
}
