//! `/v1/quality`: how good calls are, by label, on all nodes.

use std::collections::BTreeMap;

use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::{allocations::misunderstood, answers::NodeFault};
use crate::{
    api::{body::Answer, caller::Caller, problem::Problem, service::Service},
    cluster::{self, Ask, LabelQuality, QualityRecord, RequestError, Scope},
};

/// How good calls are.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QualityAnswer {
    /// By label, those without one first; sums of all nodes.
    labels: Vec<LabelQuality>,
    /// Nodes that measure it (`quality.sample`).
    nodes: Vec<String>,
    /// Nodes that did not answer: what they measured is missing.
    unanswered: Vec<NodeFault>,
}

/// Loss and jitter of RTP as seen in passing at the relays, by the label of credentials.
#[utoipa::path(
    get,
    path = "/v1/quality",
    tag = "allocations",
    responses((status = 200, description = "Since the nodes began to measure.", body = QualityAnswer))
)]
pub(crate) async fn call_quality(
    State(service): State<Service>,
    caller: Caller,
) -> Result<Answer<QualityAnswer>, Problem> {
    caller.require(Scope::Read)?;
    let mut sums: BTreeMap<Option<String>, QualityRecord> = BTreeMap::new();
    let (mut nodes, mut unanswered) = (Vec::new(), Vec::new());
    for (node, answer) in service.cluster.ask_all(Ask::Quality).await {
        match answer {
            Ok(cluster::Answer::Quality(None)) => {}
            Ok(cluster::Answer::Quality(Some(labels))) => {
                for LabelQuality { label, quality } in labels {
                    sums.entry(label).or_default().merge(&quality);
                }
                nodes.push(node);
            }
            Ok(other) => {
                let _problem = misunderstood(&node, &other);
                unanswered.push(NodeFault::new(node.clone(), &RequestError::Silent(node)));
            }
            Err(error) => unanswered.push(NodeFault::new(node, &error)),
        }
    }
    nodes.sort_unstable();
    let labels = sums.into_iter().map(|(label, quality)| LabelQuality { label, quality }).collect();
    Ok(Answer(QualityAnswer { labels, nodes, unanswered }))
}
