//! Keys of `listen`, `tls` and `streams`.

use super::{ANY, Key, bytes, count, duration};

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "listen.udp",
        rule: ANY,
        brief: "Addresses to listen on for UDP clients",
        about: "Each entry is IP:PORT; \":3478\" is that port on every IPv4 and IPv6 address of this machine. An empty \
                list has no UDP listener. 3478 is the port RFC 8489 registers, so clients need not be told one.",
        secret: false,
        reloads: false,
        field: |config| &mut config.listen.udp,
    },
    Key {
        path: "listen.tcp",
        rule: ANY,
        brief: "Addresses to listen on for TCP clients",
        about: "For clients whose network lets no UDP out. TLS is recognised on the same port if there is a certificate. \
                An empty list has no TCP listener.",
        secret: false,
        reloads: false,
        field: |config| &mut config.listen.tcp,
    },
    Key {
        path: "listen.tls",
        rule: ANY,
        brief: "Addresses to listen on for TLS clients",
        about: "Needs tls.certificate. When it is not set and there is a certificate, it is \":5349\", the port RFC 8489 \
                registers for `turns:`. Many networks let only port 443 out: \":443\" reaches them.",
        secret: false,
        reloads: false,
        field: |config| &mut config.listen.tls,
    },
    Key {
        path: "tls.certificate",
        rule: ANY,
        brief: "PEM file with the certificate and its chain",
        about: "The server's certificate first, then the intermediate ones. The file is read again on SIGHUP and when \
                it changes; one that cannot be used leaves the old in use and says so in the log.",
        secret: false,
        reloads: false,
        field: |config| &mut config.tls.certificate,
    },
    Key {
        path: "tls.private_key",
        rule: ANY,
        brief: "PEM file with the private key of the certificate",
        about: "PKCS#8, PKCS#1 or SEC1, not encrypted. Only the server should be able to read it. Read again with the \
                certificate.",
        secret: false,
        reloads: false,
        field: |config| &mut config.tls.private_key,
    },
    Key {
        path: "streams.connections_total",
        rule: count(0, 10_000_000),
        brief: "Most TCP and TLS connections in all; 0 is unlimited",
        about: "More are closed as soon as they are accepted. Each connection costs a descriptor and a few KiB, TLS some \
                tens of KiB; the limit of descriptors (ulimit -n) should be above it.",
        secret: false,
        reloads: false,
        field: |config| &mut config.streams.connections_total,
    },
    Key {
        path: "streams.connections_per_address",
        rule: count(0, 10_000_000),
        brief: "Most TCP and TLS connections of one client address; 0 is unlimited",
        about: "Counted per IPv4 address and per IPv6 /64. Generous, since a whole office or mobile network may share one \
                address.",
        secret: false,
        reloads: false,
        field: |config| &mut config.streams.connections_per_address,
    },
    Key {
        path: "streams.handshake_timeout",
        rule: duration(1, 300),
        brief: "How long a connection may take for its first byte and TLS handshake",
        about: "A client needs a few round trips; whoever takes longer holds a connection for nothing.",
        secret: false,
        reloads: false,
        field: |config| &mut config.streams.handshake_timeout,
    },
    Key {
        path: "streams.unauthenticated_timeout",
        rule: duration(1, 3600),
        brief: "How long a connection may live without an allocation",
        about: "Long enough for a client that gathers candidates before it allocates.",
        secret: false,
        reloads: false,
        field: |config| &mut config.streams.unauthenticated_timeout,
    },
    Key {
        path: "streams.frame_timeout",
        rule: duration(1, 300),
        brief: "How long a message may take from its first byte to its last",
        about: "A sender that stalls inside a message is closed; silence between messages is no fault.",
        secret: false,
        reloads: false,
        field: |config| &mut config.streams.frame_timeout,
    },
    Key {
        path: "streams.buffer_bytes",
        rule: bytes(65_536, 64 << 20),
        brief: "Bytes that may wait for a client that reads slowly",
        about: "Per connection. What does not fit is dropped and counted, as a full queue of a router would: old media is \
                worth nothing. At least 64KiB, so that the largest message fits.",
        secret: false,
        reloads: false,
        field: |config| &mut config.streams.buffer_bytes,
    },
];
