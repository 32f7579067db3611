//! What runs beside the sockets: the clock, events, ICE servers, and what changes elsewhere.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::{MissedTickBehavior, interval};

use crate::{
    api::Service,
    cluster::{Changes, EndSessions, NodeState},
    credentials::{Claims, Revocation, parse_time_limited},
    signaling::{PushReason, Revoke, RoomId, SessionId, UserId},
};

/// How often is looked how the other nodes are.
const LOOK_PERIOD: Duration = Duration::from_millis(500);

/// What was seen last.
#[derive(Default)]
struct Seen {
    changes: Changes,
    /// Ids of revocations of credentials.
    revocations: HashSet<Box<str>>,
    /// Other nodes that drain.
    draining: BTreeSet<String>,
}

impl Service {
    /// Runs the signaling relay beside its sockets. Never ends.
    pub(in crate::api) async fn run_signaling(self) {
        let signal = Arc::clone(&self.signal);
        signal.revoked.set(self.cluster.session_revocations());
        self.cluster.connect_signaling(Arc::clone(&signal.hub) as _);
        let hub = &signal.hub;
        tokio::join!(hub.keep_time(), hub.keep_events(), self.clone().grant_wishes(), self.watch());
    }

    /// Ends sessions of this node, and answers how many.
    pub async fn end_sessions(&self, which: EndSessions) -> u64 {
        let revoke = match which {
            EndSessions::User(user) => UserId::parse(&user).map(Revoke::User),
            EndSessions::Token(id) => Some(Revoke::Token(id.into())),
            EndSessions::Session(session) => SessionId::parse(&session).map(Revoke::Session),
            EndSessions::Member { session, room } => {
                let (Some(session), Some(room)) = (SessionId::parse(&session), RoomId::parse(&room)) else {
                    return 0;
                };
                return u64::from(
                    self.signal.hub.with(|server, now| server.remove_member(now, &room, session)),
                );
            }
        };
        let Some(revoke) = revoke else { return 0 };
        self.signal.hub.with(|server, now| server.revoke(now, &revoke)) as u64
    }

    /// Forgets what the backend said of a user, or all of it.
    pub fn forget_decisions(&self, user: Option<&str>) {
        if let Some(backend) = &*self.signal.backend.load() {
            backend.forget(user);
        }
    }

    /// Waits until no socket is left, but not for longer than this; answers how many are.
    pub async fn signaling_drained(&self, time_max: Duration) -> usize {
        self.signal.drained(time_max).await
    }

    /// How many clients are connected for signaling.
    #[must_use]
    pub fn signaling_sockets(&self) -> usize {
        self.signal.hub.sockets()
    }

    async fn watch(&self) {
        let mut changes = self.cluster.changes();
        let mut ticks = interval(LOOK_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let ids = self.cluster.revocations().iter().map(|revocation| revocation.id.clone()).collect();
        let now = *changes.borrow_and_update();
        let mut seen = Seen { changes: now, revocations: ids, draining: BTreeSet::new() };
        loop {
            tokio::select! {
                Ok(()) = changes.changed() => {
                    let now = *changes.borrow_and_update();
                    self.changed(&mut seen, now);
                }
                _ = ticks.tick() => self.look_at_nodes(&mut seen),
            }
        }
    }

    fn changed(&self, seen: &mut Seen, now: Changes) {
        if now.session_revocations != seen.changes.session_revocations {
            let news = self.signal.revoked.set(self.cluster.session_revocations());
            for revoke in news {
                self.signal.hub.with(|server, now| server.revoke(now, &revoke));
            }
        }
        if now.revocations != seen.changes.revocations {
            self.credentials_revoked(seen);
        }
        seen.changes = now;
    }

    /// Whoever lost credentials gets new ones, unless the token does not allow it.
    fn credentials_revoked(&self, seen: &mut Seen) {
        let revocations = self.cluster.revocations();
        let separator = self.cluster.directory().separator();
        let mut ids = HashSet::new();
        for revocation in revocations.iter() {
            ids.insert(revocation.id.clone());
            if !seen.revocations.contains(&revocation.id) {
                self.renew(revocation, separator);
            }
        }
        seen.revocations = ids;
    }

    fn renew(&self, revocation: &Revocation, separator: char) {
        let of_username = revocation
            .username
            .as_deref()
            .and_then(|name| Some(Claims::read(parse_time_limited(name, separator)?.user).user.to_owned()));
        let user = revocation.user.as_deref().or(of_username.as_deref()).map(UserId::parse);
        match user {
            // No session has such a user.
            Some(None) => {}
            Some(Some(user)) => self.signal.hub.with(|server, now| {
                server.push_ice_servers(now, PushReason::Revoked, Some(&user));
            }),
            // Credentials of sessions have no label.
            None if revocation.label.is_some() || revocation.username.is_some() => {}
            None => {
                self.signal.hub.with(|server, now| server.push_ice_servers(now, PushReason::Revoked, None));
            }
        }
    }

    /// Sessions whose ICE servers name a node that drains get others; a node that drains sends its own away.
    fn look_at_nodes(&self, seen: &mut Seen) {
        let nodes = self.cluster.nodes();
        let others = nodes.list.iter().filter(|node| node.id != self.cluster.id());
        let draining: BTreeSet<String> =
            others.filter(|node| node.state == NodeState::Draining).map(|node| node.id.clone()).collect();
        let begun: BTreeSet<&String> = draining.difference(&seen.draining).collect();
        // One that drains itself has handed out all anew.
        if !begun.is_empty() && !self.signal.is_draining() {
            let is_begun = |node: &str| begun.iter().any(|begun| *begun == node);
            self.signal.hub.with(|server, _| server.replace_ice_servers_of(is_begun));
        }
        seen.draining = draining;
        if self.node.is_draining() {
            self.signal.drain(self.settings.load().config.signal.drain_within);
        }
    }
}
