//! Keys of `relay`.

use super::{ANY, Key, count};

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
        brief: "Public addresses clients are told, when a NAT is in front",
        about: "\"203.0.113.5\" stands for every relay address of its family, \"203.0.113.5/10.0.0.5\" for one. Cloud \
                machines with a private address need this: without it clients are told an address that nobody reaches. \
                The NAT must map ports one to one.",
        secret: false,
        reloads: false,
        field: |config| &mut config.relay.external,
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
