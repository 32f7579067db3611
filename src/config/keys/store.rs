//! Keys of `store` and `usage`.

use super::{ANY, Key, count};

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "store.path",
        rule: ANY,
        brief: "File for what must outlive a restart, or off",
        about: "Revocations, stored secrets, API keys and usage that was not taken yet. It holds secrets, so only its owner \
                may read it (mode 0600), and one process has it open at a time. Everything is synced to it before it is \
                acknowledged. Default: iceway.redb in $STATE_DIRECTORY, which systemd sets (StateDirectory=); without \
                either, everything is kept in memory and a restart forgets it.",
        secret: false,
        reloads: false,
        field: |config| &mut config.store.path,
    },
    Key {
        path: "usage.records_max",
        rule: count(1000, 100_000_000),
        brief: "Records of ended allocations that may wait to be taken",
        about: "Each takes about 500 bytes of the file. When there are more, the oldest are dropped and counted \
                (iceway_usage_records_lost_total). Without a file at most 100000 wait.",
        secret: false,
        reloads: false,
        field: |config| &mut config.usage.records_max,
    },
    Key {
        path: "usage.days",
        rule: count(1, 400),
        brief: "Days for which usage per user and per label is summed",
        about: "Beyond 100000 users or labels a day the rest is summed without a name.",
        secret: false,
        reloads: false,
        field: |config| &mut config.usage.days,
    },
];
