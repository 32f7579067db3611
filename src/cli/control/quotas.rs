//! The relay's table of quotas, as the cluster fills it in.

use std::sync::Arc;

use crate::{cluster::QuotaTable, runtime::NodeHandle};

/// Passes on to the table that the relay asks at each Allocate.
#[derive(Debug)]
pub(super) struct RelayQuotas {
    node: NodeHandle,
}

impl RelayQuotas {
    /// With other nodes to tell, the relay remembers whose count changed from now on.
    pub(super) fn new(node: NodeHandle, has_others: bool) -> Self {
        node.quotas().track(has_others);
        Self { node }
    }
}

impl QuotaTable for RelayQuotas {
    fn take_changes(&self) -> Vec<(Arc<str>, u32)> {
        self.node.quotas().take_changes()
    }

    fn all(&self) -> Vec<(Arc<str>, u32)> {
        self.node.quotas().all_users()
    }

    fn set_elsewhere(&self, node: &str, user: &str, count: u32) {
        self.node.quotas().set_elsewhere(node, user, count);
    }

    fn forget_node(&self, node: &str) {
        self.node.quotas().forget_node(node);
    }

    fn set_share(&self, divisor: u32) {
        self.node.quotas().set_share(divisor);
    }
}
