//! Keys of `credentials`.

use super::{Key, duration};

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "credentials.ttl_default",
        rule: duration(1, 2_592_000),
        brief: "Lifetime of issued credentials when the caller names none",
        about: "Clients should fetch new ones after four fifths of it. A call that is up outlives its credential unless \
                auth.expiry says otherwise.",
        secret: false,
        reloads: true,
        field: |config| &mut config.credentials.ttl_default,
    },
    Key {
        path: "credentials.ttl_min",
        rule: duration(1, 2_592_000),
        brief: "Shortest lifetime a caller may ask for",
        about: "Shorter ones are refused with ttl_out_of_range: a client needs the time to connect.",
        secret: false,
        reloads: true,
        field: |config| &mut config.credentials.ttl_min,
    },
    Key {
        path: "credentials.ttl_max",
        rule: duration(1, 2_592_000),
        brief: "Longest lifetime a caller may ask for",
        about: "Longer ones are refused with ttl_out_of_range. Also how long a retiring secret stays valid, and how long a \
                revocation is kept: no credential of the API outlives it. At most 30 days.",
        secret: false,
        reloads: true,
        field: |config| &mut config.credentials.ttl_max,
    },
];
