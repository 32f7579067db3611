//! Keys of `runtime` and `log`.

use super::{ANY, Key, bytes, count, duration, text};

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "runtime.shards",
        rule: count(0, 1024),
        brief: "Threads that relay; 0 is one per core",
        about: "Each has sockets, allocations and timers of its own and shares nothing on the path of a packet.",
        secret: false,
        reloads: false,
        field: |config| &mut config.runtime.shards,
    },
    Key {
        path: "runtime.socket_buffer_bytes",
        rule: bytes(0, 1 << 30),
        brief: "Kernel buffer of each UDP socket that clients send to; 0 leaves the system's",
        about: "Takes up what arrives while a thread is busy. The system bounds it: net.core.rmem_max and \
                net.core.wmem_max must allow as much.",
        secret: false,
        reloads: false,
        field: |config| &mut config.runtime.socket_buffer_bytes,
    },
    Key {
        path: "runtime.relay_socket_buffer_bytes",
        rule: bytes(0, 1 << 30),
        brief: "Kernel buffer of each relay socket; 0 leaves the system's",
        about: "There is one relay socket per allocation. It takes memory only for what waits in it; what systems give by \
                default overflows at a burst of 100 datagrams.",
        secret: false,
        reloads: false,
        field: |config| &mut config.runtime.relay_socket_buffer_bytes,
    },
    Key {
        path: "runtime.drain_timeout",
        rule: duration(0, 86_400),
        brief: "How long SIGTERM waits for allocations to end",
        about: "In that time calls go on and are refreshed, new ones are made on other nodes, and /readyz answers 503. A second \
                signal ends at once. Service managers must wait longer than this (TimeoutStopSec, \
                terminationGracePeriodSeconds).",
        secret: false,
        reloads: true,
        field: |config| &mut config.runtime.drain_timeout,
    },
    Key {
        path: "runtime.drain_redirect",
        rule: ANY,
        brief: "Whether a node that drains sends new clients to other nodes",
        about: "With 300 (Try Alternate) and the address of a node that fits, by the transport and address family the client \
                came by; without one, and for clients on the internet where other nodes have private addresses only, 508. \
                Turn it off where clients can't reach each node by its own address, as behind one load balancer for all.",
        secret: false,
        reloads: true,
        field: |config| &mut config.runtime.drain_redirect,
    },
    Key {
        path: "log.level",
        rule: ANY,
        brief: "Least severe level that is logged",
        about: "off, error, warn, info, debug or trace. info: start, reload, drain and what somebody must know. debug: the \
                life of allocations, with usernames and addresses.",
        secret: false,
        reloads: true,
        field: |config| &mut config.log.level,
    },
    Key {
        path: "log.filter",
        rule: text(1, 1000),
        brief: "Levels per module, instead of log.level",
        about: "In the syntax of RUST_LOG, such as \"info,iceway::turn=debug\". Libraries log too; what they say is not \
                redacted. log.level shows only their warnings.",
        secret: false,
        reloads: true,
        field: |config| &mut config.log.filter,
    },
    Key {
        path: "log.format",
        rule: ANY,
        brief: "Text or JSON",
        about: "auto is text on a terminal and one JSON object a line elsewhere, as under systemd or in a container.",
        secret: false,
        reloads: false,
        field: |config| &mut config.log.format,
    },
    Key {
        path: "log.redact",
        rule: ANY,
        brief: "Leave usernames and client addresses out at every level",
        about: "Otherwise they appear at debug, and in warnings about failed authentication. Secrets and passwords never \
                appear.",
        secret: false,
        reloads: true,
        field: |config| &mut config.log.redact,
    },
];
