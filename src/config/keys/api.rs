//! Keys of `api`.

use super::{ANY, Key, count};

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "api.keys_file",
        rule: ANY,
        brief: "File with the hashes of API keys, one a line",
        about: "Each line is `id sha256-hex scopes [networks]`, scopes and networks with commas between; `iceway api-keys \
                create` prints it. Keys made over the API or by that command are kept in the store instead.",
        secret: false,
        reloads: true,
        field: |config| &mut config.api.keys_file,
    },
    Key {
        path: "api.certificates",
        rule: ANY,
        brief: "Names in client certificates with the scopes of their owners",
        about: "Such as [\"dns:backend.example.org=issue+revoke\", \"uri:spiffe://example.org/billing=read\"]; dns, uri, \
                email and ip name the kind of subject alternative name. Needs http.client_ca_file. A caller that brings a \
                key or token too may do what both allow.",
        secret: false,
        reloads: true,
        field: |config| &mut config.api.certificates,
    },
    Key {
        path: "api.require_certificate",
        rule: ANY,
        brief: "Take keys and tokens only beside a client certificate",
        about: "A stolen key is then worth nothing without the certificate. Needs http.client_ca_file.",
        secret: false,
        reloads: true,
        field: |config| &mut config.api.require_certificate,
    },
    Key {
        path: "api.allow_query_key",
        rule: ANY,
        brief: "Take API keys from the query",
        about: "What some clients of the draft-uberti form do (`?key=…`). Proxies write queries into their logs: prefer the \
                form of a POST, or a header.",
        secret: false,
        reloads: true,
        field: |config| &mut config.api.allow_query_key,
    },
    Key {
        path: "api.rate_per_caller",
        rule: count(0, 10_000_000),
        brief: "Most requests per second of one caller; 0 is unlimited",
        about: "Counted over all nodes. More are answered 429 with Retry-After.",
        secret: false,
        reloads: true,
        field: |config| &mut config.api.rate_per_caller,
    },
    Key {
        path: "api.rate_per_user",
        rule: count(0, 10_000_000),
        brief: "Most credentials per minute for one user; 0 is unlimited",
        about: "Counted over all nodes. More are answered 429 with Retry-After. Requests that name no user are not counted.",
        secret: false,
        reloads: true,
        field: |config| &mut config.api.rate_per_user,
    },
    Key {
        path: "api.authentication_failures",
        rule: count(0, 1_000_000),
        brief: "Most failed attempts per minute and client address; 0 is unlimited",
        about: "Counted per IPv4 address and per IPv6 /64. More are answered 429 without a look at tokens; an API key that \
                is right is still taken, so that one wrong worker does not lock out its neighbours.",
        secret: false,
        reloads: true,
        field: |config| &mut config.api.authentication_failures,
    },
];
