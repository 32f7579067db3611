//! Keys of `redis`.

use super::{ANY, Key, duration};

pub(super) const KEYS: &[Key] = &[
    Key {
        path: "redis.url",
        rule: ANY,
        brief: "Address of the Redis that nodes share",
        about: "`redis://user:password@host:6379/0`, `rediss://…` for TLS, `redis+sentinel://host:26379,host:26379/mymaster`, \
                `redis+cluster://host:6379,host:6379`; `rediss+sentinel`, `rediss+cluster`. Redis 6.2 or newer, or Valkey. \
                Special characters of a password are percent-encoded; better, put it into redis.password_file. Not set: \
                this node is alone. It can hold a password, so it is no flag.",
        secret: true,
        reloads: false,
        field: |config| &mut config.redis.url,
    },
    Key {
        path: "redis.password_file",
        rule: ANY,
        brief: "File with the password of Redis",
        about: "Its first line, instead of a password in redis.url. The user is the one of redis.url, else `default`.",
        secret: false,
        reloads: false,
        field: |config| &mut config.redis.password_file,
    },
    Key {
        path: "redis.sentinel_password_file",
        rule: ANY,
        brief: "File with the password of the sentinels",
        about: "Its first line. Only if the sentinels themselves want one; it is not the password of Redis.",
        secret: false,
        reloads: false,
        field: |config| &mut config.redis.sentinel_password_file,
    },
    Key {
        path: "redis.cluster_key_file",
        rule: ANY,
        brief: "File with the key that the nodes seal everything in Redis with",
        about: "Base64 of at least 32 random bytes, such as from `openssl rand -base64 32`; the same on every node. A second \
                line is a second key: the first seals, both open. To replace a key add the new one as second line on every \
                node, then swap the lines on every node, then remove the old one; restart each node each time.",
        secret: false,
        reloads: false,
        field: |config| &mut config.redis.cluster_key_file,
    },
    Key {
        path: "redis.ca_file",
        rule: ANY,
        brief: "PEM file with the authorities that vouch for Redis",
        about: "Not set: those the system trusts. Only with rediss://.",
        secret: false,
        reloads: false,
        field: |config| &mut config.redis.ca_file,
    },
    Key {
        path: "redis.certificate",
        rule: ANY,
        brief: "PEM file with the certificate this node shows to Redis",
        about: "With redis.private_key; for a Redis that asks its clients for one (tls-auth-clients). Only with rediss://.",
        secret: false,
        reloads: false,
        field: |config| &mut config.redis.certificate,
    },
    Key {
        path: "redis.private_key",
        rule: ANY,
        brief: "PEM file with the private key of redis.certificate",
        about: "PKCS#8, PKCS#1 or SEC1, not encrypted.",
        secret: false,
        reloads: false,
        field: |config| &mut config.redis.private_key,
    },
    Key {
        path: "redis.connect_timeout",
        rule: duration(1, 60),
        brief: "How long connecting to Redis may take",
        about: "Name look-up, TLS and login included. Afterwards the next attempt waits a random while, at most 5 seconds.",
        secret: false,
        reloads: false,
        field: |config| &mut config.redis.connect_timeout,
    },
    Key {
        path: "redis.command_timeout",
        rule: duration(1, 10),
        brief: "How long Redis may take for an answer before it counts as gone",
        about: "Nothing on the path of a packet waits for it, and requests to the API wait less.",
        secret: false,
        reloads: false,
        field: |config| &mut config.redis.command_timeout,
    },
    Key {
        path: "redis.coturn_users",
        rule: ANY,
        brief: "Look up users and secrets where coturn keeps them",
        about: "Users from `turn/realm/<realm>/user/<name>/key`, secrets from the set `turn/realm/<realm>/secret`, read every \
                5 seconds. Nothing is written there. The ACL user needs `%R~turn/realm/*` (Redis 6.2: `~turn/realm/*`) too.",
        secret: false,
        reloads: false,
        field: |config| &mut config.redis.coturn_users,
    },
];
