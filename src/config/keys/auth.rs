//! Keys of `auth`, `peers`, `lifetimes`, `limits`, `bandwidth` and `protocol`.

use super::{ANY, Key, Rule, Unit, count, duration, text};

/// 0 is unlimited; else at least one packet a second.
const RATE: Rule = Rule { unit: Unit::BytesPerSecond, min: 0, max: u64::MAX };

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "auth.realm",
        rule: text(1, 127),
        brief: "Realm of the credentials",
        about: "Part of what static passwords are hashed with: changing it breaks users stored as MD5 keys. Time-limited \
                credentials work with any realm. Usually a domain name.",
        secret: false,
        reloads: true,
        field: |config| &mut config.auth.realm,
    },
    Key {
        path: "auth.secret",
        rule: ANY,
        brief: "Secret that time-limited credentials are signed with",
        about: "The scheme of draft-uberti-behave-turn-rest, as coturn's static-auth-secret: whoever knows the secret can \
                issue credentials. At least 16 random characters, such as from `openssl rand -base64 32`. Prefer \
                auth.secret_file or the environment variable. No flag: command lines can be read by every user.",
        secret: true,
        reloads: true,
        field: |config| &mut config.auth.secret,
    },
    Key {
        path: "auth.secret_file",
        rule: ANY,
        brief: "File with secrets, one a line",
        about: "Each line is a secret, or a key id and a secret with a blank between (`2026-11 Zm9v…`). All are valid at \
                once, so that a secret can be rotated; the first is the one credentials are minted with. Empty lines and \
                lines that start with # are skipped. Without ids they are called default, secret-2, secret-3 and so on.",
        secret: false,
        reloads: true,
        field: |config| &mut config.auth.secret_file,
    },
    Key {
        path: "auth.users_file",
        rule: ANY,
        brief: "File with static users, one a line",
        about: "Each line is `name:password`, or `name:0x` and the 32 hexadecimal digits of MD5(name:realm:password) as \
                coturn's turnadmin -k prints them (such a user can not use SHA-256). Empty lines and lines that start \
                with # are skipped.",
        secret: false,
        reloads: true,
        field: |config| &mut config.auth.users_file,
    },
    Key {
        path: "auth.username_separator",
        rule: ANY,
        brief: "Character between expiry time and user in a username",
        about: "Time-limited usernames are `1735689600:alice`. coturn calls it rest-api-separator.",
        secret: false,
        reloads: true,
        field: |config| &mut config.auth.username_separator,
    },
    Key {
        path: "auth.expiry",
        rule: ANY,
        brief: "When an expired credential stops working",
        about: "`allocate`: no new allocations, but a call that is up goes on (what coturn does). `refresh`: an allocation \
                can not be renewed either. `strict`: the allocation ends when its credential does.",
        secret: false,
        reloads: true,
        field: |config| &mut config.auth.expiry,
    },
    Key {
        path: "auth.nonce_lifetime",
        rule: duration(30, 64_800),
        brief: "Age at which a nonce is renewed",
        about: "A client then gets 438 (Stale Nonce) with a fresh one and goes on. Bounds how long a captured request can \
                be replayed.",
        secret: false,
        reloads: true,
        field: |config| &mut config.lifetimes.nonce,
    },
    Key {
        path: "peers.allow",
        rule: ANY,
        brief: "Networks peers may be in although they are denied otherwise",
        about: "CIDR networks or single addresses. Wins over peers.deny and over the built-in list. Name what is needed and \
                no more: every client can reach it.",
        secret: false,
        reloads: true,
        field: |config| &mut config.peers.allow,
    },
    Key {
        path: "peers.deny",
        rule: ANY,
        brief: "Networks no peer may be in, beside the built-in list",
        about: "Built in are the special-purpose registries of IANA: loopback, private, link-local, shared, multicast, \
                documentation and so on, also inside IPv4-mapped, 6to4 and NAT64 addresses. Add the public addresses of \
                your own network that outsiders must not reach through the relay.",
        secret: false,
        reloads: true,
        field: |config| &mut config.peers.deny,
    },
    Key {
        path: "lifetimes.allocation_default",
        rule: duration(60, 86_400),
        brief: "Lifetime of an allocation when the client asks for none",
        about: "Also the least a client gets (RFC 8656 §7.2).",
        secret: false,
        reloads: true,
        field: |config| &mut config.lifetimes.allocation_default,
    },
    Key {
        path: "lifetimes.allocation_max",
        rule: duration(60, 86_400),
        brief: "Longest lifetime of an allocation before it must be refreshed",
        about: "A client that vanishes without a word holds its port for so long.",
        secret: false,
        reloads: true,
        field: |config| &mut config.lifetimes.allocation_max,
    },
    Key {
        path: "lifetimes.permission",
        rule: duration(10, 3600),
        brief: "Lifetime of a permission",
        about: "RFC 8656 §9 says 5 minutes, and clients rely on it: change it only in tests.",
        secret: false,
        reloads: true,
        field: |config| &mut config.lifetimes.permission,
    },
    Key {
        path: "lifetimes.channel",
        rule: duration(10, 3600),
        brief: "Lifetime of a channel binding",
        about: "RFC 8656 §12 says 10 minutes, and clients rely on it: change it only in tests.",
        secret: false,
        reloads: true,
        field: |config| &mut config.lifetimes.channel,
    },
    Key {
        path: "limits.allocations_per_user",
        rule: count(0, 1_000_000),
        brief: "Most allocations of one user; 0 is unlimited",
        about: "The user is what follows the separator in a time-limited username. More are answered 486. A browser takes \
                one per TURN URI and network interface for each call, so 20 is tight and 100 is generous. Unlimited, since \
                many backends give all their clients one user.",
        secret: false,
        reloads: true,
        field: |config| &mut config.limits.allocations_per_user,
    },
    Key {
        path: "limits.allocations_per_address",
        rule: count(0, 1_000_000),
        brief: "Most allocations from one client address; 0 is unlimited",
        about: "Counted per IPv4 address and per IPv6 /64. More are answered 486. Mobile networks put thousands of users \
                behind one address.",
        secret: false,
        reloads: true,
        field: |config| &mut config.limits.allocations_per_address,
    },
    Key {
        path: "limits.allocations_total",
        rule: count(0, 10_000_000),
        brief: "Most allocations in all; 0 is unlimited",
        about: "More are answered 508. The port range bounds them too.",
        secret: false,
        reloads: true,
        field: |config| &mut config.limits.allocations_total,
    },
    Key {
        path: "limits.allocations_cluster",
        rule: count(0, 100_000_000),
        brief: "Most allocations of all nodes together; 0 is unlimited",
        about: "More are answered 508. Other nodes are counted by what they told last, so that a few more get in when \
                many come at once. While nodes cannot be reached, each keeps to its part.",
        secret: false,
        reloads: true,
        field: |config| &mut config.limits.allocations_cluster,
    },
    Key {
        path: "limits.classes",
        rule: ANY,
        brief: "Quota classes that credentials may name, with their limits",
        about: "\"gold=100\" lets one user of class gold have 100 allocations instead of limits.allocations_per_user, \
                \"gold=100,8Mbit/s\" gives each of them a bandwidth of its own instead of bandwidth.per_allocation; 0 is \
                unlimited. Whoever issues a credential says its class. A class that is not listed is as good as none.",
        secret: false,
        reloads: true,
        field: |config| &mut config.quota_classes,
    },
    Key {
        path: "limits.permissions_per_allocation",
        rule: count(1, 65_535),
        brief: "Most permissions of one allocation",
        about: "More are answered 508. A client needs one for each address of each of its peers.",
        secret: false,
        reloads: true,
        field: |config| &mut config.limits.permissions_per_allocation,
    },
    Key {
        path: "limits.channels_per_allocation",
        rule: count(1, 65_535),
        brief: "Most channel bindings of one allocation",
        about: "More are answered 508. A client needs one for each candidate pair it uses.",
        secret: false,
        reloads: true,
        field: |config| &mut config.limits.channels_per_allocation,
    },
    Key {
        path: "limits.unauthenticated_answers_per_second",
        rule: count(1, 1_000_000),
        brief: "Answers per second and client address before authentication",
        about: "Counted per IPv4 address and per IPv6 /64, over UDP; beyond it requests without a proved credential are \
                dropped. Answers to Binding, hardly larger than the request, do not count. \
                Keeps the server from being used to flood somebody whose address is forged, and from being slowed by \
                guessing.",
        secret: false,
        reloads: true,
        field: |config| &mut config.limits.unauthenticated_answers_per_second,
    },
    Key {
        path: "bandwidth.per_allocation",
        rule: RATE,
        brief: "Most payload per second of one allocation and direction; 0 is unlimited",
        about: "In bytes per second, or with a unit: \"500kB/s\", \"4Mbit/s\". More is dropped and counted. One 1080p \
                video takes about 4Mbit/s.",
        secret: false,
        reloads: true,
        field: |config| &mut config.bandwidth.per_allocation,
    },
    Key {
        path: "bandwidth.total",
        rule: RATE,
        brief: "Most payload per second of all allocations, both directions; 0 is unlimited",
        about: "In bytes per second, or with a unit: \"1Gbit/s\". More is dropped and counted.",
        secret: false,
        reloads: true,
        field: |config| &mut config.bandwidth.total,
    },
    Key {
        path: "protocol.software",
        rule: text(1, 127),
        brief: "Value of the SOFTWARE attribute in answers",
        about: "Not sent unless set: it tells strangers what runs here and makes answers larger.",
        secret: false,
        reloads: true,
        field: |config| &mut config.protocol.software,
    },
    Key {
        path: "protocol.legacy_channel_numbers",
        rule: ANY,
        brief: "Accept channel numbers 0x5000 to 0x7FFF",
        about: "RFC 5766 allowed them, RFC 8656 §12 does not. Old clients, among them turnutils_uclient of coturn before \
                4.10, draw from the whole range and fail without it.",
        secret: false,
        reloads: true,
        field: |config| &mut config.protocol.legacy_channel_numbers,
    },
];
