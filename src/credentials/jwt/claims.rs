use serde_json::{Map, Value};

use super::TokenError;

/// Whom tokens must come from, whom they must be for, and when they are valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What `iss` must be, to the letter.
    pub issuer: String,
    /// What `aud` must name one of.
    pub audiences: Vec<String>,
    /// By how many seconds clocks may differ.
    pub leeway: u64,
    /// The longest time from `iat` to `exp`, in seconds.
    pub lifetime_max: u64,
}

/// What a verified and valid token says.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    /// From when on it is valid, in seconds since the Unix epoch, without leeway: the later of `nbf` and `iat`, or 0.
    pub begins: u64,
    /// Until when it is valid, in seconds since the Unix epoch, without leeway.
    pub expires: u64,
    /// `sub`.
    pub subject: Option<String>,
    /// The words of `scope` and `scp`.
    pub scopes: Vec<String>,
    /// All claims.
    pub all: Map<String, Value>,
}

impl Rules {
    /// Judges the payload of a verified token at `now`, in seconds since the Unix epoch.
    ///
    /// # Errors
    /// What is wrong, in this order: form, issuer, audience, time.
    pub fn check(&self, payload: &[u8], now: u64) -> Result<Claims, TokenError> {
        let Ok(Value::Object(all)) = serde_json::from_slice(payload) else {
            return Err(TokenError::Malformed("its payload is not a JSON object"));
        };
        let missing = |claim| TokenError::Claim { claim, fault: "is missing" };
        let issuer = text(&all, "iss")?.ok_or(missing("iss"))?;
        if issuer != self.issuer {
            return Err(TokenError::IssuerWrong);
        }
        let audience = words(&all, "aud", false)?;
        if audience.is_empty() {
            return Err(missing("aud"));
        }
        if !audience.iter().any(|name| self.audiences.contains(name)) {
            return Err(TokenError::AudienceWrong);
        }
        let expires = time(&all, "exp")?.ok_or(missing("exp"))?;
        let begins = self.check_times(time(&all, "iat")?, time(&all, "nbf")?, expires, now)?;
        let subject = text(&all, "sub")?.map(str::to_owned);
        let mut scopes = words(&all, "scope", true)?;
        scopes.extend(words(&all, "scp", true)?);
        Ok(Claims { begins, expires, subject, scopes, all })
    }

    /// When it begins to be valid, if it is valid now.
    fn check_times(
        &self,
        issued: Option<u64>,
        not_before: Option<u64>,
        expires: u64,
        now: u64,
    ) -> Result<u64, TokenError> {
        if expires.saturating_add(self.leeway) <= now {
            return Err(TokenError::Expired { seconds: now - expires });
        }
        let begins = not_before.unwrap_or(0).max(issued.unwrap_or(0));
        if begins > now.saturating_add(self.leeway) {
            return Err(TokenError::NotYetValid { seconds: begins - now });
        }
        // Without `iat` nobody knows how long it was valid; how long it still is must do.
        let seconds = expires.saturating_sub(issued.unwrap_or(now));
        if seconds > self.lifetime_max {
            return Err(TokenError::LifetimeTooLong { seconds, max: self.lifetime_max });
        }
        Ok(begins)
    }
}

fn text<'a>(all: &'a Map<String, Value>, claim: &'static str) -> Result<Option<&'a str>, TokenError> {
    match all.get(claim) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            Err(TokenError::Claim { claim, fault: "is not a text" })
        }
    }
}

/// A list, or a single text, which is split at blanks if it may be.
fn words(all: &Map<String, Value>, claim: &'static str, is_split: bool) -> Result<Vec<String>, TokenError> {
    let fault = TokenError::Claim { claim, fault: "is neither a text nor a list of texts" };
    match all.get(claim) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) if is_split => {
            Ok(text.split_ascii_whitespace().map(str::to_owned).collect())
        }
        Some(Value::String(text)) => Ok(vec![text.clone()]),
        Some(Value::Array(items)) => {
            items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(|| fault.clone())).collect()
        }
        Some(Value::Bool(_) | Value::Number(_) | Value::Object(_)) => Err(fault),
    }
}

/// A NumericDate (RFC 7519 §2): seconds, perhaps with a fraction.
fn time(all: &Map<String, Value>, claim: &'static str) -> Result<Option<u64>, TokenError> {
    /// The year 9999; later ones are mistakes, such as milliseconds.
    const MAX: u64 = 253_402_300_800;
    let fault = TokenError::Claim { claim, fault: "is not a time in seconds since 1970" };
    let value = match all.get(claim) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Number(number)) => number,
        Some(Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_)) => return Err(fault),
    };
    let seconds = value.as_u64().or_else(|| {
        let seconds = value.as_f64().filter(|seconds| (0.0..MAX as f64).contains(seconds))?;
        // Within bounds: the fraction is all that is lost.
        Some(seconds as u64)
    });
    seconds.filter(|seconds| *seconds < MAX).map(Some).ok_or(fault)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn rules() -> Rules {
        Rules {
            issuer: "https://auth.example".to_owned(),
            audiences: vec!["turn".to_owned()],
            leeway: 60,
            lifetime_max: 86_400,
        }
    }

    /// A valid token with one claim replaced; `null` removes it.
    fn check(claim: &str, value: Value) -> Result<Claims, TokenError> {
        let mut claims = json!({
            "iss": "https://auth.example", "aud": "turn", "sub": "u-1", "iat": NOW - 10, "exp": NOW + 3600,
            "scope": "turn.issue openid",
        });
        claims[claim] = value;
        rules().check(claims.to_string().as_bytes(), NOW)
    }

    #[test]
    fn a_valid_token_says_who_and_what() {
        let claims = check("scp", json!(["turn.read"])).unwrap();
        assert_eq!(claims.subject.as_deref(), Some("u-1"));
        assert_eq!(claims.scopes, ["turn.issue", "openid", "turn.read"]);
        assert_eq!(claims.expires, NOW + 3600);
    }

    #[test]
    fn times_are_judged_with_leeway_and_say_by_how_much_they_are_wrong() {
        assert!(check("exp", json!(NOW - 59)).is_ok());
        assert_eq!(check("exp", json!(NOW - 60)), Err(TokenError::Expired { seconds: 60 }));
        assert!(check("nbf", json!(NOW + 60)).is_ok());
        assert_eq!(check("nbf", json!(NOW + 61)), Err(TokenError::NotYetValid { seconds: 61 }));
        assert_eq!(check("iat", json!(NOW + 95)), Err(TokenError::NotYetValid { seconds: 95 }));
        assert!(check("exp", json!(NOW as f64 + 0.5)).is_ok());
    }

    #[test]
    fn a_token_may_not_be_valid_for_longer_than_allowed() {
        assert!(check("exp", json!(NOW - 10 + 86_400)).is_ok());
        assert_eq!(
            check("exp", json!(NOW - 10 + 86_401)),
            Err(TokenError::LifetimeTooLong { seconds: 86_401, max: 86_400 })
        );
        let without_iat = |expires| {
            let claims = json!({"iss": "https://auth.example", "aud": ["x", "turn"], "exp": expires});
            rules().check(claims.to_string().as_bytes(), NOW)
        };
        assert!(without_iat(NOW + 86_400).is_ok());
        assert!(matches!(without_iat(NOW + 86_401), Err(TokenError::LifetimeTooLong { .. })));
    }

    #[test]
    fn issuer_and_audience_must_be_there_and_ours() {
        assert_eq!(check("iss", json!("https://auth.example/")), Err(TokenError::IssuerWrong));
        assert_eq!(check("aud", json!(["account", "turns"])), Err(TokenError::AudienceWrong));
        for claim in ["iss", "aud", "exp"] {
            let missing = Err(TokenError::Claim {
                claim: ["iss", "aud", "exp"].into_iter().find(|name| *name == claim).unwrap(),
                fault: "is missing",
            });
            assert_eq!(check(claim, Value::Null), missing);
        }
        assert!(matches!(check("aud", json!([])), Err(TokenError::Claim { claim: "aud", .. })));
    }

    #[test]
    fn claims_of_the_wrong_type_are_named() {
        for (claim, value) in [
            ("iss", json!(1)),
            ("aud", json!([1])),
            ("aud", json!({})),
            ("exp", json!("soon")),
            ("exp", json!(-1)),
            ("exp", json!(1e300)),
            ("exp", json!(NOW * 1000)),
            ("nbf", json!([])),
            ("iat", json!(true)),
            ("sub", json!(7)),
            ("scope", json!(7)),
            ("scp", json!([7])),
        ] {
            let error = check(claim, value).unwrap_err();
            assert!(
                matches!(error, TokenError::Claim { claim: named, .. } if named == claim),
                "{claim}: {error}"
            );
        }
        for payload in ["", "[]", "null", "{", "\u{feff}{}"] {
            assert!(matches!(rules().check(payload.as_bytes(), NOW), Err(TokenError::Malformed(_))));
        }
    }
}
