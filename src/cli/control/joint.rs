//! What this node does about what it is asked by the API and by other nodes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;

use super::{
    identity,
    load::{Capacity, LoadMeter},
};
use crate::{
    api::{Circumstances, Service, explain},
    cli::now_unix,
    cluster::{
        AllocationPage, AllocationQuery, AllocationRecord, Answer, Ask, Cluster, DrainProgress,
        DroppedRecord, Handler, HeardRecord, LabelQuality, NodeLoad, NodeState, QualityRecord, UserReport,
    },
    credentials::{Directory, Revocations},
    runtime::{ListFilter, NodeHandle},
    telemetry::Process,
    turn::{DropReason, Drops, Heard, Identity, Incident, Listed},
};

/// The most allocations of one page.
const PAGE_MAX: u32 = 1000;
/// The most live allocations that are told of when a user is explained.
const EXPLAINED_MAX: usize = 100;

/// Where the relay and the cluster meet.
pub(super) struct Joint {
    node: NodeHandle,
    cluster: Cluster,
    capacity: ArcSwap<Capacity>,
    meter: LoadMeter,
    given: Mutex<Given>,
    /// Once there is an API.
    service: OnceLock<Service>,
}

/// What the relay was given last.
struct Given {
    directory: Arc<Directory>,
    revocations: Arc<Revocations>,
    /// The revocations of the cluster at the last reconciliation.
    seen: Arc<Revocations>,
}

impl Joint {
    /// A relay that was started with this directory and these revocations.
    pub(super) fn new(
        node: NodeHandle,
        cluster: Cluster,
        started: &super::Started,
        capacity: Capacity,
    ) -> Self {
        let given = Given {
            directory: Arc::clone(&started.directory),
            revocations: Arc::clone(&started.revocations),
            seen: Arc::clone(&started.revocations),
        };
        Self {
            node,
            cluster,
            capacity: ArcSwap::from_pointee(capacity),
            meter: LoadMeter::new(),
            given: Mutex::new(given),
            service: OnceLock::new(),
        }
    }

    /// From now on the sessions of this node can be ended. Once.
    pub(super) fn connect(&self, service: &Service) {
        let _is_first = self.service.set(service.clone());
    }

    pub(super) fn set_capacity(&self, capacity: Capacity) {
        self.capacity.store(Arc::new(capacity));
    }

    /// Hands the relay the secrets and users of the cluster if they are others than before.
    pub(super) fn give_directory(&self) {
        let mut given = self.given();
        let directory = self.cluster.directory();
        if !Arc::ptr_eq(&directory, &given.directory) {
            self.node.set_directory(&directory);
            given.directory = directory;
        }
    }

    /// Notes that the relay was given this directory.
    pub(super) fn directory_given(&self, directory: Arc<Directory>) {
        self.given().directory = directory;
    }

    /// Hands the relay the revocations of the cluster if they are others than before, and answers how many
    /// allocations were ended by that.
    pub(super) async fn give_revocations(&self) -> usize {
        let cut = {
            // Shards are told within the lock, so that no older set comes after a newer one.
            let mut given = self.given();
            let revocations = self.cluster.revocations();
            if Arc::ptr_eq(&revocations, &given.revocations) {
                return 0;
            }
            let cut = self.node.revoke(&revocations);
            given.revocations = revocations;
            cut
        };
        cut.await
    }

    /// Looks again whether the relay has what the cluster has. What is new since the last time is left to whoever
    /// brought it, who counts what is ended.
    pub(super) async fn reconcile(&self) {
        self.node.history().forget_old(now_unix());
        if let Some(service) = self.service.get() {
            service.review_drain();
        }
        self.give_directory();
        let revocations = self.cluster.revocations();
        let seen = std::mem::replace(&mut self.given().seen, Arc::clone(&revocations));
        if !Arc::ptr_eq(&seen, &revocations) {
            return;
        }
        let cut = self.give_revocations().await;
        if cut > 0 {
            tracing::info!(allocations = cut, "Revoked allocations were ended.");
        }
    }

    fn given(&self) -> std::sync::MutexGuard<'_, Given> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn page(&self, query: AllocationQuery) -> AllocationPage {
        let AllocationQuery { user, label, after, limit } = query;
        let after = match after.map(|after| identity::read(self.cluster.id(), &after)) {
            Some(None) => return AllocationPage::default(),
            Some(after) => after,
            None => None,
        };
        let (user, label) = (user.map(Into::into), label.map(Into::into));
        let filter = ListFilter { user, label, after, limit: limit.clamp(1, PAGE_MAX) as usize };
        let page = self.node.list(filter).await;
        let now = now_unix();
        let record = |(shard, listed)| record(self.cluster.id(), shard, listed, now);
        AllocationPage {
            allocations: page.allocations.into_iter().map(record).collect(),
            has_more: page.has_more,
        }
    }

    /// What is remembered of a user, and what is wrong with the live allocations.
    async fn explain(&self, user: &str) -> UserReport {
        let Some(service) = self.service.get() else { return UserReport::default() };
        let (settings, directory, revocations) =
            (service.settings.load_full(), self.cluster.directory(), self.cluster.revocations());
        let known = Circumstances {
            node: self.cluster.id(),
            config: &settings.config,
            directory: &directory,
            revocations: &revocations,
        };
        let now = now_unix();
        let filter = ListFilter { user: Some(user.into()), label: None, after: None, limit: EXPLAINED_MAX };
        let live = self.node.list(filter).await.allocations;
        let mut incidents = Vec::new();
        for (_, listed) in &live {
            for cause in &listed.troubles {
                let incident = Incident::new(now, listed.five_tuple, None, true, cause.clone());
                incidents.extend(explain(&incident, user, true, known));
            }
        }
        let past = self.node.history().of_user(user, now);
        incidents.extend(past.iter().filter_map(|incident| explain(incident, user, false, known)));
        let record = |(shard, listed)| record(self.cluster.id(), shard, listed, now);
        UserReport {
            is_kept: self.node.history().is_on(),
            incidents,
            allocations: live.into_iter().map(record).collect(),
        }
    }

    /// The quality of calls by label; `None` if it is not measured.
    async fn quality(&self) -> Option<Vec<LabelQuality>> {
        let snapshot = self.node.snapshot().await;
        let mut reports =
            snapshot.shards.iter().flatten().filter_map(|shard| shard.quality.as_ref()).peekable();
        reports.peek()?;
        let mut sums: BTreeMap<&str, [Heard; 2]> = BTreeMap::new();
        for (label, heard) in reports.flat_map(|report| &report.labels) {
            for (sum, heard) in sums.entry(label).or_default().iter_mut().zip(heard) {
                sum.merge(heard);
            }
        }
        let told = |(label, heard): (&str, [Heard; 2])| LabelQuality {
            label: (!label.is_empty()).then(|| label.to_owned()),
            quality: quality(&heard),
        };
        Some(sums.into_iter().map(told).collect())
    }

    async fn close(&self, allocation: &str) -> bool {
        match identity::read(self.cluster.id(), allocation) {
            Some((shard, id)) => self.node.close_allocation(shard, id).await,
            None => false,
        }
    }

    async fn drain(&self) -> u64 {
        match self.service.get() {
            Some(service) if service.begin_drain() => {
                tracing::info!(
                    "Draining, as asked through the API: new allocations are made on other nodes."
                );
            }
            Some(_) => {}
            None => self.node.drain(Arc::default()),
        }
        self.node.allocations().await as u64
    }

    async fn drain_progress(&self) -> DrainProgress {
        match self.service.get() {
            Some(service) => service.drain_progress().await,
            None => DrainProgress {
                state: if self.node.is_draining() { NodeState::Draining } else { NodeState::Serving },
                is_final: false,
                since: None,
                seconds_left: None,
                allocations: self.node.allocations().await as u64,
                sockets: 0,
                takers: None,
            },
        }
    }

    /// What the progress says then tells whether it was done.
    async fn stop_drain(&self) -> DrainProgress {
        let was_draining = self.node.is_draining();
        if self.service.get().is_some_and(Service::end_drain) && was_draining {
            tracing::info!("No longer draining, as asked through the API: allocations are made again.");
        }
        self.drain_progress().await
    }
}

impl Handler for Joint {
    fn handle(&self, ask: Ask) -> BoxFuture<'_, Answer> {
        Box::pin(async move {
            match ask {
                Ask::Apply(_) => {
                    self.give_directory();
                    Answer::Cut(self.give_revocations().await as u64)
                }
                Ask::Allocations(query) => Answer::Allocations(self.page(query).await),
                Ask::Close { allocation } => Answer::Closed(self.close(&allocation).await),
                Ask::Drain => Answer::Draining(self.drain().await),
                Ask::StopDrain => Answer::DrainProgress(self.stop_drain().await),
                Ask::DrainProgress => Answer::DrainProgress(self.drain_progress().await),
                Ask::EndSessions(which) => Answer::Ended(match self.service.get() {
                    Some(service) => service.end_sessions(which).await,
                    None => 0,
                }),
                Ask::ForgetDecisions(user) => {
                    if let Some(service) = self.service.get() {
                        service.forget_decisions(user.as_deref());
                    }
                    Answer::Ended(0)
                }
                Ask::Quality => Answer::Quality(self.quality().await),
                Ask::Explain { user } => Answer::Explained(self.explain(&user).await),
                Ask::SecretsInUse => {
                    let in_use = self.node.key_ids_in_use().await;
                    Answer::SecretsInUse(
                        in_use.into_iter().map(|(id, n)| (id.to_string(), n as u64)).collect(),
                    )
                }
            }
        })
    }

    fn load(&self) -> BoxFuture<'_, (NodeState, NodeLoad)> {
        Box::pin(async {
            let snapshot = self.node.snapshot().await;
            let state = if self.node.is_draining() { NodeState::Draining } else { NodeState::Serving };
            (state, self.meter.measure(&snapshot, &Process::read(), **self.capacity.load()))
        })
    }
}

fn record(node: &str, shard: usize, listed: Listed, now: u64) -> AllocationRecord {
    let Identity { user, label, key_id } = listed.identity;
    AllocationRecord {
        id: identity::name(node, shard, listed.id),
        node: node.to_owned(),
        user: user.to_string(),
        label: label.map(Into::into),
        key_id: key_id.map(|id| id.to_string()),
        transport: listed.five_tuple.transport.as_str().to_owned(),
        client: listed.five_tuple.client.to_string(),
        relayed: listed.relayed.iter().map(ToString::to_string).collect(),
        created: listed.created_unix,
        expires: now.saturating_add(listed.expires_in),
        sent_datagrams: listed.to_peers.datagrams,
        received_datagrams: listed.to_client.datagrams,
        sent_bytes: listed.to_peers.bytes,
        received_bytes: listed.to_client.bytes,
        dropped: listed.drops.as_deref().map(dropped).unwrap_or_default(),
        quality: listed.quality.as_ref().map(quality),
    }
}

fn quality([to_peer, to_client]: &[Heard; 2]) -> QualityRecord {
    let record =
        |heard: &Heard| HeardRecord::new(heard.expected, heard.lost, heard.jitters, heard.jitter_seconds);
    QualityRecord { to_peer: record(to_peer), to_client: record(to_client) }
}

fn dropped(drops: &Drops) -> Vec<DroppedRecord> {
    let record = |direction: &str, reason: DropReason, datagrams: u64| DroppedRecord {
        direction: direction.to_owned(),
        reason: reason.as_str().to_owned(),
        datagrams,
    };
    let to_peers = drops.to_peers.iter().map(|(reason, count)| record("to_peer", reason, count));
    let to_client = drops.to_client.iter().map(|(reason, count)| record("to_client", reason, count));
    to_peers.chain(to_client).filter(|dropped| dropped.datagrams > 0).collect()
}
