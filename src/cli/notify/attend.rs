//! Signs of life and of progress, for as long as the process serves.

use std::time::Duration;

use super::Notifier;
use crate::{
    api::{HttpThreads, Service},
    runtime::NodeHandle,
};

/// How often the status line is looked at.
const STATUS_PERIOD: Duration = Duration::from_secs(5);
/// How soon somebody who did not answer is asked again: a busy moment is no fault.
const RETRY_PERIOD: Duration = Duration::from_secs(1);
/// How much longer the end may take than it was said to, until the next word: more than twice the status period.
const EXTENSION: Duration = Duration::from_secs(15);

/// Tells the manager that the process lives, while every shard and every HTTP thread answers, and what it does. Ends
/// only when it is dropped; at once if there is no manager.
pub(in crate::cli) async fn attend(
    notifier: Notifier,
    node: NodeHandle,
    http: Option<HttpThreads>,
    service: Service,
) {
    if notifier.manager.is_none() {
        return;
    }
    let period = notifier.watchdog().map_or(STATUS_PERIOD, |within| STATUS_PERIOD.min(within / 2));
    let (mut told, mut missed) = (String::new(), Vec::new());
    loop {
        let (allocations, silent) = ask(&node, http.as_ref()).await;
        let mut lines = Vec::new();
        let status = status(&notifier, &node, allocations, service.signaling_sockets());
        if status != told {
            lines.push(format!("STATUS={status}"));
            told = status;
        }
        if notifier.is_stopping() {
            lines.push(format!("EXTEND_TIMEOUT_USEC={}", EXTENSION.as_micros()));
        }
        if silent.is_empty() && notifier.watchdog().is_some() {
            lines.push("WATCHDOG=1".to_owned());
        }
        if !lines.is_empty() {
            notifier.tell(&lines.join("\n"));
        }
        let pause = if silent.is_empty() { period } else { RETRY_PERIOD.min(period) };
        note(&silent, &mut missed);
        tokio::time::sleep(pause).await;
    }
}

/// How many allocations there are, and who did not answer.
async fn ask(node: &NodeHandle, http: Option<&HttpThreads>) -> (usize, Vec<String>) {
    let answers_http = async {
        match http {
            Some(http) => http.silent().await,
            None => Vec::new(),
        }
    };
    let (snapshot, mut silent) = tokio::join!(node.snapshot(), answers_http);
    let shards = snapshot.shards.iter().enumerate();
    silent.extend(shards.filter(|(_, shard)| shard.is_none()).map(|(number, _)| format!("shard {number}")));
    let allocations = snapshot.shards.iter().flatten().map(|shard| shard.allocations).sum();
    (allocations, silent)
}

fn status(notifier: &Notifier, node: &NodeHandle, allocations: usize, sockets: usize) -> String {
    let doing = match (notifier.is_stopping(), node.is_draining()) {
        (true, _) => "Stopping",
        (false, true) => "Draining",
        (false, false) => "Serving",
    };
    format!("{doing}: {allocations} allocations, {sockets} signaling sockets.")
}

/// Logs who does not answer, once, and that everybody does again.
fn note(silent: &[String], missed: &mut Vec<String>) {
    if silent == missed.as_slice() {
        return;
    }
    if silent.is_empty() {
        tracing::info!("All threads answer again.");
    } else {
        tracing::error!(
            threads = silent.join(", "),
            "Do not answer; the watchdog restarts the service unless they do."
        );
    }
    *missed = silent.to_vec();
}
