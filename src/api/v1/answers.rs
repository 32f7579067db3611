//! What several answers have in common.

use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    api::problem::{NODE_SILENT, NODE_UNKNOWN, Problem},
    cluster::RequestError,
};

/// A node that did not do what it was asked.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct NodeFault {
    /// Its name.
    pub(crate) id: String,
    /// Why, for people.
    pub(crate) reason: String,
}

impl NodeFault {
    pub(crate) fn new(id: impl Into<String>, error: &RequestError) -> Self {
        Self { id: id.into(), reason: error.to_string() }
    }
}

/// The answer where one node was asked and did not answer.
pub(crate) fn unanswered(error: &RequestError) -> Problem {
    match error {
        RequestError::UnknownNode(_) => NODE_UNKNOWN.with(error.to_string()),
        RequestError::Silent(_) | RequestError::NotUnderstood { .. } | RequestError::Degraded(_) => {
            NODE_SILENT.with(error.to_string())
        }
    }
}
