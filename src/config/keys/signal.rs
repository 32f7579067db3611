//! Keys of `signal`.

use super::{ANY, Key, bytes, count, duration, text};
use crate::config::field::{Field, Rule};
use crate::config::types::Config;

const DAY: u64 = 86_400;
const MANY: u64 = 10_000_000;
/// How fast anything may be: what is counted per second, minute or hour.
const RATE: Rule = count(0, MANY);

/// A key that can be changed while the node runs.
const fn key(
    path: &'static str,
    rule: Rule,
    brief: &'static str,
    about: &'static str,
    field: fn(&mut Config) -> &mut dyn Field,
) -> Key {
    Key { path, rule, brief, about, secret: false, reloads: true, field }
}

pub(super) const KEYS: &[Key] = &[
    Key {
        reloads: false,
        ..key(
            "signal.enabled",
            ANY,
            "Whether clients can meet here: GET /v1/signal",
            "A WebSocket with the protocol rtc-signal.v1. Clients bring a token of jwt.issuer, services an API key with \
             the scope signal.",
            |config| &mut config.signal.enabled,
        )
    },
    key(
        "signal.origins",
        ANY,
        "Origins of pages that may connect",
        "Compared exactly, such as \"https://app.example.org\". Without any only pages of this server itself may. What \
         comes without an Origin is no browser and is let in.",
        |config| &mut config.signal.origins,
    ),
    key(
        "signal.bearer_subprotocol",
        ANY,
        "Whether a token may stand in Sec-WebSocket-Protocol, as bearer.TOKEN",
        "For gateways that judge tokens before they let anything through. Headers are logged more often than frames, so \
         the first message or a ticket is better.",
        |config| &mut config.signal.bearer_subprotocol,
    ),
    key(
        "signal.call_default",
        ANY,
        "Whom users may call whose token does not say: auto, deny, webhook or any",
        "auto: whomever the backend allows where signal.authorize_url is set, else nobody. A token says it by call.mode \
         of the claim jwt.grants_claim, or by a scope of signal.scopes.",
        |config| &mut config.signal.call_default,
    ),
    key(
        "signal.rooms_default",
        ANY,
        "Which rooms users may join whose token does not say: auto, deny, webhook or any",
        "auto: those the backend allows where signal.authorize_url is set, else none. A token says it by rooms of the \
         claim jwt.grants_claim, or by a scope of signal.scopes.",
        |config| &mut config.signal.rooms_default,
    ),
    key(
        "signal.scopes",
        ANY,
        "What the scopes of tokens stand for here",
        "Each is THEIRS=OURS with one of connect, call, join, presence, message, turn and admin. They count where a \
         token has no claim jwt.grants_claim; one that has any of these scopes but none for connect is refused.",
        |config| &mut config.signal.scopes,
    ),
    key(
        "signal.authorize_url",
        text(1, 2048),
        "Where the backend is asked who may do what",
        "By a signed POST; over HTTPS, plain HTTP only to this machine. Without an answer in time nothing is allowed. \
         Needs signal.authorize_secret_file.",
        |config| &mut config.signal.authorize.url,
    ),
    key(
        "signal.authorize_secret_file",
        ANY,
        "File with the secret that questions to the backend are signed with",
        "One of 24 to 64 bytes, or whsec_ and base64, a line; a second line signs too, for rotation. Signatures are those \
         of the Standard Webhooks specification.",
        |config| &mut config.signal.authorize.secret_file,
    ),
    key(
        "signal.authorize_ca_file",
        ANY,
        "PEM file with the authorities of the server of signal.authorize_url",
        "Instead of those of the system, for a private authority.",
        |config| &mut config.signal.authorize.ca_file,
    ),
    key(
        "signal.authorize_kinds",
        ANY,
        "What the backend is asked: connect, join, call, turn",
        "join and call are asked where neither the token nor a default says; connect at each hello, turn for each set of \
         ICE servers.",
        |config| &mut config.signal.authorize.kinds,
    ),
    key(
        "signal.authorize_timeout",
        duration(0, 10),
        "How long the backend has for an answer",
        "With its one retry, which is made only where no connection came about. After half of 20 questions failed, \
         nobody is asked for 10 seconds.",
        |config| &mut config.signal.authorize.timeout,
    ),
    key(
        "signal.authorize_allow_ttl_max",
        duration(0, 300),
        "Longest time that leave of the backend is remembered",
        "The backend says how long by ttl; without it nothing is remembered.",
        |config| &mut config.signal.authorize.allow_ttl_max,
    ),
    key(
        "signal.authorize_deny_ttl_max",
        duration(0, 300),
        "Longest time that a refusal of the backend is remembered",
        "So long also where the backend says nothing.",
        |config| &mut config.signal.authorize.deny_ttl_max,
    ),
    key(
        "signal.authorize_stale_allow",
        duration(0, 86_400),
        "How much longer leave of the backend is good for users in a call, while it does not answer",
        "So that a call that goes on survives an outage of the backend: its users may connect again and get ICE servers as \
         they were last allowed to, even where signal.authorize_kinds has connect or turn. New calls and rooms are never \
         allowed so. 0s: never.",
        |config| &mut config.signal.authorize.stale_allow,
    ),
    key(
        "signal.drain_within",
        duration(0, 3600),
        "Over how long a node that drains closes its sockets",
        "Clients are told at once and resume on another node; closing is spread, so that they do not come together. Not \
         longer than runtime.drain_timeout.",
        |config| &mut config.signal.drain_within,
    ),
    key(
        "signal.hello_timeout",
        duration(1, 60),
        "Until the first frame must have come",
        "Closes with 4408.",
        |config| &mut config.signal.options.hello_timeout,
    ),
    key(
        "signal.heartbeat_interval",
        duration(1, 600),
        "How often a silent client is asked whether it is there",
        "Below the idle time of every proxy on the way.",
        |config| &mut config.signal.options.heartbeat_interval,
    ),
    key(
        "signal.heartbeat_timeout",
        duration(1, 600),
        "How long a client has to answer that",
        "Closes with 4002; the session waits to be resumed.",
        |config| &mut config.signal.options.heartbeat_timeout,
    ),
    key(
        "signal.resume_ttl",
        duration(1, 3600),
        "How long a session without a socket waits to be resumed",
        "Frames for it are kept meanwhile, within signal.ring_frames and signal.ring_bytes.",
        |config| &mut config.signal.options.resume_ttl,
    ),
    key(
        "signal.ring_frames",
        count(16, 65_536),
        "Frames of a session that are kept until the client has them",
        "More close the socket of a client that does not read with 4009.",
        |config| &mut config.signal.options.ring_frames,
    ),
    key(
        "signal.ring_bytes",
        bytes(65_536, 16 << 20),
        "Bytes of these frames",
        "See signal.ring_frames.",
        |config| &mut config.signal.options.ring_bytes,
    ),
    key(
        "signal.replies",
        count(1, 4096),
        "Answers of a session that are remembered for requests that are sent again",
        "So that a request has one effect however often a client sends it.",
        |config| &mut config.signal.options.replies,
    ),
    key(
        "signal.ring_timeout",
        duration(1, 3600),
        "How long a call rings unless the caller says",
        "At most signal.ring_timeout_max.",
        |config| &mut config.signal.options.ring_timeout,
    ),
    key(
        "signal.ring_timeout_max",
        duration(1, 3600),
        "How long a call may ring",
        "What a caller asks for beyond is cut to this.",
        |config| &mut config.signal.options.ring_timeout_max,
    ),
    key(
        "signal.away_grace",
        duration(0, 600),
        "How long the peers of a call wait for a lost socket",
        "They are told away at once, and lost after this.",
        |config| &mut config.signal.options.away_grace,
    ),
    key(
        "signal.presence_grace",
        duration(0, 600),
        "How long a user without devices still counts as present",
        "A changed network is not worth telling.",
        |config| &mut config.signal.options.presence_grace,
    ),
    key(
        "signal.token_grace",
        duration(0, 600),
        "How long a session lives on after its token",
        "Closes with 4203 unless auth-refresh brings a fresh one.",
        |config| &mut config.signal.options.token_grace,
    ),
    key(
        "signal.connections_max",
        count(1, 10_000_000),
        "Most sockets at once",
        "More are closed with 4490. They do not count in http.connections_max.",
        |config| &mut config.signal.options.limits.connections,
    ),
    key(
        "signal.unauthenticated_max",
        count(1, 10_000_000),
        "Most sockets at once that have not said who they are",
        "In all.",
        |config| &mut config.signal.options.limits.connections_unauthenticated,
    ),
    key(
        "signal.unauthenticated_per_address_max",
        count(1, 1_000_000),
        "The same from one address",
        "IPv6 counts by /64, here and below.",
        |config| &mut config.signal.options.limits.unauthenticated_per_address,
    ),
    key(
        "signal.connects_per_second",
        RATE,
        "New sockets per second and address; 0 is unlimited",
        "Raise it where many users share an address, or set http.trusted_proxies.",
        |config| &mut config.signal.options.limits.connects_per_address,
    ),
    key(
        "signal.connects_burst",
        count(1, MANY),
        "How many of these may come at once",
        "See signal.connects_per_second.",
        |config| &mut config.signal.options.limits.connects_burst,
    ),
    key(
        "signal.hello_failures",
        RATE,
        "Failed hellos per half hour and address before they are delayed; 0 is unlimited",
        "By 100 ms, doubled each time, up to 25 s.",
        |config| &mut config.signal.options.limits.hello_failures,
    ),
    key(
        "signal.frame_bytes_max",
        bytes(1024, 1 << 20),
        "Largest frame",
        "Larger ones close with 4413.",
        |config| &mut config.signal.options.limits.frame_bytes,
    ),
    key(
        "signal.hello_bytes_max",
        bytes(1024, 1 << 20),
        "Largest frame of somebody who is not authenticated",
        "Tokens have at most 8 KiB.",
        |config| &mut config.signal.options.limits.hello_bytes,
    ),
    key(
        "signal.frames_per_second",
        RATE,
        "Frames per second and session; 0 is unlimited",
        "Refused with rate-limited, as with every limit below that does not say otherwise.",
        |config| &mut config.signal.options.limits.frames_per_second,
    ),
    key(
        "signal.frames_burst",
        count(1, MANY),
        "How many of these may come at once",
        "See signal.frames_per_second.",
        |config| &mut config.signal.options.limits.frames_burst,
    ),
    key(
        "signal.bytes_per_second",
        bytes(0, 1 << 30),
        "Bytes per second and session; 0 is unlimited",
        "Of frames of the client.",
        |config| &mut config.signal.options.limits.bytes_per_second,
    ),
    key(
        "signal.bytes_burst",
        bytes(1024, 1 << 30),
        "How many of these may come at once",
        "See signal.bytes_per_second.",
        |config| &mut config.signal.options.limits.bytes_burst,
    ),
    key(
        "signal.descriptions_per_second",
        RATE,
        "Offers and answers per second and session; 0 is unlimited",
        "Those of renegotiation included.",
        |config| &mut config.signal.options.limits.descriptions_per_second,
    ),
    key(
        "signal.candidates_per_second",
        RATE,
        "ICE candidates per second and session; 0 is unlimited",
        "Not frames: several come in one.",
        |config| &mut config.signal.options.limits.candidates_per_second,
    ),
    key(
        "signal.errors_per_minute",
        RATE,
        "Refused frames per minute and session before it is closed; 0 is unlimited",
        "With 4429.",
        |config| &mut config.signal.options.limits.errors_per_minute,
    ),
    key(
        "signal.sessions_per_user",
        count(1, 1_000_000),
        "Sessions of a user at once",
        "Tokens may say less.",
        |config| &mut config.signal.options.limits.sessions_per_user,
    ),
    key(
        "signal.offers_per_minute",
        RATE,
        "Calls per minute and user; 0 is unlimited",
        "Against robots.",
        |config| &mut config.signal.options.limits.offers_per_minute,
    ),
    key(
        "signal.offers_per_hour",
        RATE,
        "Calls per hour and user; 0 is unlimited",
        "See signal.offers_per_minute.",
        |config| &mut config.signal.options.limits.offers_per_hour,
    ),
    key(
        "signal.callees_per_hour",
        RATE,
        "Different callees per hour and user; 0 is unlimited",
        "Against those who try everybody.",
        |config| &mut config.signal.options.limits.callees_per_hour,
    ),
    key(
        "signal.ringing_per_user",
        RATE,
        "Calls of a user that ring at once; 0 is unlimited",
        "Refused with limit-exceeded.",
        |config| &mut config.signal.options.limits.ringing_per_user,
    ),
    key(
        "signal.offers_per_pair",
        RATE,
        "Calls per minute from one user to another; 0 is unlimited",
        "One direction.",
        |config| &mut config.signal.options.limits.offers_per_pair,
    ),
    key(
        "signal.offers_per_callee",
        RATE,
        "Calls per minute that reach a user; 0 is unlimited",
        "From everybody.",
        |config| &mut config.signal.options.limits.offers_per_callee,
    ),
    key(
        "signal.declined_delay",
        duration(0, DAY),
        "How long a caller waits after a callee declined; 0 is not at all",
        "Doubled each time.",
        |config| &mut config.signal.options.limits.declined_delay,
    ),
    key(
        "signal.joins_per_minute",
        RATE,
        "Joins per minute and user; 0 is unlimited",
        "Of rooms.",
        |config| &mut config.signal.options.limits.joins_per_minute,
    ),
    key(
        "signal.room_members_max",
        count(2, 100_000),
        "Members of a room",
        "Larger rooms belong to a media server.",
        |config| &mut config.signal.options.limits.room_members,
    ),
    key(
        "signal.rooms_per_session_max",
        count(1, 100_000),
        "Rooms of a session",
        "Refused with limit-exceeded.",
        |config| &mut config.signal.options.limits.rooms_per_session,
    ),
    key(
        "signal.watches_max",
        count(0, 100_000),
        "Users whose presence a session watches",
        "Refused with limit-exceeded.",
        |config| &mut config.signal.options.limits.watches_per_session,
    ),
    key(
        "signal.candidates_kept",
        count(1, 4096),
        "Candidates kept for a device that has not got the offer yet",
        "Of each side of a call.",
        |config| &mut config.signal.options.limits.candidates_kept,
    ),
    key("signal.calls_max", count(1, 10_000_000), "Calls at once", "Refused with unavailable.", |config| {
        &mut config.signal.options.limits.calls
    }),
    key(
        "signal.state_bytes_max",
        bytes(0, 65_536),
        "Largest state of a member of a room",
        "Every other member gets it.",
        |config| &mut config.signal.options.limits.state_bytes,
    ),
];
