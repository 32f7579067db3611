//! The nodes of a cluster and how busy they are.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

/// Names a node: 1 to 64 of `A-Z a-z 0-9 . _ -`.
pub type NodeId = String;

/// Whether a node takes new clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It does.
    Serving,
    /// It sends new clients to other nodes; allocations that are up go on.
    Draining,
}

/// How busy a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeLoad {
    /// Allocations now.
    pub allocations: u64,
    /// The most it takes: the smallest of its limit, its ports and its descriptors.
    pub allocations_max: u64,
    /// Relayed payload bytes per second, both directions, over the last heartbeat.
    pub bytes_per_second: u64,
    /// The limit of that; 0 is unlimited.
    pub bytes_per_second_max: u64,
    /// Share of the processor time of its cores, 0 to 1.
    pub processor: f64,
}

/// One listener of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeAddress {
    /// `udp`, `tcp` or `tls`; newer nodes may know more.
    pub transport: String,
    /// Where clients reach it.
    pub address: SocketAddr,
}

/// A relay address of a node, as its clients are told it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodePublic {
    /// What relay sockets are bound to.
    pub local: IpAddr,
    /// What clients are told.
    pub told: IpAddr,
    /// `own`, `configured`, `stun`, `dns` or `interface`; newer nodes may know more.
    pub from: String,
    /// Whether it was found when it was looked for last; else it is the last known one.
    pub is_confirmed: bool,
}

/// Where clients reach a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodePlace {
    /// See [`NodeInfo::uris`].
    pub uris: Vec<String>,
    /// See [`NodeInfo::addresses`].
    pub addresses: Vec<NodeAddress>,
    /// See [`NodeInfo::public`].
    pub public: Vec<NodePublic>,
}

/// How far a node is that sends its clients elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DrainProgress {
    /// Whether it takes new clients.
    pub state: NodeState,
    /// Whether its process ends when nothing is left.
    pub is_final: bool,
    /// Since when it drains, in milliseconds since the Unix epoch.
    pub since: Option<u64>,
    /// Until the time for that is over.
    pub seconds_left: Option<u64>,
    /// How many allocations are left.
    pub allocations: u64,
    /// How many clients are connected for signaling.
    pub sockets: u64,
    /// How many other nodes new clients are sent to; `None`: they are refused, as configured, or it serves.
    #[serde(default)]
    pub takers: Option<u64>,
}

impl DrainProgress {
    /// Of a node that relays nothing.
    pub const NOTHING: Self = Self {
        state: NodeState::Draining,
        is_final: false,
        since: None,
        seconds_left: None,
        allocations: 0,
        sockets: 0,
        takers: None,
    };

    /// Whether nothing is left of what was there.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == NodeState::Draining && self.allocations == 0 && self.sockets == 0
    }

    /// Whether something is left although the time is over.
    #[must_use]
    pub fn is_late(&self) -> bool {
        self.state == NodeState::Draining && !self.is_over() && self.seconds_left == Some(0)
    }
}

/// What a node tells the others with each heartbeat.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NodeInfo {
    /// Its name.
    pub id: NodeId,
    /// Drawn at each start, so that a restarted node is not taken for the one before.
    pub incarnation: u64,
    /// Where it is; may be empty.
    pub region: String,
    /// The `stun:`, `turn:` and `turns:` URIs clients reach it by.
    pub uris: Vec<String>,
    /// Where it listens, as clients reach it: what one that drains names to its clients.
    #[serde(default)]
    pub addresses: Vec<NodeAddress>,
    /// What its clients are told of its relay addresses.
    #[serde(default)]
    pub public: Vec<NodePublic>,
    /// Whether it takes new clients.
    pub state: NodeState,
    /// How busy it is.
    pub load: NodeLoad,
    /// Its version.
    pub version: String,
    /// Milliseconds since the Unix epoch when it told this; of other nodes, when this one heard it.
    pub told: u64,
}

impl NodeInfo {
    /// One that serves, of which no more is known than its name, its run and when it told that, in milliseconds since
    /// the Unix epoch.
    #[must_use]
    pub fn new(id: impl Into<NodeId>, incarnation: u64, told: u64) -> Self {
        Self {
            id: id.into(),
            incarnation,
            region: String::new(),
            uris: Vec::new(),
            addresses: Vec::new(),
            public: Vec::new(),
            state: NodeState::Serving,
            load: NodeLoad::default(),
            version: String::new(),
            told,
        }
    }

    /// Takes over where clients reach it.
    pub(super) fn set_place(&mut self, place: NodePlace) {
        let NodePlace { uris, addresses, public } = place;
        (self.uris, self.addresses, self.public) = (uris, addresses, public);
    }
}

/// The nodes known at one moment, this one first.
#[derive(Clone, Debug, PartialEq)]
pub struct Nodes {
    /// This node and each other whose lease has not run out.
    pub list: Vec<NodeInfo>,
}
