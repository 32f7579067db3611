//! Who takes part: users, addresses, peers.

use std::net::{IpAddr, SocketAddr};

use iceway::credentials::{Directory, DirectoryBuilder, KeyId, Secret, UserSecret, mint};
use iceway::stun;

pub(crate) const REALM: &str = "simulation";
const SECRETS: [(&str, &[u8]); 2] = [("active", b"north"), ("retiring", b"south")];
const STATIC: [(&str, &str); 2] = [("alice", "wonderland"), ("bob", "builder")];
/// Known by MD5 key only.
const MD5_ONLY: (&str, &str) = ("carol", "christmas");
/// Found by look-ups only.
const EXTERNAL: [(&str, &str); 2] = [("erin", "external"), ("frank", "far away")];

/// What a client signs with.
#[derive(Clone, Debug)]
pub(crate) struct Login {
    pub(crate) username: String,
    pub(crate) password: String,
}

/// Every kind of credential; `which` chooses. The last ones are wrong.
pub(crate) fn login(which: u64, unix: u64, lifetime: u64) -> Login {
    let owned =
        |(username, password): (&str, &str)| Login { username: username.into(), password: password.into() };
    match which % 10 {
        0 | 1 => owned(STATIC[(which % 2) as usize]),
        2 => owned(MD5_ONLY),
        3 | 4 => owned(EXTERNAL[(which % 2) as usize]),
        5..=7 => {
            let (id, bytes) = SECRETS[(which % 2) as usize];
            let user = ["dora", "dave"][(which / 2 % 2) as usize];
            let ttl = std::time::Duration::from_secs(lifetime);
            let made = mint(&Secret::new(KeyId::new(id).unwrap(), bytes), user, ttl, unix);
            Login { username: made.username, password: made.password.as_str().to_owned() }
        }
        8 => Login { username: "alice".into(), password: "not hers".into() },
        _ => Login { username: "nobody".into(), password: "x".into() },
    }
}

/// Which directory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    /// It lacks a secret and a user after a reload.
    pub(crate) is_reduced: bool,
    /// It has a user with an MD5 key only, so that the server cannot offer SHA-256.
    pub(crate) has_md5: bool,
}

pub(crate) fn directory(kind: Kind) -> Directory {
    let Kind { is_reduced, has_md5 } = kind;
    let start: DirectoryBuilder = Directory::builder(REALM);
    let (kept_users, kept_secrets) = if is_reduced { (1, 1) } else { (STATIC.len(), SECRETS.len()) };
    let builder = STATIC.iter().take(kept_users).fold(start, |builder, (name, password)| {
        builder.user(*name, UserSecret::Password((*password).to_owned()))
    });
    let key = stun::long_term_key_md5(MD5_ONLY.0, REALM, MD5_ONLY.1);
    let builder = if has_md5 { builder.user(MD5_ONLY.0, UserSecret::Md5(key)) } else { builder };
    let builder = SECRETS
        .iter()
        .take(kept_secrets)
        .fold(builder, |builder, (id, bytes)| builder.secret(Secret::new(KeyId::new(id).unwrap(), bytes)));
    builder.build().unwrap()
}

/// What a look-up finds.
pub(crate) fn external_password(username: &str) -> Option<&'static str> {
    EXTERNAL.iter().find(|(name, _)| *name == username).map(|(_, password)| *password)
}

/// Every password that was ever right for `username`, worked out without a directory.
pub(crate) fn right_passwords(username: &str) -> Vec<String> {
    let fixed = STATIC.iter().chain([&MD5_ONLY]).chain(&EXTERNAL).filter(|(name, _)| *name == username);
    let fixed = fixed.map(|(_, password)| (*password).to_owned());
    let timed = expires(username).into_iter().flat_map(|_| {
        SECRETS.iter().map(|(id, bytes)| {
            Secret::new(KeyId::new(id).unwrap(), bytes).password(username).as_str().to_owned()
        })
    });
    fixed.chain(timed).collect()
}

/// The time in a username.
pub(crate) fn expires(username: &str) -> Option<u64> {
    username.split_once(':').and_then(|(time, _)| time.parse().ok())
}

/// The part of a username that quotas count.
pub(crate) fn user(username: &str) -> &str {
    username.split_once(':').map_or(username, |(_, user)| user)
}

/// The static user with this USERHASH.
pub(crate) fn by_userhash(hash: &[u8]) -> Option<&'static str> {
    let names = STATIC.iter().chain([&MD5_ONLY]).map(|(name, _)| *name);
    names.into_iter().find(|name| stun::userhash(name, REALM) == hash)
}

pub(crate) fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Peers that the policy allows.
pub(crate) fn good_peers() -> Vec<SocketAddr> {
    let v4 = (1..=4).map(|host| address(&format!("90.0.0.{host}:{}", 4000 + host)));
    let v6 = (1..=3).map(|host| address(&format!("[2a03::{host}]:{}", 5000 + host)));
    // Two ports of one address, and a private network that a rule allows.
    let more = [address("90.0.0.1:9"), address("192.168.7.7:7777")];
    v4.chain(v6).chain(more).collect()
}

/// Peers that it denies.
pub(crate) fn bad_peers() -> Vec<SocketAddr> {
    let all = [
        "127.0.0.1:22",
        "10.9.9.9:80",
        "169.254.169.254:80",
        "192.168.8.1:80",
        "[::1]:22",
        "[fd00:ec2::254]:80",
        "[::ffff:127.0.0.1]:22",
        "[64:ff9b::a09:909]:80",
        "[2002:7f00:1::1]:22",
        "91.6.6.6:6",
    ];
    all.into_iter().map(address).collect()
}

/// Whether the policy of the simulation may let `ip` through, written down a second time.
pub(crate) fn is_good(ip: IpAddr) -> bool {
    good_peers().iter().any(|peer| peer.ip() == ip)
}
