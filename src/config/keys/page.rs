//! Keys of `page`.

use super::{ANY, Key};

pub(super) const KEYS: &[Key] = &[Key {
    path: "page.enabled",
    rule: ANY,
    brief: "Whether browsers get the built-in page at /: auto, on or off",
    about: "It checks each way to the relay and has a room for a call by link. auto: in a bare start, where it is open to \
            this machine, and where jwt.issuer is set, since it asks for a login token of that issuer. Programs get the \
            index of paths at / either way.",
    secret: false,
    reloads: true,
    field: |config| &mut config.page.enabled,
}];
