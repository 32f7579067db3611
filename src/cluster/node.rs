//! The nodes of a cluster and how busy they are.

use serde::{Deserialize, Serialize};

/// Names a node: 1 to 64 of `A-Z a-z 0-9 . _ -`.
pub type NodeId = String;

/// Whether a node takes new clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It does.
    Serving,
    /// It refuses new allocations until its process ends; those that are up go on.
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
    /// Whether it takes new clients.
    pub state: NodeState,
    /// How busy it is.
    pub load: NodeLoad,
    /// Its version.
    pub version: String,
    /// Milliseconds since the Unix epoch when it told this; of other nodes, when this one heard it.
    pub told: u64,
}

/// The nodes known at one moment, this one first.
#[derive(Clone, Debug, PartialEq)]
pub struct Nodes {
    /// This node and each other whose lease has not run out.
    pub list: Vec<NodeInfo>,
}
