//! The life of secrets: next, active, retiring, removed.
//!
//! A secret's state follows from its row alone and from the others: never activated is `next`, activated last is
//! `active`, the others are `retiring` until no credential can be left that was made with them. So nodes that saw the
//! same rows agree, whatever happened meanwhile.

mod import;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, Zeroizing};

pub use self::import::read_secrets;
use super::{NodeId, StoreError};
use crate::{
    config::{Config, SecretBytes},
    credentials::{Directory, DirectoryError, KeyId, Secret},
};

/// Shorter secrets can be found by trying.
pub const SECRET_BYTES_MIN: usize = 8;
/// The longest secret.
pub const SECRET_BYTES_MAX: usize = 1024;

/// Where a secret is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretState {
    /// Every node accepts it; nobody makes credentials with it yet.
    Next,
    /// Credentials are made with it.
    Active,
    /// Accepted until the last credential that was made with it is over.
    Retiring,
    /// Not accepted any more.
    Removed,
}

/// Who looks after a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// The configuration of this node; it can't be changed by way of the API.
    Configuration,
    /// The cluster.
    Stored,
}

/// What may be told about a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretInfo {
    /// Its key id.
    pub id: String,
    /// Where it is in its life.
    pub state: SecretState,
    /// Who looks after it.
    pub source: SecretSource,
    /// When it was added: seconds since the Unix epoch. Absent for configured ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<u64>,
    /// When credentials were first made with it: seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activated: Option<u64>,
    /// When it will be removed by itself: seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retires: Option<u64>,
    /// Live allocations that were made with it, on all nodes that answered.
    pub allocations: u64,
}

/// The answer of a rotation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rotation {
    /// The secret that credentials are made with from now on.
    pub active: SecretInfo,
    /// The one before it. One that is configured goes on being accepted until it is taken out of the configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retiring: Option<SecretInfo>,
}

/// Why secrets could not be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretsError {
    /// There is none of this id.
    #[error("there is no secret {0}")]
    Unknown(KeyId),
    /// There is one of this id already.
    #[error("there is already a secret {0}: choose another id")]
    Exists(KeyId),
    /// The configuration looks after it.
    #[error(
        "secret {0} comes from the configuration: take it out of auth.secret or auth.secret_file, then reload"
    )]
    Configured(KeyId),
    /// It is in use for new credentials, or the only one.
    #[error("secret {0} is the one credentials are made with: rotate first, or force it")]
    InUse(KeyId),
    /// It has too few or too many bytes.
    #[error("a secret has 8 to 1024 bytes, this one has {0}")]
    Length(usize),
    /// Only next and active ones can be added.
    #[error("a secret is added as next or as active")]
    State,
    /// A line of a file of secrets is none.
    #[error("line {0} holds no secret: write static-auth-secret=…, or a key id and a secret")]
    Line(usize),
    /// There are as many as can be tried.
    #[error("there are {0} secrets already: remove retiring ones")]
    TooMany(usize),
    /// Some nodes did not take it over, so no credential can be made with it yet. It stays as next.
    #[error("these nodes did not take the secret over yet: {}; it is kept as next, try again", .0.join(", "))]
    NotEverywhere(Vec<NodeId>),
    /// It could not be kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes: {0}")]
    Random(String),
}

/// The value of a secret's row. Wiped on drop; no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct StoredSecret {
    /// In base64.
    pub(super) bytes: String,
    pub(super) created: u64,
    #[serde(default)]
    pub(super) activated: Option<u64>,
    #[serde(default)]
    pub(super) retires: Option<u64>,
}

impl Drop for StoredSecret {
    fn drop(&mut self) {
        self.bytes.zeroize();
    }
}

impl StoredSecret {
    pub(super) fn new(bytes: &SecretBytes, created: u64) -> Self {
        Self { bytes: STANDARD.encode(bytes.expose()), created, activated: None, retires: None }
    }

    fn bytes(&self) -> Option<Zeroizing<Vec<u8>>> {
        STANDARD.decode(&self.bytes).ok().map(Zeroizing::new).filter(|bytes| !bytes.is_empty())
    }
}

/// A secret with its place among the others.
pub(super) struct Placed {
    pub(super) id: KeyId,
    pub(super) info: SecretInfo,
    /// `None` for configured ones, whose bytes the configuration has.
    stored: Option<StoredSecret>,
}

/// All secrets in the order in which they are tried: the active one, retiring ones (the youngest first), next ones.
/// Configured ones stand before stored ones of the same state, and none of the same id counts beside them.
pub(super) fn place(
    config: &Config,
    stored: Vec<(KeyId, StoredSecret)>,
    ttl_max: u64,
    now: u64,
) -> Vec<Placed> {
    let configured: Vec<KeyId> =
        config.auth.secrets.iter().filter_map(|secret| KeyId::new(&secret.id).ok()).collect();
    let mut stored: Vec<_> = stored.into_iter().filter(|(id, _)| !configured.contains(id)).collect();
    // The one that was activated last mints, unless it was told to retire.
    stored.sort_by(|a, b| {
        let rank = |(id, secret): &(KeyId, StoredSecret)| {
            (secret.retires.is_none(), secret.activated, secret.created, id.clone())
        };
        rank(b).cmp(&rank(a))
    });
    let active = stored
        .iter()
        .find(|(_, secret)| secret.activated.is_some() && secret.retires.is_none())
        .map(|(id, secret)| (id.clone(), secret.activated));
    let mut placed = Vec::new();
    for (index, id) in configured.into_iter().enumerate() {
        let state = if index == 0 && active.is_none() { SecretState::Active } else { SecretState::Retiring };
        placed.push(Placed { info: configured_info(&id, state), id, stored: None });
    }
    for (id, secret) in stored {
        let succeeded = active.as_ref().filter(|(active, _)| *active != id).and_then(|(_, since)| *since);
        // Two nodes may have activated one each at the same time: then the earlier one was never told to retire.
        let retires = secret
            .retires
            .or_else(|| secret.activated.and(succeeded).map(|since| since.saturating_add(ttl_max)));
        let state = match (secret.activated, retires) {
            (_, Some(retires)) if retires < now => continue,
            (_, Some(_)) => SecretState::Retiring,
            (Some(_), None) => SecretState::Active,
            (None, None) => SecretState::Next,
        };
        let info = SecretInfo {
            id: id.to_string(),
            state,
            source: SecretSource::Stored,
            created: Some(secret.created),
            activated: secret.activated,
            retires,
            allocations: 0,
        };
        placed.push(Placed { id, info, stored: Some(secret) });
    }
    let order = |placed: &Placed| match placed.info.state {
        SecretState::Active => 0,
        SecretState::Next => 1,
        SecretState::Retiring => 2,
        SecretState::Removed => 3,
    };
    placed.sort_by_key(order);
    placed
}

/// Whether one of the secrets is these bytes.
pub(super) fn is_known(config: &Config, placed: &[Placed], bytes: &SecretBytes) -> bool {
    placed.iter().any(|secret| {
        let known = match &secret.stored {
            Some(stored) => stored.bytes(),
            None => configured_bytes(config, &secret.id),
        };
        known.is_some_and(|known| bool::from(known.ct_eq(bytes.expose())))
    })
}

fn configured_info(id: &KeyId, state: SecretState) -> SecretInfo {
    SecretInfo {
        id: id.to_string(),
        state,
        source: SecretSource::Configuration,
        created: None,
        activated: None,
        retires: None,
        allocations: 0,
    }
}

/// The configured users and all secrets; the active one comes first and mints. Of too many secrets the last are left
/// out, and their ids are answered.
pub(super) fn directory(
    config: &Config,
    placed: &[Placed],
) -> Result<(Directory, Vec<KeyId>), DirectoryError> {
    let mut directory = config.directory_of_users();
    let mut left_out = Vec::new();
    let mut count = 0;
    for secret in placed {
        let bytes = match &secret.stored {
            Some(stored) => stored.bytes(),
            None => configured_bytes(config, &secret.id),
        };
        let Some(bytes) = bytes.filter(|_| count < super::tables::SECRETS_MAX) else {
            left_out.push(secret.id.clone());
            continue;
        };
        directory = directory.secret(Secret::new(secret.id.clone(), &bytes));
        count += 1;
    }
    Ok((directory.build()?, left_out))
}

fn configured_bytes(config: &Config, id: &KeyId) -> Option<Zeroizing<Vec<u8>>> {
    let secret = config.auth.secrets.iter().find(|secret| secret.id == id.as_str())?;
    Some(Zeroizing::new(secret.bytes.expose().to_vec()))
}

/// Refuses secrets that could be guessed, and endless ones.
pub(super) fn check_length(bytes: &SecretBytes) -> Result<(), SecretsError> {
    let length = bytes.expose().len();
    if (SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&length) {
        return Ok(());
    }
    Err(SecretsError::Length(length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SharedSecret;

    const TTL: u64 = 3600;

    fn key_id(id: &str) -> KeyId {
        KeyId::new(id).unwrap()
    }

    fn stored(id: &str, created: u64, activated: Option<u64>, retires: Option<u64>) -> (KeyId, StoredSecret) {
        let bytes = SecretBytes::new(format!("secret of {id}").as_bytes());
        let mut secret = StoredSecret::new(&bytes, created);
        (secret.activated, secret.retires) = (activated, retires);
        (key_id(id), secret)
    }

    fn config(ids: &[&str]) -> Config {
        let mut config = Config::default();
        for id in ids {
            config
                .auth
                .secrets
                .push(SharedSecret { id: (*id).to_owned(), bytes: SecretBytes::new(b"configured") });
        }
        config
    }

    fn states(
        config: &Config,
        stored: Vec<(KeyId, StoredSecret)>,
        now: u64,
    ) -> Vec<(String, SecretState, Option<u64>)> {
        let placed = place(config, stored, TTL, now);
        placed.into_iter().map(|one| (one.info.id, one.info.state, one.info.retires)).collect()
    }

    #[test]
    fn the_secret_activated_last_mints_and_the_others_are_accepted() {
        use SecretState::{Active, Next, Retiring};
        let rows = || {
            vec![
                stored("new", 30, None, None),
                stored("now", 20, Some(25), None),
                stored("old", 10, Some(15), Some(100)),
            ]
        };

        let expected = [
            ("now".to_owned(), Active, None),
            ("new".to_owned(), Next, None),
            ("old".to_owned(), Retiring, Some(100)),
        ];
        assert_eq!(states(&config(&[]), rows(), 100), expected);
        assert_eq!(states(&config(&[]), rows(), 101), expected[..2], "what retired is gone by itself");
        let (directory, left_out) = directory(&config(&[]), &place(&config(&[]), rows(), TTL, 50)).unwrap();
        let ids: Vec<&str> = directory.secrets().iter().map(|secret| secret.id().as_str()).collect();
        assert_eq!((ids, left_out.len()), (vec!["now", "new", "old"], 0));
        let minted = directory.mint("bob", std::time::Duration::from_secs(9), 1).unwrap();
        assert_eq!(
            minted.password.as_str(),
            Secret::new(key_id("now"), b"secret of now").password("10:bob").as_str()
        );
    }

    #[test]
    fn of_two_that_were_activated_at_the_same_time_all_nodes_choose_the_same() {
        let rows = || vec![stored("a", 1, Some(50), None), stored("b", 1, Some(60), None)];
        let mut other_way_round = rows();
        other_way_round.reverse();

        let expected = [
            ("b".to_owned(), SecretState::Active, None),
            ("a".to_owned(), SecretState::Retiring, Some(60 + TTL)),
        ];
        assert_eq!(states(&config(&[]), rows(), 70), expected);
        assert_eq!(states(&config(&[]), other_way_round, 70), expected);
        assert_eq!(states(&config(&[]), rows(), 61 + TTL).len(), 1);
    }

    #[test]
    fn a_configured_secret_mints_until_a_stored_one_does() {
        let alone = states(&config(&["first", "second"]), vec![stored("next", 1, None, None)], 5);
        let order: Vec<_> = alone.iter().map(|(id, state, _)| (id.as_str(), *state)).collect();
        assert_eq!(
            order,
            [("first", SecretState::Active), ("next", SecretState::Next), ("second", SecretState::Retiring)]
        );
        let after = states(&config(&["first"]), vec![stored("mine", 1, Some(4), None)], 5);
        assert_eq!(after[0].0, "mine");
        assert_eq!((after[1].1, after[1].2), (SecretState::Retiring, None));
    }

    #[test]
    fn a_configured_secret_hides_a_stored_one_of_the_same_id() {
        let placed = place(&config(&["k"]), vec![stored("k", 1, Some(2), None)], TTL, 5);
        assert_eq!(placed.len(), 1);
        assert_eq!(placed[0].info.source, SecretSource::Configuration);
    }

    #[test]
    fn more_secrets_than_can_be_tried_are_left_out_from_the_end() {
        let rows = (0..20).map(|n| stored(&format!("k{n}"), n, None, None)).collect();
        let (directory, left_out) = directory(&config(&[]), &place(&config(&[]), rows, TTL, 50)).unwrap();
        assert_eq!((directory.secrets().len(), left_out.len()), (16, 4));
    }

    #[test]
    fn a_row_of_a_later_version_is_read_as_far_as_it_is_understood() {
        let text = r#"{"bytes":"bm9ydGhub3J0aA==","created":7,"color":"blue","activated":8}"#;
        let secret: StoredSecret = serde_json::from_str(text).unwrap();
        assert_eq!((secret.created, secret.activated, secret.retires), (7, Some(8), None));
        assert_eq!(&secret.bytes().unwrap()[..], b"northnorth");
    }
}
