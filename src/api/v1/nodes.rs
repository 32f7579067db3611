//! `/v1/nodes`: who shares the work.

use std::net::IpAddr;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::{body::Answer, caller::Caller, problem::Problem, service::Service},
    cluster::{Health, NodeInfo, NodePublic, NodeState, Scope},
};

/// The nodes.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NodesAnswer {
    /// The node that answers first, and each other that has been heard of lately.
    nodes: Vec<NodeView>,
    cluster: ClusterView,
}

/// A node.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NodeView {
    id: String,
    region: String,
    /// Where clients reach it.
    uris: Vec<String>,
    /// What its clients are told of its relay addresses.
    public_addresses: Vec<PublicAddressView>,
    state: NodeStateView,
    allocations: u64,
    /// The most it takes.
    allocations_max: u64,
    /// Relayed payload, both directions.
    bytes_per_second: u64,
    /// The limit of that; 0 is unlimited.
    bytes_per_second_max: u64,
    /// Share of the processor time of its cores, 0 to 1.
    processor: f64,
    version: String,
    /// When it said all this: milliseconds since the Unix epoch, by its own clock.
    told: u64,
}

/// A relay address as clients are told it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PublicAddressView {
    /// What clients are told.
    #[schema(value_type = String, example = "203.0.113.5")]
    address: IpAddr,
    /// What relay sockets are bound to.
    #[schema(value_type = String, example = "10.0.0.5")]
    local: IpAddr,
    /// `own`: it is the local one. `configured`: it is written down. `stun`, `dns`, `interface`: it is found by that.
    /// Newer nodes may know more.
    #[schema(example = "stun")]
    from: String,
    /// Whether it was found when it was looked for last; else it is the last known one.
    confirmed: bool,
}

/// Whether a node takes new clients.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NodeStateView {
    Serving,
    Draining,
}

/// How well the other nodes can be reached.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClusterView {
    status: ClusterStatus,
    /// Since when, in milliseconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// How well the other nodes can be reached.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ClusterStatus {
    /// There are none.
    Alone,
    /// They can.
    Connected,
    /// They cannot; what is known of them goes on being used.
    Degraded,
}

/// The nodes, with where they are and how busy they are.
#[utoipa::path(
    get,
    path = "/v1/nodes",
    tag = "nodes",
    responses((status = 200, description = "All of them.", body = NodesAnswer))
)]
pub(crate) async fn list_nodes(
    State(service): State<Service>,
    caller: Caller,
) -> Result<Answer<NodesAnswer>, Problem> {
    caller.require(Scope::Read)?;
    let known = service.cluster.nodes();
    let nodes = known.list.iter().map(|node| NodeView::of(&service, node)).collect();
    Ok(Answer(NodesAnswer { nodes, cluster: ClusterView::of(service.cluster.health()) }))
}

impl From<NodeState> for NodeStateView {
    fn from(state: NodeState) -> Self {
        match state {
            NodeState::Serving => Self::Serving,
            NodeState::Draining => Self::Draining,
        }
    }
}

impl NodeView {
    fn of(service: &Service, node: &NodeInfo) -> Self {
        // What this node knows of itself is newer than what it told the others.
        let is_own = node.id == service.cluster.id();
        let drains = if is_own { service.node.is_draining() } else { node.state == NodeState::Draining };
        Self {
            id: node.id.clone(),
            region: node.region.clone(),
            uris: node.uris.clone(),
            public_addresses: node.public.iter().map(PublicAddressView::of).collect(),
            state: if drains { NodeStateView::Draining } else { NodeStateView::Serving },
            allocations: node.load.allocations,
            allocations_max: node.load.allocations_max,
            bytes_per_second: node.load.bytes_per_second,
            bytes_per_second_max: node.load.bytes_per_second_max,
            processor: node.load.processor,
            version: node.version.clone(),
            told: node.told,
        }
    }
}

impl PublicAddressView {
    fn of(public: &NodePublic) -> Self {
        let NodePublic { local, told, from, is_confirmed } = public;
        Self { address: *told, local: *local, from: from.clone(), confirmed: *is_confirmed }
    }
}

impl ClusterView {
    fn of(health: Health) -> Self {
        match health {
            Health::Alone => Self { status: ClusterStatus::Alone, since: None, reason: None },
            Health::Connected => Self { status: ClusterStatus::Connected, since: None, reason: None },
            Health::Degraded { since, reason } => {
                Self { status: ClusterStatus::Degraded, since: Some(since), reason: Some(reason) }
            }
        }
    }
}
