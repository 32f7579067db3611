//! The allocations of other nodes, as far as they have told.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

/// The most nodes that are remembered.
const NODES_MAX: usize = 1024;
/// The most counts of users that are remembered, of all nodes together; further users are limited by each node for
/// itself.
const USERS_MAX: usize = 2_000_000;

/// What other nodes hold.
pub(super) struct Elsewhere {
    nodes: HashMap<Box<str>, Node>,
    /// The sums of all nodes.
    users: HashMap<Arc<str>, u32>,
    total: u32,
    /// How many counts all nodes have together.
    counts: usize,
    /// What limits are divided by; at least 1.
    share: u32,
}

/// What one node holds.
#[derive(Default)]
struct Node {
    users: HashMap<Arc<str>, u32>,
    total: u32,
}

impl Default for Elsewhere {
    fn default() -> Self {
        Self { nodes: HashMap::new(), users: HashMap::new(), total: 0, counts: 0, share: 1 }
    }
}

impl Elsewhere {
    /// Whether `here`, together with what `count` finds elsewhere, has reached a limit.
    pub(super) fn is_reached(&self, here: u32, limit: Option<u32>, count: impl FnOnce(&Self) -> u32) -> bool {
        let Some(limit) = limit else { return here == u32::MAX };
        if self.share > 1 {
            // What others hold is not known: each keeps to its part, and nobody is shut out altogether.
            return here >= (limit / self.share).max(limit.min(1));
        }
        here.saturating_add(count(self)) >= limit
    }

    pub(super) fn of_user(&self, user: &str) -> u32 {
        self.users.get(user).copied().unwrap_or(0)
    }

    pub(super) fn total(&self) -> u32 {
        self.total
    }

    pub(super) fn set_share(&mut self, divisor: u32) {
        self.share = divisor.max(1);
    }

    pub(super) fn set_total(&mut self, node: &str, count: u32) {
        let Some(found) = self.node(node) else { return };
        let before = std::mem::replace(&mut found.total, count);
        self.total = self.total.saturating_sub(before).saturating_add(count);
        self.drop_if_empty(node);
    }

    pub(super) fn set(&mut self, node: &str, user: &str, count: u32) {
        let (is_full, known) = (self.counts >= USERS_MAX, self.users.get_key_value(user));
        let name: Arc<str> = known.map_or_else(|| user.into(), |(name, _)| Arc::clone(name));
        let Some(found) = self.node(node) else { return };
        let before = match found.users.entry(Arc::clone(&name)) {
            Entry::Occupied(entry) if count == 0 => Some(entry.remove()),
            Entry::Occupied(mut entry) => Some(entry.insert(count)),
            Entry::Vacant(_) if count == 0 || is_full => return self.drop_if_empty(node),
            Entry::Vacant(entry) => {
                entry.insert(count);
                None
            }
        };
        match (before, count) {
            (None, _) => self.counts += 1,
            (Some(_), 0) => self.counts -= 1,
            (Some(_), _) => {}
        }
        change_sum(&mut self.users, name, before.unwrap_or(0), count);
        self.drop_if_empty(node);
    }

    /// A node that holds nothing takes no place: names of nodes may change with every start.
    fn drop_if_empty(&mut self, node: &str) {
        if self.nodes.get(node).is_some_and(|node| node.total == 0 && node.users.is_empty()) {
            self.nodes.remove(node);
        }
    }

    pub(super) fn forget(&mut self, node: &str) {
        let Some(node) = self.nodes.remove(node) else { return };
        self.total = self.total.saturating_sub(node.total);
        self.counts -= node.users.len();
        for (user, count) in node.users {
            change_sum(&mut self.users, user, count, 0);
        }
        if self.users.len() < self.users.capacity() / 8 {
            self.users.shrink_to(self.users.len() * 2);
        }
    }

    /// The node of this name; `None` if there are too many.
    fn node(&mut self, name: &str) -> Option<&mut Node> {
        if !self.nodes.contains_key(name) {
            if self.nodes.len() >= NODES_MAX {
                return None;
            }
            self.nodes.insert(name.into(), Node::default());
        }
        self.nodes.get_mut(name)
    }
}

/// Changes one part of a user's sum, and forgets the user with the last of them.
fn change_sum(users: &mut HashMap<Arc<str>, u32>, user: Arc<str>, before: u32, now: u32) {
    let sum = users.get(&user).copied().unwrap_or(0).saturating_sub(before).saturating_add(now);
    if sum == 0 {
        users.remove(&user);
    } else {
        users.insert(user, sum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::{Limits, QuotaKind, Quotas};

    #[test]
    fn what_other_nodes_hold_counts_against_a_user_and_the_cluster() {
        let quotas = Quotas::new();
        let limits =
            Limits { allocations_per_user: Some(3), allocations_cluster: Some(10), ..Limits::default() };
        let here = std::net::IpAddr::from([192, 0, 2, 1]);
        quotas.set_elsewhere("b", "a", 2);
        quotas.set_elsewhere_total("b", 8);
        let _a = quotas.admit("a", here, &limits).unwrap();
        assert_eq!(quotas.admit("a", here, &limits).unwrap_err(), QuotaKind::User);
        let _b = quotas.admit("b", here, &limits).unwrap();
        assert_eq!(quotas.admit("b", here, &limits).unwrap_err(), QuotaKind::Cluster);

        quotas.forget_node("b");
        let _c = quotas.admit("a", here, &limits).unwrap();
        quotas.set_share(4);
        assert_eq!(quotas.admit("a", here, &limits).unwrap_err(), QuotaKind::User);
        assert_eq!(quotas.admit("c", here, &limits).unwrap_err(), QuotaKind::Cluster);
        quotas.set_share(1);
        assert!(quotas.admit("a", here, &limits).is_ok());
    }

    #[test]
    fn what_nodes_hold_adds_up_and_goes_with_them() {
        let mut elsewhere = Elsewhere::default();
        elsewhere.set("a", "bob", 2);
        elsewhere.set("b", "bob", 3);
        elsewhere.set("b", "ann", 1);
        elsewhere.set_total("a", 20);
        elsewhere.set_total("b", 30);
        assert_eq!((elsewhere.of_user("bob"), elsewhere.of_user("ann"), elsewhere.total()), (5, 1, 50));

        elsewhere.set("b", "bob", 1);
        elsewhere.set_total("b", 10);
        assert_eq!((elsewhere.of_user("bob"), elsewhere.total()), (3, 30));

        elsewhere.set("b", "bob", 0);
        elsewhere.forget("a");
        elsewhere.forget("never seen");
        assert_eq!((elsewhere.of_user("bob"), elsewhere.of_user("ann"), elsewhere.total()), (0, 1, 10));

        elsewhere.forget("b");
        assert_eq!((elsewhere.users.len(), elsewhere.nodes.len(), elsewhere.counts), (0, 0, 0));

        elsewhere.set_total("a", 1);
        elsewhere.set("b", "bob", 1);
        elsewhere.set_total("a", 0);
        elsewhere.set("b", "bob", 0);
        elsewhere.set("c", "bob", 0);
        assert_eq!(elsewhere.nodes.len(), 0, "a node that holds nothing takes no place");
    }

    #[test]
    fn nodes_and_users_are_bounded() {
        let mut elsewhere = Elsewhere::default();
        for node in 0..2 * NODES_MAX {
            elsewhere.set_total(&node.to_string(), 1);
        }
        assert_eq!((elsewhere.nodes.len(), elsewhere.total() as usize), (NODES_MAX, NODES_MAX));

        elsewhere.counts = USERS_MAX;
        elsewhere.set("1", "bob", 7);
        assert_eq!((elsewhere.of_user("bob"), elsewhere.counts), (0, USERS_MAX));
    }

    #[test]
    fn a_share_counts_only_what_is_here_and_leaves_each_user_one() {
        let mut elsewhere = Elsewhere::default();
        elsewhere.set("a", "bob", 9);
        let reached = |elsewhere: &Elsewhere, here, limit| {
            elsewhere.is_reached(here, Some(limit), |all| all.of_user("bob"))
        };
        assert!(reached(&elsewhere, 1, 10) && !reached(&elsewhere, 0, 10));

        elsewhere.set_share(3);
        assert!(reached(&elsewhere, 3, 10) && !reached(&elsewhere, 2, 10));
        assert!(reached(&elsewhere, 1, 2) && !reached(&elsewhere, 0, 2));
        assert!(reached(&elsewhere, 0, 0));

        elsewhere.set_share(0);
        assert!(reached(&elsewhere, 1, 10));
        assert!(!elsewhere.is_reached(1_000, None, |_| u32::MAX));
    }
}
