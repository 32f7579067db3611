//! API keys: made, found, checked.

use std::{collections::HashMap, net::IpAddr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ipnet::IpNet;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::{ApiKey, ApiKeyId, Scopes, StoreError};

/// What every key text begins with.
pub const API_KEY_PREFIX: &str = "iw_";
/// Characters of the name of a key whose id is drawn.
const ID_CHARS: usize = 12;
/// Random bytes of a key.
const KEY_BYTES: usize = 32;
/// The longest name of a key, in characters.
pub const API_KEY_NAME_CHARS_MAX: usize = 128;
/// The most networks of a key.
pub const API_KEY_NETWORKS_MAX: usize = 64;

/// What a new key shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewApiKey {
    /// Whose it is, for people: 1 to 128 characters.
    pub name: String,
    /// What it may be used for; at least one.
    pub scopes: Scopes,
    /// Where it may be used from; empty is everywhere. At most 64.
    pub networks: Vec<IpNet>,
    /// When it stops working: seconds since the Unix epoch.
    pub expires: Option<u64>,
}

/// Why API keys could not be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ApiKeysError {
    /// The name is empty, too long, or has a control character.
    #[error("the name of an API key has 1 to 128 characters and no control character")]
    Name,
    /// It could not be used for anything.
    #[error("an API key needs a scope: issue, revoke, read, signal or admin")]
    NoScope,
    /// More networks than are looked through.
    #[error("an API key has at most 64 networks, this one has {0}")]
    TooManyNetworks(usize),
    /// It would be over before it began.
    #[error("an API key that ends at {0} would be over already")]
    Expired(u64),
    /// There are as many as there can be.
    #[error("there are {0} API keys already: revoke some")]
    TooMany(usize),
    /// A file looks after it.
    #[error("API key {0} comes from api.keys_file: take it out there, then reload")]
    Configured(ApiKeyId),
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(String),
}

/// Why a key is not good. Callers are told that it is not, and nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiKeyRefusal {
    /// It does not look like one.
    Malformed,
    /// There is none of this id, or it is another one.
    Unknown,
    /// It is over.
    Expired,
    /// It may not be used from this address.
    Network,
}

impl ApiKeyRefusal {
    /// Every refusal.
    pub const ALL: [Self; 4] = [Self::Malformed, Self::Unknown, Self::Expired, Self::Network];

    /// Its name for metrics: `malformed`, `unknown`, `expired`, `network`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Network => "network",
        }
    }
}

/// The keys that are known now: stored ones and those of `api.keys_file`.
#[derive(Clone, Debug, Default)]
pub struct ApiKeys {
    keys: HashMap<ApiKeyId, ApiKey>,
    configured: Vec<ApiKeyId>,
}

impl ApiKeys {
    /// Puts stored and configured keys together; of two with the same id the configured one counts.
    #[must_use]
    pub fn new(stored: impl IntoIterator<Item = ApiKey>, configured: &[ApiKey]) -> Self {
        let all = stored.into_iter().chain(configured.iter().cloned());
        Self {
            keys: all.map(|key| (key.id.clone(), key)).collect(),
            configured: configured.iter().map(|key| key.id.clone()).collect(),
        }
    }

    /// The key of this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&ApiKey> {
        self.keys.get(id)
    }

    /// Whether a key comes from `api.keys_file`.
    #[must_use]
    pub fn is_configured(&self, id: &str) -> bool {
        self.configured.iter().any(|configured| configured == id)
    }

    /// All keys, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &ApiKey> {
        self.keys.values()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The key that `text` is. `from` is the caller's address, `now` in seconds since the Unix epoch. The hashes are
    /// compared in constant time, and an unknown id takes as long as a known one.
    ///
    /// # Errors
    /// [`ApiKeyRefusal`], for the log and the counters (401 for the first three, 403 for the network).
    pub fn authenticate(&self, text: &str, from: IpAddr, now: u64) -> Result<&ApiKey, ApiKeyRefusal> {
        let id = api_key_id(text).ok_or(ApiKeyRefusal::Malformed)?;
        let found = self.keys.get(id);
        let known = found.map_or([0; 32], |key| key.sha256);
        let is_same = bool::from(sha256(text).ct_eq(&known));
        let key = found.filter(|_| is_same).ok_or(ApiKeyRefusal::Unknown)?;
        if key.expires.is_some_and(|expires| expires < now) {
            return Err(ApiKeyRefusal::Expired);
        }
        let from = from.to_canonical();
        if !key.networks.is_empty() && !key.networks.iter().any(|network| network.contains(&from)) {
            return Err(ApiKeyRefusal::Network);
        }
        Ok(key)
    }
}

/// The id in a key text `iw_<id>_<43 characters>`; `None` if it is no key text.
#[must_use]
pub fn api_key_id(text: &str) -> Option<&str> {
    let (id, random) = text.strip_prefix(API_KEY_PREFIX)?.split_once('_')?;
    let is_id = (8..=16).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric());
    let is_random =
        random.len() == 43 && random.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    (is_id && is_random).then_some(id)
}

/// SHA-256 of a whole key text: what is kept of it.
#[must_use]
pub fn sha256(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// A new key with its text, which is kept nowhere. `now` in seconds since the Unix epoch. It is up to the caller to
/// let it be known: see [`Cluster::create_api_key`](super::Cluster::create_api_key).
///
/// # Errors
/// [`ApiKeysError`]: it is not one that can be.
pub fn generate(new: NewApiKey, now: u64) -> Result<(ApiKey, Zeroizing<String>), ApiKeysError> {
    check(&new, now)?;
    let mut random = Zeroizing::new([0; KEY_BYTES]);
    let mut id = [0; ID_CHARS];
    for bytes in [&mut random[..], &mut id[..]] {
        getrandom::fill(bytes).map_err(|error| ApiKeysError::Random(error.to_string()))?;
    }
    let id: String = id
        .iter()
        .map(|byte| char::from(b"abcdefghijkmnpqrstuvwxyz23456789"[usize::from(byte % 32)]))
        .collect();
    let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(&random[..]));
    let text = Zeroizing::new(format!("{API_KEY_PREFIX}{id}_{}", encoded.as_str()));
    let NewApiKey { name, scopes, networks, expires } = new;
    let key = ApiKey { id, name, sha256: sha256(&text), scopes, networks, created: now, expires };
    Ok((key, text))
}

fn check(new: &NewApiKey, now: u64) -> Result<(), ApiKeysError> {
    let chars = new.name.chars().count();
    if !(1..=API_KEY_NAME_CHARS_MAX).contains(&chars) || new.name.chars().any(char::is_control) {
        return Err(ApiKeysError::Name);
    }
    if new.scopes.0.is_empty() {
        return Err(ApiKeysError::NoScope);
    }
    if new.networks.len() > API_KEY_NETWORKS_MAX {
        return Err(ApiKeysError::TooManyNetworks(new.networks.len()));
    }
    match new.expires {
        Some(expires) if expires <= now => Err(ApiKeysError::Expired(expires)),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::Scope;

    const NOW: u64 = 1_000;

    fn new() -> NewApiKey {
        NewApiKey { name: "backend".into(), scopes: Scopes(vec![Scope::Issue]), ..NewApiKey::default() }
    }

    fn home() -> IpAddr {
        IpAddr::from([127, 0, 0, 1])
    }

    #[test]
    fn a_key_is_found_by_its_text_alone() {
        let (key, text) = generate(new(), NOW).unwrap();
        let (_, other) = generate(new(), NOW).unwrap();
        let keys = ApiKeys::new([key.clone()], &[]);

        assert_eq!(api_key_id(&text), Some(key.id.as_str()));
        assert_eq!(keys.authenticate(&text, home(), NOW), Ok(&key));
        assert_eq!(keys.authenticate(&other, home(), NOW), Err(ApiKeyRefusal::Unknown));
        let forged = format!("iw_{}_{}", key.id, &other[other.len() - 43..]);
        assert_eq!(keys.authenticate(&forged, home(), NOW), Err(ApiKeyRefusal::Unknown));
        for malformed in
            ["", "iw_", "iw__", "x", &text[1..], &text[..text.len() - 1], &format!("{}ä", &text[..53])]
        {
            assert_eq!(
                keys.authenticate(malformed, home(), NOW),
                Err(ApiKeyRefusal::Malformed),
                "{malformed}"
            );
        }
    }

    #[test]
    fn a_key_ends_and_belongs_to_its_networks() {
        let limited =
            NewApiKey { networks: vec!["10.0.0.0/8".parse().unwrap()], expires: Some(NOW + 5), ..new() };
        let (key, text) = generate(limited, NOW).unwrap();
        let keys = ApiKeys::new([key], &[]);
        let inside = IpAddr::from([10, 1, 2, 3]);

        assert!(keys.authenticate(&text, inside, NOW + 5).is_ok());
        assert!(keys.authenticate(&text, "::ffff:10.1.2.3".parse().unwrap(), NOW).is_ok());
        assert_eq!(keys.authenticate(&text, home(), NOW), Err(ApiKeyRefusal::Network));
        assert_eq!(keys.authenticate(&text, inside, NOW + 6), Err(ApiKeyRefusal::Expired));
    }

    #[test]
    fn a_key_that_could_not_be_used_is_not_made() {
        let refused = |new: NewApiKey| generate(new, NOW).map(|_| ()).unwrap_err();
        assert_eq!(refused(NewApiKey { name: String::new(), ..new() }), ApiKeysError::Name);
        assert_eq!(refused(NewApiKey { name: "x".repeat(129), ..new() }), ApiKeysError::Name);
        assert_eq!(refused(NewApiKey { name: "a\nb".into(), ..new() }), ApiKeysError::Name);
        assert_eq!(refused(NewApiKey { scopes: Scopes::default(), ..new() }), ApiKeysError::NoScope);
        assert_eq!(refused(NewApiKey { expires: Some(NOW), ..new() }), ApiKeysError::Expired(NOW));
        let networks = vec!["10.0.0.0/8".parse().unwrap(); 65];
        assert_eq!(refused(NewApiKey { networks, ..new() }), ApiKeysError::TooManyNetworks(65));
    }

    #[test]
    fn a_configured_key_stands_before_a_stored_one() {
        let (stored, _) = generate(new(), NOW).unwrap();
        let configured = ApiKey { name: "from the file".into(), ..stored.clone() };
        let keys = ApiKeys::new([stored.clone()], std::slice::from_ref(&configured));

        assert_eq!(keys.find(&stored.id), Some(&configured));
        assert!(keys.is_configured(&stored.id));
        assert_eq!(keys.len(), 1);
    }
}
