//! Keys of `explain` and `quality`.

use super::{ANY, Key, bytes, count, duration};

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "quality.sample",
        rule: count(0, 1_000_000),
        brief: "Measure loss and jitter of one allocation of so many; 0 is off",
        about: "From the sequence numbers and timestamps of RTP, which SRTP leaves in the clear. A packet of a measured \
                allocation costs about 50 ns more, one of the others less than 10, of the 5 µs that relaying takes; 0 costs \
                nothing. Shown by `iceway sessions`, in /v1/quality by label and in iceway_call_quality_… . Loss between \
                here and the receiver is not seen. Jitter needs the clock rate of a stream, which is found from its \
                timestamps within 2 s if it is a usual one.",
        secret: false,
        reloads: true,
        field: |config| &mut config.quality.sample,
    },
    Key {
        path: "quality.labels_max",
        rule: count(1, 10_000),
        brief: "Labels of credentials whose quality is told apart, per thread",
        about: "Further ones count together with those that have none.",
        secret: false,
        reloads: true,
        field: |config| &mut config.quality.labels,
    },
    Key {
        path: "explain.enabled",
        rule: ANY,
        brief: "Remember why users were refused or lost datagrams",
        about: "In memory, within the bounds below, with the addresses of clients and denied peers; never a password, a key \
                or payload. Off: nothing is remembered and what there was is forgotten.",
        secret: false,
        reloads: true,
        field: |config| &mut config.explain.is_on,
    },
    Key {
        path: "explain.users_max",
        rule: count(1, 10_000_000),
        brief: "Users of whom something is remembered",
        about: "Those who proved a credential. Whoever was heard of longest ago is forgotten first.",
        secret: false,
        reloads: true,
        field: |config| &mut config.explain.users,
    },
    Key {
        path: "explain.strangers_max",
        rule: count(1, 1_000_000),
        brief: "User names of which something is remembered although nobody proved to be them",
        about: "Wrong passwords and unknown users: anybody can send any name. They are kept apart, within an eighth of \
                explain.memory, at most one a second from one address (IPv6: /64) and 64 a second in all, and only from \
                clients that are where they say they are.",
        secret: false,
        reloads: true,
        field: |config| &mut config.explain.strangers,
    },
    Key {
        path: "explain.entries_per_user",
        rule: count(1, 1000),
        brief: "Different things that are remembered of one user",
        about: "The same thing again from the same address only counts up. For names that nobody proved it is at most 4.",
        secret: false,
        reloads: true,
        field: |config| &mut config.explain.incidents_per_user,
    },
    Key {
        path: "explain.memory",
        rule: bytes(64 << 10, 16 << 30),
        brief: "Bytes that all of it may take",
        about: "About 200 bytes for a user and 150 for each thing that went wrong.",
        secret: false,
        reloads: true,
        field: |config| &mut config.explain.bytes,
    },
    Key {
        path: "explain.age_max",
        rule: duration(60, 2_592_000),
        brief: "How long it is remembered",
        about: "What is older is not told, and is forgotten.",
        secret: false,
        reloads: true,
        field: |config| &mut config.explain.age,
    },
];
