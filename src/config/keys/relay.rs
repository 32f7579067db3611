//! Keys of `relay`.

use super::{ANY, Key, count, duration};

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "relay.addresses",
        rule: ANY,
        brief: "Local addresses relay sockets are bound to",
        about: "IP addresses of this machine. Empty: the addresses that are listened on, so that a client is relayed from \
                the address it reached.",
        secret: false,
        reloads: false,
        field: |config| &mut config.relay.addresses,
    },
    Key {
        path: "relay.external",
        rule: ANY,
        brief: "Public addresses clients are told, or where they are known from",
        about: "\"203.0.113.5\" stands for every relay address of its family, \"203.0.113.5/10.0.0.5\" for one. Cloud \
                machines with a private address need this: without it clients are told an address that nobody reaches. \
                The NAT must map ports one to one. Where the address is not known beforehand, it is found, at the start \
                and again each relay.external_refresh. \"stun:HOST[:PORT]\": what this STUN server sees each relay \
                address as; one that it does not see is not relayed from. \"dns:NAME\": what this host name leads to. \
                \"interface:eth1\": the most public address of this interface, and relay sockets are bound there. Of \
                several entries for a family the first that gives an address counts, written ones before all others. \
                The start waits for 10 s; if nothing is found by then, and no relay address is public by itself, it \
                fails. Allocations keep the address they were made with; one that is found no more is kept until \
                another is. A list with commas, as of Kubernetes' status.hostIPs, is taken from the environment.",
        secret: false,
        reloads: false,
        field: |config| &mut config.relay.external,
    },
    Key {
        path: "relay.external_refresh",
        rule: duration(1, 86_400),
        brief: "How often the public address is looked for again",
        about: "Of relay.external only stun:, dns: and interface: are looked for. An address that differs is told once it \
                has been found twice in a row; an answer that fails is tried again after 5 s at most.",
        secret: false,
        reloads: false,
        field: |config| &mut config.relay.external_refresh,
    },
    Key {
        path: "relay.port_min",
        rule: count(1, 65_535),
        brief: "Lowest UDP port of relay sockets",
        about: "With relay.port_max this is the range a firewall must let in. Each allocation takes one port per address \
                family. The default is the range of RFC 8656; where the system gives its own outgoing connections ports \
                of the same range (net.ipv4.ip_local_port_range), a port found in use is skipped.",
        secret: false,
        reloads: false,
        field: |config| &mut config.relay.port_min,
    },
    Key {
        path: "relay.port_max",
        rule: count(1, 65_535),
        brief: "Highest UDP port of relay sockets",
        about: "See relay.port_min.",
        secret: false,
        reloads: false,
        field: |config| &mut config.relay.port_max,
    },
];
