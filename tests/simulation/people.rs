//! Who takes part: users, addresses, peers.

use std::net::{IpAddr, SocketAddr};

use iceway::credentials::{Directory, DirectoryBuilder, Expiry, KeyId, Secret, UserSecret, Wish, mint};
use iceway::stun::{self, Message, attribute};

use crate::wire;

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
    match which % 14 {
        0 | 1 => owned(STATIC[(which % 2) as usize]),
        2 => owned(MD5_ONLY),
        3 | 4 => owned(EXTERNAL[(which % 2) as usize]),
        5..=7 => {
            let (id, bytes) = SECRETS[(which % 2) as usize];
            let user = ["dora", "dave"][(which / 2 % 2) as usize];
            let ttl = std::time::Duration::from_secs(lifetime);
            let made = mint(&secret((id, bytes)), user, ttl, unix);
            Login { username: made.username, password: made.password.as_str().to_owned() }
        }
        8 => Login { username: "alice".into(), password: "not hers".into() },
        10..=12 => claiming(which / 14, unix, lifetime),
        13 => {
            // It names one secret and is signed with another.
            let named = claiming(which / 14 * 2, unix, lifetime).username;
            let password = secret(SECRETS[1]).password(&named).as_str().to_owned();
            Login { username: named, password }
        }
        _ => Login { username: "nobody".into(), password: "x".into() },
    }
}

fn secret((id, bytes): (&str, &[u8])) -> Secret {
    Secret::new(KeyId::new(id).unwrap(), bytes)
}

/// A credential with claims of every kind.
fn claiming(which: u64, unix: u64, lifetime: u64) -> Login {
    let pick = |digit: u32, of: u64| (which / 2 / 6_u64.pow(digit) % of) as usize;
    let wish = Wish {
        user: ["dora", "dave", "d~1~active~5~~"][pick(0, 3)],
        label: [None, Some("desk"), Some("sofa")][pick(1, 3)],
        class: [None, Some("gold"), Some("lead")][pick(2, 3)],
        expiry: [None, Some(Expiry::Allocate), Some(Expiry::Refresh), Some(Expiry::Strict)][pick(3, 4)],
        ttl: std::time::Duration::from_secs(lifetime),
    };
    let directory = Directory::builder(REALM).secret(secret(SECRETS[(which % 2) as usize])).build().unwrap();
    let made = directory.mint_claims(&wish, unix).unwrap();
    Login { username: made.username, password: made.password.as_str().to_owned() }
}

/// What a username says, taken apart from the left.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub(crate) user: String,
    pub(crate) label: Option<String>,
    key: Option<String>,
    pub(crate) issued: Option<u64>,
    pub(crate) class: Option<String>,
    pub(crate) expiry: Option<Expiry>,
}

pub(crate) fn said(username: &str) -> Said {
    let Some((_, rest)) = username.split_once(':') else {
        return Said { user: username.to_owned(), ..Said::default() };
    };
    let parts: Vec<&str> = rest.split('~').collect();
    let Some(user_parts) = parts.len().checked_sub(6).filter(|&at| at > 0 && parts[at] == "1") else {
        return Said { user: rest.to_owned(), ..Said::default() };
    };
    let text = |at: usize| Some(parts[user_parts + at].to_owned()).filter(|text| !text.is_empty());
    Said {
        user: parts[..user_parts].join("~"),
        key: text(1),
        issued: text(2).and_then(|digits| digits.parse().ok()),
        label: text(3),
        class: text(4),
        // A name that was mangled on the way is signed by nobody.
        expiry: text(5).and_then(|letter| match &*letter {
            "a" => Some(Expiry::Allocate),
            "r" => Some(Expiry::Refresh),
            "s" => Some(Expiry::Strict),
            _ => None,
        }),
    }
}

/// The name in a message.
pub(crate) fn name_of(message: &Message<'_>) -> Option<String> {
    std::str::from_utf8(message.find(attribute::USERNAME)?).ok().map(str::to_owned)
}

/// The secrets that a message is signed with.
pub(crate) fn keys(username: &str, message: &Message<'_>) -> Vec<&'static str> {
    let is_timed = expires(username).is_some();
    let made = SECRETS.iter().filter(|_| is_timed).filter(|(id, bytes)| {
        wire::is_signed_by(message, username, secret((id, bytes)).password(username).as_str())
    });
    made.map(|(id, _)| *id).collect()
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
    let builder =
        SECRETS.iter().take(kept_secrets).fold(builder, |builder, one| builder.secret(secret(*one)));
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
    // The first secret is always there: whoever names it has no other.
    let count = if said(username).key.as_deref() == Some(SECRETS[0].0) { 1 } else { SECRETS.len() };
    let timed = expires(username).into_iter().flat_map(|_| {
        SECRETS.iter().take(count).map(|one| secret(*one).password(username).as_str().to_owned())
    });
    fixed.chain(timed).collect()
}

/// The time in a username.
pub(crate) fn expires(username: &str) -> Option<u64> {
    username.split_once(':').and_then(|(time, _)| time.parse().ok())
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
