//! What the backend allows, but no more than: `limits` of its answers.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Map, Value};

use crate::{
    credentials::is_class,
    signaling::{Grants, TurnGrants},
};

/// Each lowers or replaces what the token grants; what is not there stays. `maxSessions` goes with `connect`, the others
/// with `turn`. Other members are not ours.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Limits {
    /// Sessions of the user at once.
    max_sessions: Option<u32>,
    /// Seconds that ICE servers are good for.
    ttl: Option<u64>,
    /// Whether all media must go through the relay.
    relay_only: Option<bool>,
    /// The quota class of the user.
    quota: Option<Box<str>>,
}

/// Those of an object: nothing else has any.
pub(super) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Limits>, D::Error> {
    let members: Option<Map<String, Value>> = Option::deserialize(deserializer)?;
    members
        .map(|members| serde_json::from_value(Value::Object(members)).map_err(D::Error::custom))
        .transpose()
}

impl Limits {
    /// Whether they can be kept to.
    pub(super) fn are_fine(&self) -> bool {
        self.max_sessions != Some(0) && self.ttl != Some(0) && self.quota.as_deref().is_none_or(is_class)
    }

    /// Of a session.
    pub(super) fn hold(&self, grants: &mut Grants) {
        if let Some(most) = self.max_sessions {
            grants.sessions_max = grants.sessions_max.min(most);
        }
    }

    /// Of ICE servers.
    pub(super) fn held(&self, turn: &TurnGrants) -> TurnGrants {
        let most = self.ttl.map(Duration::from_secs);
        TurnGrants {
            ttl: [turn.ttl, most].into_iter().flatten().min(),
            relay_only: turn.relay_only || self.relay_only == Some(true),
            quota: self.quota.clone().or_else(|| turn.quota.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(text: &str) -> Option<Limits> {
        read(&mut serde_json::Deserializer::from_str(text)).ok()?.filter(Limits::are_fine)
    }

    #[test]
    fn limits_lower_what_a_token_grants_and_never_raise_it() {
        let limits = limits(r#"{"ttl":600,"relayOnly":false,"quota":"low","other":[1]}"#).unwrap();
        let granted = TurnGrants { ttl: Some(Duration::from_secs(60)), relay_only: true, quota: None };
        let held = limits.held(&granted);
        assert_eq!(held, TurnGrants { quota: Some("low".into()), ..granted });
        let held = limits.held(&TurnGrants::default());
        assert_eq!((held.ttl, held.relay_only), (Some(Duration::from_secs(600)), false));
    }

    #[test]
    fn limits_that_cannot_be_kept_to_are_none() {
        for wrong in [
            r#"{"maxSessions":0}"#,
            r#"{"maxSessions":-1}"#,
            r#"{"ttl":0}"#,
            r#"{"ttl":"1h"}"#,
            r#"{"quota":"Std"}"#,
            r#"{"relayOnly":1}"#,
            "[1]",
        ] {
            assert!(limits(wrong).is_none(), "{wrong}");
        }
    }
}
