//! Sending the clients of this node elsewhere: begun by signal, command or API, on this node or another one.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    Service,
    choice::{NODES_MAX, Preference, choose},
    service::unix_millis,
};
use crate::{
    cluster::{DrainProgress, Health, NodeInfo, NodeState},
    turn::{Alternate, Label as _, Transport},
};

/// A name in ALTERNATE-DOMAIN is no longer (RFC 8489 §14.16).
const DOMAIN_BYTES_MAX: usize = 255;

/// Whether this node sends its clients elsewhere, and since when.
#[derive(Debug, Default)]
pub(super) struct Drain {
    state: Mutex<State>,
    /// Drains whose time was over before all was gone.
    late: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    begun: Option<Begun>,
    takers: Takers,
}

/// Where new clients are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Takers {
    /// How many nodes; `None` if clients are refused, as configured.
    nodes: Option<u64>,
    /// Their listeners: what the relay names to clients.
    alternates: Arc<[Alternate]>,
}

#[derive(Clone, Copy, Debug)]
struct Begun {
    /// In milliseconds since the Unix epoch.
    since: u64,
    deadline: Instant,
    time_max: Duration,
    /// The process ends with it.
    is_final: bool,
}

impl Drain {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many were not over in time.
    pub(super) fn late(&self) -> u64 {
        self.late.load(Ordering::Relaxed)
    }

    /// When it began and when it should be over, in seconds since the Unix epoch; zeros while the node serves.
    pub(super) fn times(&self) -> (u64, u64) {
        let begun = self.state().begun;
        begun.map_or((0, 0), |begun| (begun.since / 1000, begun.since / 1000 + begun.time_max.as_secs()))
    }
}

impl Service {
    /// Sends clients elsewhere from now on: new allocations are made on other nodes, credentials of no node name this
    /// one, sessions go to others over a spread of time. What is up goes on. Answers whether that is news.
    pub fn begin_drain(&self) -> bool {
        self.drain_with(false)
    }

    /// The same, before the process ends: this cannot be undone, and its time begins now.
    pub fn begin_final_drain(&self) {
        self.drain_with(true);
    }

    fn drain_with(&self, is_final: bool) -> bool {
        let config = &self.settings.load_full().config;
        let time_max = config.runtime.drain_timeout;
        let takers = self.takers();
        let within =
            if is_final { time_max.min(config.signal.drain_within) } else { config.signal.drain_within };
        // All of it within the lock, so that nothing is left half done when somebody takes it back.
        let mut state = self.drain.state();
        let is_news = state.begun.is_none();
        if is_news || is_final {
            let deadline = Instant::now() + time_max;
            state.begun = Some(Begun { since: unix_millis(), deadline, time_max, is_final });
        }
        if is_news {
            say_if_nobody(&takers);
        }
        state.takers = takers;
        self.node.drain(Arc::clone(&state.takers.alternates));
        self.signal.drain(within);
        self.cluster.announce();
        is_news
    }

    /// Notes that the time of a drain was over before all was gone.
    pub fn count_late_drain(&self) {
        self.drain.late.fetch_add(1, Ordering::Relaxed);
    }

    /// Serves clients again. `false` if the process is to end.
    pub fn end_drain(&self) -> bool {
        let mut state = self.drain.state();
        if state.begun.is_some_and(|begun| begun.is_final) {
            return false;
        }
        state.begun = None;
        self.node.stop_drain();
        self.signal.stop_drain();
        self.cluster.announce();
        true
    }

    /// Whether clients are sent elsewhere, and how many are left.
    pub async fn drain_progress(&self) -> DrainProgress {
        let allocations = self.node.allocations().await as u64;
        let (begun, takers) = {
            let state = self.drain.state();
            (state.begun, state.takers.nodes)
        };
        DrainProgress {
            state: if begun.is_some() { NodeState::Draining } else { NodeState::Serving },
            is_final: begun.is_some_and(|begun| begun.is_final),
            since: begun.map(|begun| begun.since),
            seconds_left: begun.map(|begun| {
                begun.deadline.saturating_duration_since(Instant::now()).as_secs_f64().ceil() as u64
            }),
            allocations,
            sockets: self.signaling_sockets() as u64,
            takers: takers.filter(|_| begun.is_some()),
        }
    }

    /// Looks again which nodes clients can be sent to, while they are.
    pub fn review_drain(&self) {
        if self.drain.state().begun.is_none() {
            return;
        }
        let takers = self.takers();
        let mut state = self.drain.state();
        // While other nodes cannot be heard, those that were there are a better guess than none.
        let is_guess = takers.nodes == Some(0) && self.cluster.health() != Health::Connected;
        if state.begun.is_none() || state.takers == takers || is_guess {
            return;
        }
        let before = std::mem::replace(&mut state.takers, takers).nodes;
        // Within the lock, so that no older list comes after a newer one.
        self.node.drain(Arc::clone(&state.takers.alternates));
        match (before, state.takers.nodes) {
            (Some(0), Some(nodes @ 1..)) => {
                tracing::info!(nodes, "New clients are sent to other nodes again.")
            }
            (_, Some(0)) => say_if_nobody(&state.takers),
            _ => {}
        }
    }

    /// Where new clients can go: to the nodes that credentials would name.
    fn takers(&self) -> Takers {
        let settings = self.settings.load_full();
        if !settings.config.runtime.drain_redirect {
            return Takers::default();
        }
        let known = self.cluster.nodes();
        let own = self.cluster.id();
        let now = match self.cluster.health() {
            Health::Alone | Health::Connected => unix_millis(),
            // As they were when they were last heard of.
            Health::Degraded { since, .. } => since.min(unix_millis()),
        };
        let preference = Preference {
            region: None,
            home: &settings.config.node.region,
            label: None,
            count: NODES_MAX,
            own,
            now,
        };
        let fits = |node: &NodeInfo| node.id != own && !node.addresses.is_empty();
        let chosen = choose(&known.list, fits, &preference, || self.random());
        // In the order of their names: a list that says the same is the same.
        let chosen: BTreeMap<&str, &NodeInfo> = chosen.iter().map(|node| (node.id.as_str(), *node)).collect();
        let nodes = Some(chosen.len() as u64);
        Takers { nodes, alternates: chosen.into_values().flat_map(alternates_of).collect() }
    }
}

fn say_if_nobody(takers: &Takers) {
    if takers.nodes == Some(0) {
        tracing::warn!(
            "No other node can take clients: new allocations are refused (508) until one serves, is heard of and has room."
        );
    }
}

/// The listeners of a node, as it says where clients reach them.
fn alternates_of(node: &NodeInfo) -> impl Iterator<Item = Alternate> {
    let domain = domain_of(node);
    node.addresses.iter().filter_map(move |reached| {
        let transport =
            Transport::MEMBERS.iter().copied().find(|known| known.as_str() == reached.transport)?;
        Some(Alternate { transport, address: reached.address, domain: domain.map(Into::into) })
    })
}

/// The host name of its `turns:` URI: what its certificate is for.
fn domain_of(node: &NodeInfo) -> Option<&str> {
    let names = node.uris.iter().filter_map(|uri| {
        let authority = uri.strip_prefix("turns:")?.split('?').next()?;
        let is_literal = authority.starts_with('[');
        let host = authority.split(':').next().filter(|host| !is_literal && !host.is_empty())?;
        let is_name = host.parse::<std::net::Ipv4Addr>().is_err() && host.len() <= DOMAIN_BYTES_MAX;
        is_name.then_some(host)
    });
    names.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::NodeAddress;

    fn node(uris: &[&str]) -> NodeInfo {
        NodeInfo {
            uris: uris.iter().map(|uri| (*uri).to_owned()).collect(),
            addresses: [
                ("udp", "203.0.113.1:3478"),
                ("tls", "[2001:db8::1]:5349"),
                ("quic", "203.0.113.1:1"),
            ]
            .map(|(transport, address)| NodeAddress {
                transport: transport.to_owned(),
                address: address.parse().unwrap(),
            })
            .to_vec(),
            ..NodeInfo::new("n1", 1, 0)
        }
    }

    #[test]
    fn listeners_of_a_node_are_named_with_what_its_certificate_is_for() {
        let named =
            node(&["turn:t.example.org:3478?transport=udp", "turns:t.example.org:5349?transport=tcp"]);
        let found: Vec<Alternate> = alternates_of(&named).collect();
        let of = |transport, address: &str| Alternate {
            transport,
            address: address.parse().unwrap(),
            domain: Some("t.example.org".into()),
        };
        let wanted = [of(Transport::Udp, "203.0.113.1:3478"), of(Transport::Tls, "[2001:db8::1]:5349")];
        assert_eq!(found, wanted, "a transport that is not known yet is passed over");
        for uri in ["turns:203.0.113.1:5349", "turns:[2001:db8::1]:5349", "turn:t.example.org:3478"] {
            assert_eq!(domain_of(&node(&[uri])), None, "{uri}");
        }
    }
}
