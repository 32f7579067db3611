//! The outbox of one node, in memory and in a file.

use std::path::Path;

use super::*;
use crate::{
    cluster::{Cluster, Settings},
    config::EventFilter,
};

fn config(path: Option<&Path>) -> Config {
    let mut config = Config::default();
    config.store.path = path.map(Path::to_owned);
    config.webhooks.url = Some("https://backend.example/".to_owned());
    config
}

fn open(config: &Config) -> Cluster {
    Cluster::open(config, Settings { id: "n1".to_owned(), ..Settings::default() }).unwrap()
}

/// The `sequence`th event of a call.
fn event(cluster: &Cluster, call: &str, sequence: u32, state: &str) -> SignalEvent {
    let kind = if state == "ended" { "call.ended" } else { "call.ringing" };
    let party = PartyView { user: "ann".to_owned(), device: String::new(), session: "s_a".to_owned() };
    let view = serde_json::json!({
        "id": call, "sequence": sequence, "node": "n1", "state": state, "caller": party, "media": ["audio"],
        "devices": 1, "createdAt": 1000,
    });
    SignalEvent {
        call_seq: Some(sequence),
        call: Some(Box::new(serde_json::from_value(view).unwrap())),
        ..cluster.own_event(kind)
    }
}

async fn record(cluster: &Cluster, call: &str, sequence: u32) {
    cluster.record_events(vec![event(cluster, call, sequence, "ringing")]).await;
}

async fn pending(cluster: &Cluster) -> Vec<PendingEvent> {
    cluster.pending_events(0, Place::default(), 1000).await.unwrap()
}

/// Calls of the page, as `id sequence`.
fn shown(page: &CallPage) -> Vec<String> {
    page.calls.iter().map(|(_, call)| format!("{} {}", call.id, call.sequence)).collect()
}

/// A directory that goes with the test.
struct Directory(std::path::PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("iceway-outbox-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap_or_default();
    }
}

/// Runs a test on a node without a file and on one with it.
async fn on_both(name: &str, test: impl AsyncFn(Cluster)) {
    test(open(&config(None))).await;
    let directory = Directory::new(name);
    test(open(&config(Some(&directory.0.join("store"))))).await;
}

#[tokio::test]
async fn events_wait_in_their_order_until_they_are_removed() {
    on_both("order", async |cluster| {
        for (call, sequence) in [("c_1", 1), ("c_2", 1), ("c_1", 2)] {
            record(&cluster, call, sequence).await;
        }
        let events = pending(&cluster).await;
        assert_eq!(events.len(), 3);
        assert!(events.is_sorted_by_key(|event| event.place));
        assert_eq!(events[0].lane, events[2].lane);
        assert_ne!(events[0].lane, events[1].lane);
        let body: SignalEvent = serde_json::from_slice(&events[2].body).unwrap();
        assert_eq!((body.call_seq, &*body.id), (Some(2), &*events[2].id));

        cluster.remove_events(0, vec![events[0].place]).await.unwrap();
        assert_eq!(pending(&cluster).await, events[1..]);
        let after = cluster.pending_events(0, events[1].place, 1).await.unwrap();
        assert_eq!(after, events[2..]);
    })
    .await;
}

#[tokio::test]
async fn what_is_given_up_can_be_delivered_again() {
    on_both("dead", async |cluster| {
        record(&cluster, "c_1", 1).await;
        record(&cluster, "c_1", 2).await;
        let events = pending(&cluster).await;
        for event in events.clone() {
            cluster.bury_event(0, event).await.unwrap();
        }
        assert_eq!(pending(&cluster).await, []);
        assert_eq!(cluster.dead_events().await, Ok(2));
        assert_eq!(cluster.replay_events(u64::MAX).await, Ok(0));
        assert_eq!(cluster.replay_events(0).await, Ok(2));
        let again = pending(&cluster).await;
        let ids = |events: &[PendingEvent]| events.iter().map(|event| event.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&again), ids(&events));
        assert_eq!(cluster.dead_events().await, Ok(0));
    })
    .await;
}

#[tokio::test]
async fn calls_are_listed_by_their_last_change_each_as_it_is_now() {
    on_both("calls", async |cluster| {
        for (call, sequence) in [("c_1", 1), ("c_2", 1), ("c_3", 1), ("c_1", 2)] {
            record(&cluster, call, sequence).await;
        }
        let all = cluster.calls(0, 10).await.unwrap();
        assert_eq!(shown(&all), ["c_2 1", "c_3 1", "c_1 2"]);
        assert!(!all.has_more);
        let first = cluster.calls(0, 2).await.unwrap();
        assert!(first.has_more);
        // What changes after it was read comes once more; what did not is not repeated.
        record(&cluster, "c_2", 2).await;
        let cursor = first.calls.last().unwrap().0;
        assert_eq!(shown(&cluster.calls(cursor, 10).await.unwrap()), ["c_1 2", "c_2 2"]);
        let (call, steps) = cluster.call("c_1").await.unwrap().unwrap();
        assert_eq!(call.sequence, 2);
        assert_eq!(steps.iter().map(|step| step.call_seq).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(cluster.call("c_9").await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn an_event_that_comes_late_does_not_undo_a_later_one() {
    on_both("late", async |cluster| {
        record(&cluster, "c_1", 2).await;
        record(&cluster, "c_1", 1).await;
        record(&cluster, "c_1", 2).await;
        let (call, steps) = cluster.call("c_1").await.unwrap().unwrap();
        assert_eq!(call.sequence, 2);
        assert_eq!(steps.iter().map(|step| step.call_seq).collect::<Vec<_>>(), [1, 2]);
    })
    .await;
}

#[tokio::test]
async fn nobody_is_told_what_is_not_asked_for() {
    let mut some = config(None);
    some.webhooks.events = vec![EventFilter("call.ended".to_owned())];
    let cluster = open(&some);
    record(&cluster, "c_1", 1).await;
    cluster.record_events(vec![cluster.own_event("node.draining")]).await;
    assert_eq!(pending(&cluster).await, []);
    cluster.record_events(vec![event(&cluster, "c_1", 2, "ended")]).await;
    assert_eq!(pending(&cluster).await.len(), 1);
    assert_eq!(cluster.calls(0, 10).await.unwrap().calls.len(), 1);
    assert_eq!(cluster.event_figures().recorded, 3);
}

#[tokio::test]
async fn the_oldest_go_when_there_are_too_many() {
    let mut few = config(None);
    (few.webhooks.pending_max, few.webhooks.dead_max, few.calls.records_max) = (3, 1, 2);
    let directory = Directory::new("bounds");
    for path in [None, Some(directory.0.join("store"))] {
        few.store.path = path;
        let cluster = open(&few);
        for number in 1..=5 {
            record(&cluster, &format!("c_{number}"), 1).await;
        }
        let events = pending(&cluster).await;
        assert_eq!(events.len(), 3);
        assert!(events[0].body.windows(5).any(|text| text == b"\"c_3\""));
        assert_eq!(shown(&cluster.calls(0, 10).await.unwrap()), ["c_4 1", "c_5 1"]);
        for event in events {
            cluster.bury_event(0, event).await.unwrap();
        }
        assert_eq!(cluster.dead_events().await, Ok(1));
        // Two events, three calls, two dead letters.
        assert_eq!(cluster.event_figures().dropped_full, 7);
    }
}

#[tokio::test]
async fn a_file_knows_everything_after_a_restart() {
    let directory = Directory::new("restart");
    let config = config(Some(&directory.0.join("store")));
    let cluster = open(&config);
    record(&cluster, "c_1", 1).await;
    record(&cluster, "c_1", 2).await;
    let before = (pending(&cluster).await, cluster.calls(0, 10).await.unwrap());
    drop(cluster);
    let cluster = open(&config);
    assert_eq!((pending(&cluster).await, cluster.calls(0, 10).await.unwrap()), before);
    record(&cluster, "c_2", 1).await;
    let after = cluster.calls(before.1.calls[0].0, 10).await.unwrap();
    assert_eq!(shown(&after), ["c_2 1"], "cursors outlive the restart");
}

#[tokio::test]
async fn a_call_that_no_longer_changes_is_forgotten() {
    let directory = Directory::new("prune");
    let mut short = config(None);
    short.calls.retention = Duration::from_millis(1);
    for path in [None, Some(directory.0.join("store"))] {
        short.store.path = path;
        let cluster = open(&short);
        record(&cluster, "c_1", 1).await;
        let started = std::time::Instant::now();
        while !cluster.calls(0, 10).await.unwrap().calls.is_empty() {
            cluster.inner.outbox.prune(&cluster.inner);
            assert!(started.elapsed() < Duration::from_secs(10));
        }
        assert_eq!(cluster.call("c_1").await.unwrap(), None);
    }
}
