//! What one node asks another, and what this node does about it.

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use super::{
    AllocationPage, AllocationQuery, DrainProgress, EndSessions, LabelQuality, NodeId, NodeLoad, Row,
    UserReport,
};

/// What a node is asked to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ask {
    /// Take over these rows, act on them (deny, cut), and answer [`Answer::Cut`]. The cluster merges and keeps them
    /// before a [`Handler`] sees this: what is left to do is to hand the new [`directory`](super::Cluster::directory)
    /// and [`revocations`](super::Cluster::revocations) to the relay. The rows are those that changed something.
    Apply(Vec<Row>),
    /// Answer [`Answer::Allocations`].
    Allocations(AllocationQuery),
    /// End one allocation and answer [`Answer::Closed`].
    Close {
        /// Which, as [`AllocationRecord::id`](super::AllocationRecord) names it.
        allocation: String,
    },
    /// Send new clients elsewhere from now on and answer [`Answer::Draining`].
    Drain,
    /// Take new clients again, unless the process ends, and answer [`Answer::DrainProgress`].
    StopDrain,
    /// Answer [`Answer::DrainProgress`].
    DrainProgress,
    /// Answer [`Answer::SecretsInUse`].
    SecretsInUse,
    /// End sessions of the signaling relay and answer [`Answer::Ended`].
    EndSessions(EndSessions),
    /// Forget what the backend said of this user, or all of it, and answer [`Answer::Ended`].
    ForgetDecisions(Option<String>),
    /// Answer [`Answer::Explained`].
    Explain {
        /// The user, without expiry time and claims.
        user: String,
    },
    /// Answer [`Answer::Quality`].
    Quality,
}

/// What it answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// How many live allocations were ended.
    Cut(u64),
    /// A page of its allocations.
    Allocations(AllocationPage),
    /// Whether there was such an allocation.
    Closed(bool),
    /// How many allocations are left.
    Draining(u64),
    /// How far it is.
    DrainProgress(DrainProgress),
    /// Live allocations by key id.
    SecretsInUse(Vec<(String, u64)>),
    /// How many sessions ended.
    Ended(u64),
    /// What it knows of a user.
    Explained(UserReport),
    /// The quality of calls by label; `None`: it measures none.
    Quality(Option<Vec<LabelQuality>>),
}

/// One question on its way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Names it among the questions of the node that asks.
    pub id: u64,
    /// Who asks.
    pub from: NodeId,
    /// What.
    pub ask: Ask,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// Nobody of this name has a lease.
    #[error("there is no node {0:?}")]
    UnknownNode(NodeId),
    /// It did not answer in time.
    #[error("node {0:?} did not answer in time")]
    Silent(NodeId),
    /// It is of a version that does not know the question, or whose answer is not known here.
    #[error(
        "node {node:?} runs version {version:?}, which does not know this question: bring all nodes to one version"
    )]
    NotUnderstood {
        /// Which.
        node: NodeId,
        /// What it says of itself.
        version: String,
    },
    /// The other nodes cannot be reached at present.
    #[error("other nodes cannot be reached: {0}")]
    Degraded(String),
}

/// What this node does about what it is asked. Implemented where the relay is at hand.
pub trait Handler: Send + Sync + 'static {
    /// Does it.
    fn handle(&self, ask: Ask) -> BoxFuture<'_, Answer>;

    /// How busy this node is now, and whether it takes new clients.
    fn load(&self) -> BoxFuture<'_, (super::NodeState, NodeLoad)>;
}
