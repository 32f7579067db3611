//! What a token grants its subject.

use serde_json::Value;

use super::{Grants, TurnGrant};
use crate::credentials::jwt::TokenError;

/// As long as the name of a quota class may be.
const QUOTA_CHARS_MAX: usize = 32;

/// Reads `{"turn": {"use": true, "ttl": 3600, "relayOnly": false, "quota": "std"}}`. What else it says is not ours.
///
/// # Errors
/// Something has the wrong type: rather no grant than another than was meant.
pub(super) fn read(claim: Option<&Value>) -> Result<Grants, TokenError> {
    let fault = TokenError::Claim { claim: "turn", fault: "of the grants is not as it should be" };
    let turn = match claim {
        None | Some(Value::Null) => return Ok(Grants::default()),
        Some(Value::Object(grants)) => match grants.get("turn") {
            None | Some(Value::Null) => return Ok(Grants::default()),
            Some(Value::Object(turn)) => turn,
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                return Err(fault);
            }
        },
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => return Err(fault),
    };
    let flag = |name: &str| match turn.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(value) => value.as_bool().ok_or_else(|| fault.clone()),
    };
    let ttl = match turn.get("ttl") {
        None | Some(Value::Null) => None,
        Some(value) => Some(value.as_u64().filter(|ttl| *ttl > 0).ok_or_else(|| fault.clone())?),
    };
    let quota = match turn.get("quota") {
        None | Some(Value::Null) => None,
        Some(value) => {
            Some(value.as_str().filter(|name| is_quota(name)).ok_or_else(|| fault.clone())?.into())
        }
    };
    Ok(Grants {
        turn: Some(TurnGrant { is_granted: flag("use")?, ttl, relay_only: flag("relayOnly")?, quota }),
    })
}

fn is_quota(name: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_-".contains(&b);
    (1..=QUOTA_CHARS_MAX).contains(&name.len()) && name.bytes().all(is_allowed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_grant_says_what_its_subject_may_have() {
        let claim =
            json!({"device": "web", "turn": {"use": true, "ttl": 600, "relayOnly": true, "quota": "std"}});
        let grant =
            TurnGrant { is_granted: true, ttl: Some(600), relay_only: true, quota: Some("std".into()) };
        assert_eq!(read(Some(&claim)).unwrap().turn, Some(grant));
        assert_eq!(read(Some(&json!({"turn": {}}))).unwrap().turn, Some(TurnGrant::default()));
        for nothing in [None, Some(&Value::Null), Some(&json!({})), Some(&json!({"turn": null}))] {
            assert_eq!(read(nothing).unwrap(), Grants::default());
        }
    }

    #[test]
    fn a_grant_of_the_wrong_form_is_none() {
        for claim in [
            json!("turn"),
            json!({"turn": true}),
            json!({"turn": {"use": "yes"}}),
            json!({"turn": {"ttl": -1}}),
            json!({"turn": {"ttl": 0}}),
            json!({"turn": {"ttl": "1h"}}),
            json!({"turn": {"relayOnly": 1}}),
            json!({"turn": {"quota": "Std"}}),
            json!({"turn": {"quota": ""}}),
        ] {
            assert!(read(Some(&claim)).is_err(), "{claim}");
        }
    }
}
