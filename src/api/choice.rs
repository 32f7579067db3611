//! Which nodes a client is sent to.
//!
//! Pure: the nodes, the time and the randomness are arguments. A node that drains, is silent or is full is never
//! named. Among the others the less loaded of two random ones is: nearly as even as asking for the least loaded of
//! all, and without every caller running to the same node between two heartbeats. With two nodes that would not hold
//! (both are always drawn), so loads that differ by little count as equal.

use crate::cluster::{NodeInfo, NodeLoad, NodeState};

/// A node that has not been heard of for so long is taken for silent: two heartbeats and a half.
pub(crate) const SILENT_AFTER_MILLIS: u64 = 5000;
/// The most nodes one credential names: browsers gather slower with each.
pub(crate) const NODES_MAX: usize = 8;
/// Loads that differ by less count as equal, and chance decides: they are up to a heartbeat old.
const LOAD_MARGIN: f64 = 0.05;
/// A label stays at its node until that is so busy.
const STICKY_LOAD_MAX: f64 = 0.8;

/// What kind of node is wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Preference<'a> {
    /// Only nodes of this region; `None`: those of `home` if one of them fits, else any.
    pub(crate) region: Option<&'a str>,
    /// The region of the node that is asked.
    pub(crate) home: &'a str,
    /// Clients with the same label meet at the same node when that is possible.
    pub(crate) label: Option<&'a str>,
    /// How many different nodes; fewer are named if there are no more.
    pub(crate) count: usize,
    /// The node that is asked: it need not hear of itself.
    pub(crate) own: &'a str,
    /// Milliseconds since the Unix epoch.
    pub(crate) now: u64,
}

/// The nodes to name, best first; empty if none fits.
pub(crate) fn choose<'n>(
    nodes: &'n [NodeInfo],
    fits: impl Fn(&NodeInfo) -> bool,
    preference: &Preference<'_>,
    mut random: impl FnMut() -> u64,
) -> Vec<&'n NodeInfo> {
    let mut eligible: Vec<&NodeInfo> = nodes
        .iter()
        .filter(|node| is_eligible(node, preference) && fits(node))
        .filter(|node| preference.region.is_none_or(|region| node.region == region))
        .collect();
    if preference.region.is_none() && eligible.iter().any(|node| node.region == preference.home) {
        eligible.retain(|node| node.region == preference.home);
    }
    let count = preference.count.min(NODES_MAX).min(eligible.len());
    if eligible.len() <= 1 {
        eligible.truncate(count);
        return eligible;
    }
    match preference.label {
        Some(label) => stick(&mut eligible, label),
        None => draw(&mut eligible, count, &mut random),
    }
    eligible.truncate(count);
    eligible
}

/// Whether a client may be sent there at all.
fn is_eligible(node: &NodeInfo, preference: &Preference<'_>) -> bool {
    let age = preference.now.saturating_sub(node.told);
    let is_heard_of = age < SILENT_AFTER_MILLIS || node.id == preference.own;
    let is_serving = match node.state {
        NodeState::Serving => true,
        NodeState::Draining => false,
    };
    is_heard_of && is_serving && !is_full(&node.load)
}

const fn is_full(load: &NodeLoad) -> bool {
    let allocations = load.allocations_max > 0 && load.allocations >= load.allocations_max;
    let bytes = load.bytes_per_second_max > 0 && load.bytes_per_second >= load.bytes_per_second_max;
    allocations || bytes
}

/// 0 is idle, 1 is full: the scarcest of what a node has.
fn load(node: &NodeInfo) -> f64 {
    let share = |used: u64, max: u64| if max == 0 { 0.0 } else { used as f64 / max as f64 };
    let NodeLoad { allocations, allocations_max, bytes_per_second, bytes_per_second_max, processor } =
        node.load;
    let processor = if processor.is_finite() { processor } else { 1.0 };
    share(allocations, allocations_max).max(share(bytes_per_second, bytes_per_second_max)).max(processor)
}

/// Brings `count` nodes to the front, each the less loaded of two random ones that are left.
fn draw(nodes: &mut [&NodeInfo], count: usize, random: &mut impl FnMut() -> u64) {
    for place in 0..count {
        let Some(rest) = nodes.get_mut(place..) else { return };
        let first = below(random(), rest.len());
        let second = below(random(), rest.len() - 1);
        // The second is drawn among the others.
        let second = if rest.len() > 1 && second >= first { second + 1 } else { second };
        let (Some(one), Some(other)) = (rest.get(first), rest.get(second)) else { return };
        let better = if load(one) - load(other) >= LOAD_MARGIN { second } else { first };
        rest.swap(0, better);
    }
}

/// A number below `bound`, evenly enough; 0 if there is none.
fn below(random: u64, bound: usize) -> usize {
    let wide = u128::from(random) * bound as u128;
    usize::try_from(wide >> 64).unwrap_or(0)
}

/// Orders the nodes by how they rank for a label: every node of the cluster comes to the same order, and one that
/// joins or leaves moves only the labels that are its own. Busy ones come last.
fn stick(nodes: &mut [&NodeInfo], label: &str) {
    nodes
        .sort_by_cached_key(|node| (load(node) >= STICKY_LOAD_MAX, std::cmp::Reverse(rank(label, &node.id))));
}

/// The rank of a node for a label (highest random weight). Must not differ between versions: nodes of two versions
/// serve one call while a cluster is upgraded.
fn rank(label: &str, node: &str) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in label.bytes().chain([0]).chain(node.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    // FNV alone leaves names that differ in the last character close together.
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_000_000;

    fn node(id: usize, region: &str, state: NodeState, age: u64, allocations: u64) -> NodeInfo {
        NodeInfo {
            region: region.to_owned(),
            uris: vec![format!("turn:n{id}.example.org:3478?transport=udp")],
            state,
            load: NodeLoad { allocations, allocations_max: 100, ..NodeLoad::default() },
            ..NodeInfo::new(format!("n{id}"), 1, NOW - age)
        }
    }

    fn nodes() -> impl Strategy<Value = Vec<NodeInfo>> {
        let one = (0..3usize, prop::bool::ANY, 0..10_000u64, 0..120u64);
        prop::collection::vec(one, 0..12).prop_map(|list| {
            let made = list.into_iter().enumerate().map(|(id, (region, serving, age, allocations))| {
                let state = if serving { NodeState::Serving } else { NodeState::Draining };
                node(id, ["eu", "us", ""][region], state, age, allocations)
            });
            made.collect()
        })
    }

    fn seeded(mut seed: u64) -> impl FnMut() -> u64 {
        move || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            seed ^ (seed >> 33)
        }
    }

    fn preference<'a>(region: Option<&'a str>, label: Option<&'a str>, count: usize) -> Preference<'a> {
        Preference { region, home: "eu", label, count, own: "n99", now: NOW }
    }

    fn ids(chosen: &[&NodeInfo]) -> Vec<String> {
        chosen.iter().map(|node| node.id.clone()).collect()
    }

    proptest! {
        #[test]
        fn nobody_is_sent_to_a_draining_silent_full_or_foreign_node(
            nodes in nodes(), seed: u64, region in prop::option::of("eu|us|mars"), label in prop::option::of("[a-c]"),
            count in 1..10usize,
        ) {
            let wanted = preference(region.as_deref(), label.as_deref(), count);
            let chosen = choose(&nodes, |_| true, &wanted, seeded(seed));
            for node in &chosen {
                prop_assert_eq!(node.state, NodeState::Serving);
                prop_assert!(NOW - node.told < SILENT_AFTER_MILLIS);
                prop_assert!(node.load.allocations < node.load.allocations_max);
                prop_assert!(region.as_ref().is_none_or(|region| node.region == *region));
            }
            let distinct: HashSet<_> = ids(&chosen).into_iter().collect();
            prop_assert_eq!(distinct.len(), chosen.len());
            let fit = nodes.iter().filter(|node| is_eligible(node, &wanted));
            let fit = fit.filter(|node| region.as_ref().is_none_or(|region| node.region == *region));
            let home = fit.clone().filter(|node| node.region == "eu").count();
            let all = if region.is_none() && home > 0 { home } else { fit.count() };
            prop_assert_eq!(chosen.len(), count.min(NODES_MAX).min(all));
        }

        #[test]
        fn a_label_leads_to_the_same_nodes_whatever_is_drawn(nodes in nodes(), one: u64, other: u64, count in 1..4usize) {
            let wanted = preference(None, Some("call:1"), count);
            let first = ids(&choose(&nodes, |_| true, &wanted, seeded(one)));
            let mut shuffled = nodes.clone();
            shuffled.reverse();
            prop_assert_eq!(first, ids(&choose(&shuffled, |_| true, &wanted, seeded(other))));
        }

        #[test]
        fn a_node_that_leaves_moves_only_the_labels_that_were_its_own(label in "[a-z]{1,8}", gone in 0..6usize) {
            let all: Vec<_> = (0..6).map(|id| node(id, "eu", NodeState::Serving, 0, 0)).collect();
            let mut fewer = all.clone();
            fewer.remove(gone);
            let wanted = preference(None, Some(&label), 1);
            let before = ids(&choose(&all, |_| true, &wanted, || 0));
            let after = ids(&choose(&fewer, |_| true, &wanted, || 0));
            let was_there = before == [format!("n{gone}")];
            prop_assert!(was_there || before == after);
        }

        #[test]
        fn the_busiest_of_three_or_more_is_named_first_only_if_drawn_twice(seed: u64, busiest in 0..5usize) {
            let all: Vec<_> =
                (0..5).map(|id| node(id, "eu", NodeState::Serving, 0, if id == busiest { 99 } else { 1 })).collect();
            let chosen = choose(&all, |_| true, &preference(None, None, 1), seeded(seed));
            prop_assert_ne!(&chosen[0].id, &format!("n{busiest}"));
        }
    }

    #[test]
    fn equally_busy_nodes_share_the_clients_evenly() {
        let all: Vec<_> = (0..4).map(|id| node(id, "eu", NodeState::Serving, 0, 10)).collect();
        let mut random = seeded(7);
        let mut seen: HashMap<String, u32> = HashMap::new();
        for _ in 0..4000 {
            let chosen = choose(&all, |_| true, &preference(None, None, 1), &mut random);
            *seen.entry(chosen[0].id.clone()).or_default() += 1;
        }
        assert!(seen.len() == 4 && seen.values().all(|count| (800..1200).contains(count)), "{seen:?}");
    }

    #[test]
    fn two_nodes_share_the_clients_until_one_is_clearly_busier() {
        let shares = |busier: u64| {
            let both = [10, busier].map(|allocations| node(0, "eu", NodeState::Serving, 0, allocations));
            let mut random = seeded(3);
            let first = |_: &u32| {
                std::ptr::eq(choose(&both, |_| true, &preference(None, None, 1), &mut random)[0], &both[0])
            };
            (0..1000).filter(first).count()
        };
        assert!((400..600).contains(&shares(10)), "{}", shares(10));
        assert!((400..600).contains(&shares(14)), "{}", shares(14));
        assert_eq!(shares(16), 1000);
    }

    #[test]
    fn labels_spread_over_the_nodes_and_leave_a_busy_one() {
        let mut all: Vec<_> = (0..4).map(|id| node(id, "eu", NodeState::Serving, 0, 10)).collect();
        let mut seen: HashMap<String, u32> = HashMap::new();
        for call in 0..4000 {
            let label = format!("call:{call}");
            *seen
                .entry(choose(&all, |_| true, &preference(None, Some(&label), 1), || 0)[0].id.clone())
                .or_default() += 1;
        }
        assert!(seen.len() == 4 && seen.values().all(|count| (800..1200).contains(count)), "{seen:?}");
        all[2].load.allocations = 90;
        for call in 0..100 {
            let label = format!("call:{call}");
            assert_ne!(choose(&all, |_| true, &preference(None, Some(&label), 1), || 0)[0].id, "n2");
        }
    }

    #[test]
    fn without_a_wish_the_home_region_comes_first_and_another_is_better_than_none() {
        let mut all = vec![
            node(0, "us", NodeState::Serving, 0, 0),
            node(1, "eu", NodeState::Serving, 0, 99),
            node(2, "us", NodeState::Serving, 0, 0),
        ];
        assert_eq!(ids(&choose(&all, |_| true, &preference(None, None, 2), seeded(1))), ["n1"]);
        all[1].state = NodeState::Draining;
        assert_eq!(choose(&all, |_| true, &preference(None, None, 2), seeded(1)).len(), 2);
        assert!(choose(&all, |_| true, &preference(Some("eu"), None, 1), seeded(1)).is_empty());
        assert!(choose(&all, |node| node.id == "n9", &preference(None, None, 1), seeded(1)).is_empty());
    }
}
