//! Keys of `webhooks` and `calls`.

use super::{ANY, Key, count, duration, text};

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "webhooks.url",
        rule: text(1, 2048),
        brief: "Where the backend is told what happens (POST)",
        about: "Each event is a request with a JSON body, signed as the Standard Webhooks specification has it (webhook-id, \
                webhook-timestamp, webhook-signature). Any 2xx means that it arrived; 410 ends delivery until the next \
                reload. Events of one call come in order; what arrived but was not acknowledged comes again with the same \
                webhook-id. Over HTTPS; plain HTTP only to this machine and private networks. Without it nobody is told, and calls are \
                still listed at /v1/calls. Needs webhooks.secret_file.",
        secret: false,
        reloads: true,
        field: |config| &mut config.webhooks.url,
    },
    Key {
        path: "webhooks.secret_file",
        rule: ANY,
        brief: "File with the secret that webhooks are signed with",
        about: "On its first line, 24 to 64 bytes, as `whsec_` and base64 or as it is; a second line is a second secret: \
                during a rotation everything is signed with both. \
                `printf 'whsec_%s\\n' \"$(openssl rand -base64 32)\"` writes one.",
        secret: false,
        reloads: true,
        field: |config| &mut config.webhooks.secret_file,
    },
    Key {
        path: "webhooks.ca_file",
        rule: ANY,
        brief: "PEM file with the authorities of the server of webhooks.url",
        about: "Instead of those of the system, for a private authority.",
        secret: false,
        reloads: true,
        field: |config| &mut config.webhooks.ca_file,
    },
    Key {
        path: "webhooks.events",
        rule: ANY,
        brief: "Types of events that the backend is told",
        about: "Such as \"call.ended\"; \"call.*\" is all that begin so, \"*\" is everything. There are call.created, \
                push_needed, ringing, answered, rejected, cancelled, missed, ended, failed; room.started, joined, left, \
                finished; session.connected, disconnected, lost; turn.credential.issued, turn.credential.revoked, \
                turn.allocation.closed; limit.tripped; node.draining. Leave out session.* where a storm of reconnects \
                is not the backend's business.",
        secret: false,
        reloads: true,
        field: |config| &mut config.webhooks.events,
    },
    Key {
        path: "webhooks.timeout",
        rule: duration(0, 60),
        brief: "How long one attempt may take",
        about: "From the look-up of the name to the end of the answer.",
        secret: false,
        reloads: true,
        field: |config| &mut config.webhooks.timeout,
    },
    Key {
        path: "webhooks.parallel_max",
        rule: count(1, 1024),
        brief: "Requests that may be on their way at once",
        about: "Calls do not wait for one another; events of one call do.",
        secret: false,
        reloads: true,
        field: |config| &mut config.webhooks.parallel_max,
    },
    Key {
        path: "webhooks.retries",
        rule: ANY,
        brief: "Waits before the second attempt and those that follow",
        about: "The last one is repeated until webhooks.retry_for is over. When the backend answers again after it had been \
                out of reach, everything is tried at once.",
        secret: false,
        reloads: true,
        field: |config| &mut config.webhooks.retries,
    },
    Key {
        path: "webhooks.retry_for",
        rule: duration(1, 604_800),
        brief: "How old an event may become before it is given up",
        about: "What is given up is kept, up to webhooks.dead_max, and tried again after POST /v1/webhooks/replay.",
        secret: false,
        reloads: true,
        field: |config| &mut config.webhooks.retry_for,
    },
    Key {
        path: "webhooks.pending_max",
        rule: count(1000, 10_000_000),
        brief: "Events that may wait to be delivered",
        about: "Each takes about 700 bytes of the file or of Redis. When there are more, the oldest are dropped and counted \
                (iceway_events_dropped_total). In memory at most 50000 wait.",
        secret: false,
        reloads: false,
        field: |config| &mut config.webhooks.pending_max,
    },
    Key {
        path: "webhooks.dead_max",
        rule: count(0, 1_000_000),
        brief: "Events that were given up and are kept",
        about: "When there are more, the oldest are dropped.",
        secret: false,
        reloads: false,
        field: |config| &mut config.webhooks.dead_max,
    },
    Key {
        path: "calls.retention",
        rule: duration(60, 2_592_000),
        brief: "How long a call is listed after its last change",
        about: "At /v1/calls, with its timeline. Without a file and without Redis a restart forgets calls.",
        secret: false,
        reloads: false,
        field: |config| &mut config.calls.retention,
    },
    Key {
        path: "calls.records_max",
        rule: count(100, 10_000_000),
        brief: "Calls that are listed",
        about: "When there are more, the oldest are forgotten and counted (iceway_events_dropped_total). Each takes about \
                3 kB. In memory at most 20000 are kept.",
        secret: false,
        reloads: false,
        field: |config| &mut config.calls.records_max,
    },
];
