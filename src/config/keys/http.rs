//! Keys of `http`.

use super::{ANY, Key, count};

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "http.listen",
        rule: ANY,
        brief: "Address of the HTTP listener, or off",
        about: "Serves the API, /metrics, /healthz and /readyz. With tls.certificate HTTPS is recognised on the same port. \
                9641 is the port of coturn's exporter, so dashboards find it.",
        secret: false,
        reloads: false,
        field: |config| &mut config.http.listen,
    },
    Key {
        path: "http.control_socket",
        rule: ANY,
        brief: "Unix socket over which commands of this machine reach the server, or off",
        about: "Answers what http.listen does, also where that is off. Whoever may open it is the administrator and needs \
                no key, so only root and the user of the server may (mode 0600). `iceway drain` and its like use it. \
                Default: control.sock in $RUNTIME_DIRECTORY, which systemd sets (RuntimeDirectory=), else iceway/control.sock \
                in $XDG_RUNTIME_DIR, else off.",
        secret: false,
        reloads: false,
        field: |config| &mut config.http.control_socket,
    },
    Key {
        path: "http.threads",
        rule: count(1, 64),
        brief: "Threads that answer HTTP",
        about: "One carries some ten thousand requests for credentials per second.",
        secret: false,
        reloads: false,
        field: |config| &mut config.http.threads,
    },
    Key {
        path: "http.connections_max",
        rule: count(1, 65_536),
        brief: "Most HTTP connections at once",
        about: "More wait in the system's queue. A connection that sends nothing for 60 seconds is closed, one that does \
                not finish its headers after 5.",
        secret: false,
        reloads: false,
        field: |config| &mut config.http.connections_max,
    },
    Key {
        path: "http.require_https",
        rule: ANY,
        brief: "Whether the API is refused over plain HTTP: auto, always or never",
        about: "auto: from beyond this machine, if there is a certificate. A trusted proxy's X-Forwarded-Proto counts. \
                Health, metrics and the index are served either way.",
        secret: false,
        reloads: true,
        field: |config| &mut config.http.require_https,
    },
    Key {
        path: "http.client_ca_file",
        rule: ANY,
        brief: "PEM file with the authorities of client certificates",
        about: "Clients are then asked for a certificate; one that is not signed by these ends the handshake. Who they are \
                and what they may do is told by api.certificates.",
        secret: false,
        reloads: true,
        field: |config| &mut config.http.client_ca_file,
    },
    Key {
        path: "http.trusted_proxies",
        rule: ANY,
        brief: "Networks of proxies whose X-Forwarded-For and Forwarded are believed",
        about: "The client's address is then the last one in these headers that is not a trusted proxy itself. It counts \
                for limits, network rules of API keys and http.metrics_from.",
        secret: false,
        reloads: true,
        field: |config| &mut config.http.trusted_proxies,
    },
    Key {
        path: "http.metrics_from",
        rule: ANY,
        brief: "Networks /metrics may be read from without a key",
        about: "From elsewhere it needs a caller with the scope read.",
        secret: false,
        reloads: true,
        field: |config| &mut config.http.metrics_from,
    },
    Key {
        path: "http.cors_origins",
        rule: ANY,
        brief: "Origins of pages that may call the API from a browser",
        about: "Compared exactly, such as \"https://app.example.org\". Callers bring a key or token; cookies are never used.",
        secret: false,
        reloads: true,
        field: |config| &mut config.http.cors_origins,
    },
];
