//! What a request brings to prove who sends it.

use axum::http::{HeaderMap, HeaderName, header};

use super::{Refusal, refusal};
use crate::{
    api::{
        counters::AuthenticationFailure,
        problem::{AMBIGUOUS_CREDENTIALS, Problem},
    },
    cluster::API_KEY_PREFIX,
};

pub(in crate::api) const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// What a request brings.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Presented<'a> {
    /// Nothing.
    Nothing,
    /// An API key, or something in the place of one.
    Key(&'a str),
    /// A token, or something in the place of one.
    Token(&'a str),
}

/// Why it cannot be told what a request brings.
pub(super) enum Unclear {
    Problem(Problem),
    Refusal(Refusal),
}

impl<'a> Presented<'a> {
    /// Reads `Authorization: Bearer` and `X-Api-Key`. Naming the same key twice is harmless, two are not.
    pub(super) fn read(headers: &'a HeaderMap) -> Result<Self, Unclear> {
        let mut found = Self::Nothing;
        for value in headers.get_all(header::AUTHORIZATION) {
            found = found.or(value.to_str().ok().map(bearer).unwrap_or_else(wrong_scheme)?)?;
        }
        for value in headers.get_all(X_API_KEY) {
            // What is no text is no key.
            found = found.or(Self::Key(value.to_str().unwrap_or_default().trim()))?;
        }
        Ok(found)
    }

    /// What somebody brings as a bearer.
    pub(super) fn bearer(credentials: &'a str) -> Self {
        // Tokens have dots, keys of ours have none.
        let is_key = credentials.starts_with(API_KEY_PREFIX) || !credentials.contains('.');
        if is_key { Self::Key(credentials) } else { Self::Token(credentials) }
    }

    fn or(self, other: Self) -> Result<Self, Unclear> {
        if self == Self::Nothing || self == other {
            return Ok(other);
        }
        let detail = "Bring one key or token: in `Authorization` or in `X-Api-Key`.";
        Err(Unclear::Problem(AMBIGUOUS_CREDENTIALS.with(detail)))
    }
}

fn bearer<'a>(value: &'a str) -> Result<Presented<'a>, Unclear> {
    let Some((scheme, credentials)) = value.split_once(' ') else { return wrong_scheme() };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return wrong_scheme();
    }
    Ok(Presented::bearer(credentials.trim()))
}

fn wrong_scheme<'a>() -> Result<Presented<'a>, Unclear> {
    let detail = "`Authorization` is not `Bearer` and a key or token.";
    Err(Unclear::Refusal(refusal(AuthenticationFailure::Unauthenticated, detail)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<'a>(map: &'a mut HeaderMap, headers: &[(HeaderName, &str)]) -> Result<Presented<'a>, u16> {
        for (name, value) in headers {
            map.append(name, value.parse().unwrap());
        }
        Presented::read(map).map_err(|unclear| match unclear {
            Unclear::Problem(problem) => problem.kind().status,
            Unclear::Refusal(refusal) => refusal.failure.kind().status,
        })
    }

    #[test]
    fn keys_and_tokens_are_told_apart() {
        let of = |headers: &[(HeaderName, &str)]| {
            let mut map = HeaderMap::new();
            match read(&mut map, headers) {
                Ok(Presented::Nothing) => "nothing".to_owned(),
                Ok(Presented::Key(key)) => format!("key {key}"),
                Ok(Presented::Token(token)) => format!("token {token}"),
                Err(status) => status.to_string(),
            }
        };
        let authorization = header::AUTHORIZATION;
        assert_eq!(of(&[]), "nothing");
        assert_eq!(of(&[(authorization.clone(), "Bearer iw_a_b")]), "key iw_a_b");
        assert_eq!(of(&[(authorization.clone(), "bearer  a.b.c ")]), "token a.b.c");
        assert_eq!(of(&[(authorization.clone(), "Bearer opaque")]), "key opaque");
        assert_eq!(of(&[(X_API_KEY, "iw_a_b")]), "key iw_a_b");
        assert_eq!(of(&[(X_API_KEY, "iw_a_b"), (authorization.clone(), "Bearer iw_a_b")]), "key iw_a_b");
        assert_eq!(of(&[(X_API_KEY, "iw_a_b"), (authorization.clone(), "Bearer iw_a_c")]), "400");
        assert_eq!(
            of(&[(authorization.clone(), "Bearer a.b.c"), (authorization.clone(), "Bearer x")]),
            "400"
        );
        assert_eq!(of(&[(authorization.clone(), "Basic YTpi")]), "401");
        assert_eq!(of(&[(authorization, "Bearer")]), "401");
    }
}
