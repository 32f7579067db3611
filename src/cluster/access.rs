//! Who may call the API.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

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
    /// Everything: secrets, API keys, draining, ending allocations.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 4] = [Self::Issue, Self::Revoke, Self::Read, Self::Admin];

    /// Its name: `issue`, `revoke`, `read`, `admin`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Issue => "issue",
            Self::Revoke => "revoke",
            Self::Read => "read",
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
    pub scopes: Scopes,
    /// Where it may be used from; empty is everywhere.
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
