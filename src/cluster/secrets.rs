//! The life of secrets: next, active, retiring, removed.
//!
//! A secret's state follows from its row alone and from the others: never activated is `next`, activated last is
//! `active`, the others are `retiring` until no credential can be left that was made with them. So nodes that saw the
//! same rows agree, whatever happened meanwhile.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

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

/// The secrets in a text: coturn's `static-auth-secret=…` lines (others of its keys are skipped), or lines as in
/// `auth.secret_file`.
///
/// # Errors
/// [`SecretsError::Line`] for a line that is neither.
pub fn read_secrets(text: &str) -> Result<Vec<(Option<KeyId>, SecretBytes)>, SecretsError> {
    let mut secrets = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some((key, value)) = line.split_once('=')
            && key.trim() == "static-auth-secret"
        {
            let value = value.trim().trim_matches('"');
            secrets.push((None, SecretBytes::new(value.as_bytes())));
            continue;
        }
        let mut words = line.split_ascii_whitespace();
        match (words.next(), words.next(), words.next()) {
            // Base64 may end in `=`; a key of coturn's has its value behind it.
            (Some(secret), None, None)
                if secret.trim_end_matches('=').contains('=') || is_coturn_key(secret) => {}
            (Some(secret), None, None) => secrets.push((None, SecretBytes::new(secret.as_bytes()))),
            (Some(id), Some(secret), None) => {
                let id = KeyId::new(id).map_err(|_| SecretsError::Line(number))?;
                secrets.push((Some(id), SecretBytes::new(secret.as_bytes())));
            }
            _ => return Err(SecretsError::Line(number)),
        }
    }
    for (_, bytes) in &secrets {
        check_length(bytes)?;
    }
    Ok(secrets)
}

/// Options of coturn that stand alone on a line.
fn is_coturn_key(word: &str) -> bool {
    const KNOWN: [&str; 8] = [
        "use-auth-secret",
        "lt-cred-mech",
        "fingerprint",
        "verbose",
        "stale-nonce",
        "no-cli",
        "no-tls",
        "no-dtls",
    ];
    KNOWN.contains(&word)
}

/// Refuses secrets that could be guessed, and endless ones.
pub(super) fn check_length(bytes: &SecretBytes) -> Result<(), SecretsError> {
    let length = bytes.expose().len();
    if (SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&length) {
        return Ok(());
    }
    Err(SecretsError::Length(length))
}
