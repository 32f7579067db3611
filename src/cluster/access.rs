//! Who may call the API.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Deserializer, Serialize};

/// Names an API key; not secret.
pub type ApiKeyId = String;

/// What a caller may do.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Make credentials.
    Issue,
    /// Revoke credentials.
    Revoke,
    /// See allocations, nodes, usage, secrets' states and metrics.
    Read,
    /// Take part in signaling as a service: speak for users, record, hand out tickets.
    Signal,
    /// Everything: secrets, API keys, draining, ending allocations.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 5] = [Self::Issue, Self::Revoke, Self::Read, Self::Signal, Self::Admin];

    /// Its name: `issue`, `revoke`, `read`, `signal`, `admin`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issue => "issue",
            Self::Revoke => "revoke",
            Self::Read => "read",
            Self::Signal => "signal",
            Self::Admin => "admin",
        }
    }
}

/// Some scopes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Scopes(pub Vec<Scope>);

impl Scopes {
    /// Whether `wanted` is among them; admin stands for all.
    #[must_use]
    pub fn allow(&self, wanted: Scope) -> bool {
        self.0.iter().any(|&scope| scope == wanted || scope == Scope::Admin)
    }
}

/// A key of a caller of the API. The key itself is never kept, only its SHA-256: it has 256 random bits.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Names it.
    pub id: ApiKeyId,
    /// Whose it is, for people.
    pub name: String,
    /// SHA-256 of the whole key text.
    pub sha256: [u8; 32],
    /// What it may be used for.
    #[serde(deserialize_with = "known_scopes")]
    pub scopes: Scopes,
    /// Where it may be used from; empty is everywhere.
    #[serde(default)]
    pub networks: Vec<IpNet>,
    /// When it was made: seconds since the Unix epoch.
    pub created: u64,
    /// When it stops working: seconds since the Unix epoch.
    pub expires: Option<u64>,
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiKey").field("id", &self.id).field("scopes", &self.scopes).finish_non_exhaustive()
    }
}

/// A later version may know more scopes; here they allow nothing.
fn known_scopes<'d, D: Deserializer<'d>>(deserializer: D) -> Result<Scopes, D::Error> {
    let words = Vec::<String>::deserialize(deserializer)?;
    let scopes = words.iter().filter_map(|word| Scope::ALL.into_iter().find(|scope| scope.as_str() == word));
    Ok(Scopes(scopes.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_a_later_version_is_read_as_far_as_it_is_understood() {
        let hash = [0u8; 32].map(|byte| byte.to_string()).join(",");
        let text = format!(
            r#"{{"id":"abcd2345","name":"n","sha256":[{hash}],"scopes":["read","dance"],"created":7,"color":"blue"}}"#
        );
        let key: ApiKey = serde_json::from_str(&text).unwrap();
        assert_eq!(key.scopes.0, [Scope::Read]);
        assert_eq!((key.networks.len(), key.expires), (0, None));
        let again: ApiKey = serde_json::from_str(&serde_json::to_string(&key).unwrap()).unwrap();
        assert_eq!(again, key);
    }
}
