//! What a seed makes of the configuration.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use iceway::turn::{Bandwidth, Expiry, Lifetimes, Limits, Options, PeerPolicy, QuotaClass, RelayAddress};

use crate::{
    chance::Chance,
    people::{REALM, address},
};

/// Where clients reach the server.
pub(crate) fn listeners() -> Vec<SocketAddr> {
    vec![address("80.1.1.1:3478"), address("[2a01::1]:3478")]
}

pub(crate) fn options(chance: &mut Chance) -> Options {
    Options {
        listeners: listeners(),
        relay_addresses: relay_addresses(chance),
        realm: REALM.into(),
        software: chance.percent(30).then(|| "simulated".into()),
        lifetimes: lifetimes(chance),
        limits: limits(chance),
        bandwidth: Bandwidth {
            per_allocation: chance.percent(20).then(|| 100 + chance.below(10_000)),
            total: chance.percent(20).then(|| 1_000 + chance.below(100_000)),
        },
        classes: classes(chance),
        expiry: chance.pick(&[Expiry::Allocate, Expiry::Refresh, Expiry::Strict]),
        external_users: chance.percent(70),
        quality: iceway::turn::QualityOptions::default(),
        legacy_channel_numbers: chance.percent(20),
    }
}

/// Small ranges run out; large ones do not.
pub(crate) fn port_range(chance: &mut Chance) -> (u16, u16) {
    chance.pick(&[(50_000, 50_003), (50_001, 50_012), (49_152, 65_535), (65_535, 65_535)])
}

pub(crate) fn policy(options: &Options, is_strict: bool) -> PeerPolicy {
    let rules = |all: &[&str]| all.iter().map(|rule| rule.parse().unwrap()).collect::<Vec<_>>();
    let deny = if is_strict { rules(&["91.0.0.0/8", "90.0.0.2/32"]) } else { rules(&["91.0.0.0/8"]) };
    let own: Vec<IpAddr> = options.listeners.iter().map(SocketAddr::ip).collect();
    PeerPolicy::new(&rules(&["192.168.7.0/24"]), &deny, &own)
}

/// What the stricter policy denies on top.
pub(crate) fn denied_after_reload() -> IpAddr {
    IpAddr::from([90, 0, 0, 2])
}

fn relay_addresses(chance: &mut Chance) -> Vec<RelayAddress> {
    let relay = |local: &str, advertised: &str| RelayAddress {
        local: local.parse().unwrap(),
        advertised: advertised.parse().unwrap(),
    };
    match chance.below(5) {
        0 => vec![relay("80.1.1.1", "80.1.1.1")],
        1 => vec![relay("10.0.0.1", "80.1.1.1"), relay("2a01::1", "2a01::1")],
        2 => vec![relay("127.0.0.1", "127.0.0.1"), relay("::1", "::1")],
        3 => vec![relay("80.1.1.1", "80.1.1.1"), relay("80.1.1.2", "80.1.1.2"), relay("2a01::1", "2a01::1")],
        _ => vec![relay("80.1.1.1", "80.1.1.1"), relay("fd00::1", "2a01::9")],
    }
}

fn lifetimes(chance: &mut Chance) -> Lifetimes {
    let mut between = |low: u64, high: u64| Duration::from_secs(low + chance.below(high - low + 1));
    Lifetimes {
        allocation_default: between(60, 600),
        allocation_max: between(600, 3600),
        permission: between(20, 300),
        channel: between(40, 600),
        channel_linger: between(0, 300),
        reservation: between(5, 30),
        nonce: between(60, 3600),
    }
}

/// Limits for those who claim `gold`; `lead` is never there.
fn classes(chance: &mut Chance) -> Arc<[QuotaClass]> {
    let gold = QuotaClass {
        name: "gold".into(),
        allocations_per_user: chance.percent(50).then(|| 1 + chance.below(3) as u32),
        bandwidth_per_allocation: chance.percent(30).then(|| 100 + chance.below(10_000)),
    };
    if chance.percent(60) { Arc::new([gold]) } else { Arc::default() }
}

fn limits(chance: &mut Chance) -> Limits {
    let mut some = |percent: u64, least: u64, more: u64| {
        chance.percent(percent).then(|| (least + chance.below(more)) as u32)
    };
    let (per_user, per_address, total) = (some(30, 1, 3), some(30, 1, 3), some(30, 1, 12));
    Limits {
        allocations_per_user: per_user,
        allocations_per_address: per_address,
        allocations_total: total,
        allocations_cluster: None,
        permissions_per_allocation: chance.pick(&[3, 256]),
        channels_per_allocation: chance.pick(&[2, 256]),
        unauthenticated_answers_per_second: chance.pick(&[1, 100]),
    }
}
