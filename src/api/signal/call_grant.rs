//! Rights to one call that the backend signed: no question is needed then.

use std::time::Duration;

use ring::digest::{SHA256, digest};

use super::identity::denial;
use crate::{
    api::{Service, caller::TokenFault, service::unix_seconds},
    cluster::Remembered,
    credentials::jwt::{Claims, TokenError},
    signaling::{Answer, CallId, CallTo, Denial, ErrorCode, Place},
};

/// The longest a grant may be valid, in seconds.
const LIFETIME_MAX: u64 = 60;
/// What goes with the call.
const ATTRS_BYTES_MAX: usize = 4096;

impl Service {
    /// Whether this grant is for this call: a token of the issuer with `from`, `to` (or `room`) and `call`, valid for at
    /// most 60 s, used once.
    pub(super) async fn call_grant(
        &self,
        text: &str,
        (from, to, call): (&Place, &CallTo, &CallId),
    ) -> Result<Answer, Denial> {
        let claims = self.access.signed_claims(text).await.map_err(refused)?;
        let leeway = self.settings.load().config.jwt.leeway.as_secs();
        check(&claims, (from, to, call), unix_seconds(), leeway)?;
        let hash: String =
            digest(&SHA256, text.as_bytes()).as_ref().iter().map(|b| format!("{b:02x}")).collect();
        // The clocks of nodes differ by no more than the leeway.
        let ttl = Duration::from_secs(LIFETIME_MAX + 2 * leeway + 1);
        match self.cluster.remember(&format!("call-grant:{hash}"), Vec::new(), ttl).await {
            Remembered::New => Ok(Answer { attrs: attrs(&claims) }),
            Remembered::Earlier(_) => Err(denial(ErrorCode::Forbidden, "The call grant was used before.")),
        }
    }
}

fn check(
    claims: &Claims,
    (from, to, call): (&Place, &CallTo, &CallId),
    now: u64,
    leeway: u64,
) -> Result<(), Denial> {
    let text = |name: &str| claims.all.get(name).and_then(|value| value.as_str());
    let is_for = match to {
        CallTo::User(user) => text("to") == Some(user.as_str()) && text("room").is_none(),
        CallTo::Room(room) => text("room") == Some(room.as_str()) && text("to").is_none(),
    };
    if text("from") != Some(from.user.as_str()) || !is_for || text("call") != Some(call.as_str()) {
        return Err(denial(ErrorCode::Forbidden, "The call grant is for another call."));
    }
    if claims.expires > now.saturating_add(LIFETIME_MAX + leeway) {
        return Err(denial(ErrorCode::Forbidden, "The call grant is valid for longer than 60 s."));
    }
    Ok(())
}

fn attrs(claims: &Claims) -> Option<bytes::Bytes> {
    let attrs = claims.all.get("attrs").filter(|attrs| attrs.is_object())?;
    let text = serde_json::to_vec(attrs).ok().filter(|text| text.len() <= ATTRS_BYTES_MAX)?;
    Some(text.into())
}

fn refused(fault: TokenFault) -> Denial {
    match fault {
        TokenFault::NotTaken => {
            denial(ErrorCode::Forbidden, "Call grants are not taken: there is no jwt.issuer.")
        }
        TokenFault::Wrong(TokenError::Expired { .. }) => {
            denial(ErrorCode::TokenExpired, "The call grant has expired; get a new one.")
        }
        TokenFault::Wrong(TokenError::NotYetValid { seconds }) => Denial {
            skew: Some(seconds),
            ..denial(ErrorCode::TokenNotYetValid, "The call grant is not valid yet: clocks differ.")
        },
        TokenFault::Wrong(error) => {
            denial(ErrorCode::Forbidden, format!("The call grant is refused: {error}."))
        }
        TokenFault::Unavailable(wait) => Denial {
            retry_after: Some(wait),
            ..denial(ErrorCode::Unavailable, "The issuer's keys cannot be had at present.")
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::signaling::{RoomId, SessionId, UserId};

    const NOW: u64 = 1_800_000_000;

    fn check_with(claim: &str, value: Value, to: &CallTo) -> Result<(), ErrorCode> {
        let mut all = json!({"from": "ann", "to": "bob", "call": "c_1"});
        all[claim] = value;
        let expires = all["exp"].as_u64().unwrap_or(NOW + 60);
        let Value::Object(all) = all else { unreachable!() };
        let claims = Claims { begins: 0, expires, subject: None, scopes: Vec::new(), all };
        let user = UserId::parse("ann").unwrap();
        let from = Place { user, device: "".into(), session: SessionId(1) };
        check(&claims, (&from, to, &CallId::parse("c_1").unwrap()), NOW, 60).map_err(|denial| denial.code)
    }

    #[test]
    fn a_grant_is_for_one_caller_one_callee_and_one_call() {
        let bob = CallTo::User(UserId::parse("bob").unwrap());
        assert_eq!(check_with("x", json!(1), &bob), Ok(()));
        for (claim, value) in [
            ("from", json!("eve")),
            ("to", json!("eve")),
            ("call", json!("c_2")),
            ("call", json!(null)),
            ("room", json!("r")),
            ("exp", json!(NOW + 121)),
        ] {
            assert_eq!(check_with(claim, value, &bob), Err(ErrorCode::Forbidden), "{claim}");
        }
        let room = CallTo::Room(RoomId::parse("bob").unwrap());
        assert_eq!(check_with("x", json!(1), &room), Err(ErrorCode::Forbidden));
    }
}
