//! Login tokens of a bare start, for the built-in page on the same machine.

use axum::{
    extract::State,
    http::{HeaderMap, header, request::Parts, uri::Authority},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use crate::api::{
    Service,
    body::Answer,
    exchange::Exchange,
    problem::{
        NOT_FOUND, ORIGIN_REFUSED, PARAMETER_INVALID, PARAMETER_UNKNOWN, Problem, ProblemKind, USER_INVALID,
    },
    query::Query,
    service::unix_seconds,
};

/// Who makes the tokens of a bare start.
pub const TRIAL_ISSUER: &str = "iceway-trial";
/// Whom they are made for.
pub const TRIAL_AUDIENCE: &str = "iceway-trial";

/// What `GET /v1/trial/token` refuses.
pub(in crate::api) const TRIAL_PROBLEMS: &[ProblemKind] =
    &[NOT_FOUND, ORIGIN_REFUSED, USER_INVALID, PARAMETER_UNKNOWN, PARAMETER_INVALID];

/// Renewed by the client while a page is open.
const LIFETIME_SECONDS: u64 = 600;
const USER_CHARS_MAX: usize = 64;
const SEC_FETCH_SITE: &str = "sec-fetch-site";

/// Whom a token is for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::api) struct TrialQuery {
    /// The name to call and be called by.
    #[param(min_length = 1, max_length = 64, pattern = r"^[A-Za-z0-9._-]+$")]
    user: String,
}

/// A login token.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct TrialToken {
    /// What `Authorization: Bearer` and `hello` take.
    token: String,
    /// How long, in seconds.
    expires_in: u64,
}

/// Makes a login token, to try calls with: only in a bare start, and only for pages of this server that are open on the
/// same machine.
#[utoipa::path(
    get,
    path = "/v1/trial/token",
    tag = "page",
    params(TrialQuery),
    responses((status = 200, description = "The token.", body = TrialToken))
)]
pub(in crate::api) async fn trial_token(
    State(service): State<Service>,
    parts: Parts,
    Query(query): Query<TrialQuery>,
) -> Result<Answer<TrialToken>, Problem> {
    let settings = service.settings.load();
    let jwt = &settings.config.jwt;
    let Some(secret) = &jwt.trial_secret else { return Err(NOT_FOUND.into()) };
    if !is_from_here(&parts) || !is_same_origin(&parts.headers) {
        return Err(ORIGIN_REFUSED.with("Open the page of this server on the machine that it runs on."));
    }
    if !is_name(&query.user) {
        return Err(USER_INVALID
            .problem()
            .at("/user", "has 1 to 64 letters, digits, dots, dashes or underscores"));
    }
    let claims = claims(&query.user, unix_seconds(), &jwt.grants_claim);
    Ok(Answer(TrialToken { token: signed(&claims, secret.expose()), expires_in: LIFETIME_SECONDS }))
}

/// Whether the built-in page of a bare start asks, on the same machine.
pub(in crate::api) fn is_trial_page(service: &Service, parts: &Parts) -> bool {
    let is_trial = service.settings.load().config.jwt.trial_secret.is_some();
    is_trial && is_from_here(parts) && is_same_origin(&parts.headers)
}

/// Whether a request comes from this machine, under a name of this machine: a page of a stranger whose own name leads
/// here has that name in `Host`.
pub(super) fn is_from_here(parts: &Parts) -> bool {
    let exchange = Exchange::of(parts);
    let known = exchange.known();
    let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    known.client.to_canonical().is_loopback() && !known.is_forwarded && host.is_some_and(is_own_name)
}

fn is_own_name(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']');
    let is_loopback = |ip: std::net::IpAddr| ip.is_loopback();
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_loopback)
}

/// Whether the page that asks, if a page does, is one of this server.
fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if text(SEC_FETCH_SITE).is_some_and(|site| site != "same-origin") {
        return false;
    }
    let Some(origin) = text("origin") else { return true };
    let named = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    named.is_some() && named == text("host")
}

fn is_name(user: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    (1..=USER_CHARS_MAX).contains(&user.len()) && user.bytes().all(is_allowed)
}

/// Everything that is worth trying, and nothing that administers.
fn claims(user: &str, now: u64, grants_claim: &str) -> Value {
    let grants = json!({
        "role": "user",
        "rooms": { "*": ["join", "send"] },
        "call": { "mode": "any" },
        "presence": true,
        "message": true,
        "turn": { "use": true },
    });
    json!({
        "iss": TRIAL_ISSUER, "aud": TRIAL_AUDIENCE, "sub": user, "iat": now, "exp": now + LIFETIME_SECONDS,
        grants_claim: grants,
    })
}

/// As a compact serialisation (RFC 7515 §7.1) with HS256.
fn signed(claims: &Value, secret: &[u8]) -> String {
    let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let mut token = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), token.as_bytes());
    token.push('.');
    token.push_str(&URL_SAFE_NO_PAD.encode(tag));
    token
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;
    use crate::credentials::jwt::{Algorithm, Rules, Token, VerifyingKey};

    #[test]
    fn a_token_is_good_for_a_short_while() {
        let (secret, now) = ([7; 32], 1_800_000_000);
        let text = signed(&claims("guest-1", now, "rtc"), &secret);
        let token = Token::parse(&text, &[Algorithm::Hs256]).unwrap();
        let payload = token.verify(&[VerifyingKey::shared(&secret).unwrap()]).unwrap();
        let rules = Rules {
            issuer: TRIAL_ISSUER.to_owned(),
            audiences: vec![TRIAL_AUDIENCE.to_owned()],
            leeway: 60,
            lifetime_max: 86_400,
        };
        let claims = rules.check(&payload, now).unwrap();
        assert_eq!(claims.subject.as_deref(), Some("guest-1"));
        assert!(claims.scopes.is_empty(), "{claims:?}");
        assert!(rules.check(&payload, now + 700).is_err());
    }

    #[test]
    fn only_names_of_this_machine_lead_to_a_token() {
        for own in ["127.0.0.1:9641", "localhost:9641", "LOCALHOST", "[::1]:9641", "127.0.0.1"] {
            assert!(is_own_name(own), "{own}");
        }
        for other in
            ["rebound.example:9641", "10.0.0.5:9641", "localhost.example", "", "127.0.0.1.example", "[::1"]
        {
            assert!(!is_own_name(other), "{other}");
        }
    }

    #[test]
    fn pages_of_others_get_none() {
        let same = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:9641"));
            for (name, value) in pairs {
                headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            is_same_origin(&headers)
        };
        assert!(same(&[]));
        assert!(same(&[(SEC_FETCH_SITE, "same-origin")]));
        assert!(same(&[("origin", "http://127.0.0.1:9641")]));
        for site in ["same-site", "cross-site", "none"] {
            assert!(!same(&[(SEC_FETCH_SITE, site)]), "{site}");
        }
        for origin in ["http://localhost:3000", "null", "http://127.0.0.1:9642", "http://127.0.0.1"] {
            assert!(!same(&[("origin", origin)]), "{origin}");
        }
    }

    #[test]
    fn names_are_plain() {
        assert!(is_name("guest-1.a_B"));
        for name in ["", "a b", "é", "a/b", &"x".repeat(65)] {
            assert!(!is_name(name), "{name}");
        }
    }
}
