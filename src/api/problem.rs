//! Errors over HTTP: problem documents of RFC 9457 with a stable `code`.

use std::{borrow::Cow, fmt, time::Duration};

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// One kind of error. Codes never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProblemKind {
    /// What programs compare: `snake_case`.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What people read.
    pub title: &'static str,
}

macro_rules! problems {
    ($($constant:ident: $status:literal $code:literal, $title:literal;)+) => {
        $(
            #[doc = $title]
            pub(crate) const $constant: ProblemKind =
                ProblemKind { code: $code, status: $status, title: $title };
        )+

        /// Every kind there is, in the order of the reference.
        pub const PROBLEMS: &[ProblemKind] = &[$($constant),+];
    };
}

problems! {
    NOT_FOUND: 404 "not_found", "There is nothing at this path.";
    METHOD_NOT_ALLOWED: 405 "method_not_allowed", "This path does not take this method.";
    HTTPS_REQUIRED: 403 "https_required", "This path takes no requests in clear text.";
    ORIGIN_REFUSED: 403 "origin_refused", "Pages of this origin may not call this server.";
    BODY_TOO_LARGE: 413 "body_too_large", "The body of the request is too large.";
    BODY_TOO_SLOW: 408 "body_too_slow", "The body of the request did not arrive in time.";
    BODY_BROKEN: 400 "body_broken", "The body of the request broke off.";

    UNAUTHENTICATED: 401 "unauthenticated", "This needs an API key, a token or a client certificate.";
    AMBIGUOUS_CREDENTIALS: 400 "ambiguous_credentials", "The request names more than one key or token.";
    KEY_UNKNOWN: 401 "key_unknown", "The API key is not known.";
    KEY_EXPIRED: 401 "key_expired", "The API key has expired.";
    KEY_IN_QUERY: 400 "key_in_query", "API keys are not taken from the query.";
    CERTIFICATE_REQUIRED: 401 "certificate_required", "This needs a client certificate too.";
    CERTIFICATE_UNKNOWN: 401 "certificate_unknown", "No principal is configured for the client certificate.";
    TOKEN_INVALID: 401 "token_invalid", "The token cannot be used.";
    TOKEN_EXPIRED: 401 "token_expired", "The token has expired.";
    TOKEN_NOT_YET_VALID: 401 "token_not_yet_valid", "The token is not valid yet.";
    TOKEN_KEY_UNKNOWN: 401 "token_key_unknown", "The key that the token was signed with is not known.";
    TOKENS_NOT_TAKEN: 401 "tokens_not_taken", "This server takes no tokens.";
    ALGORITHM_REFUSED: 401 "algorithm_refused", "The token is signed in a way that is not taken.";
    AUDIENCE_WRONG: 401 "audience_wrong", "The token was made for somebody else.";
    ISSUER_WRONG: 401 "issuer_wrong", "The token comes from somebody else.";
    TOKEN_KEYS_UNAVAILABLE: 503 "token_keys_unavailable", "The keys that tokens are verified with cannot be fetched.";
    NETWORK_REFUSED: 403 "network_refused", "The API key may not be used from this address.";
    SCOPE_MISSING: 403 "scope_missing", "The caller may not do this.";
    GRANT_MISSING: 403 "grant_missing", "The token does not grant this.";
    THROTTLED: 429 "throttled", "Too many failed attempts came from this address.";
    RATE_LIMITED: 429 "rate_limited", "This was asked too often.";

    UNHEALTHY: 503 "unhealthy", "A thread that relays does not answer.";
    NOT_READY: 503 "not_ready", "New clients should be sent elsewhere.";
    INTERNAL: 500 "internal", "The server failed to answer; its log says why.";
}

/// One error: its kind, and what is particular about it. `Err(Problem)` of a handler becomes the answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Problem(Box<Particulars>);

#[derive(Clone, PartialEq, Eq)]
struct Particulars {
    kind: ProblemKind,
    detail: Option<Cow<'static, str>>,
    errors: Vec<FieldError>,
    reasons: Vec<String>,
    retry_after: Option<Duration>,
    challenge: Option<Box<str>>,
}

/// What is wrong with one field of the body, or one parameter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Where, as a JSON pointer (RFC 6901) into the body: `/ttl`.
    pub pointer: Cow<'static, str>,
    /// What, and what to write instead.
    pub detail: Cow<'static, str>,
}

/// The document as it is sent.
#[derive(Serialize)]
struct Document<'a> {
    // The `code` says it all; there is no page to point to.
    r#type: &'static str,
    title: &'static str,
    status: u16,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    reasons: &'a [String],
}

impl ProblemKind {
    /// A problem of this kind with nothing particular about it.
    pub(crate) fn problem(self) -> Problem {
        Problem(Box::new(Particulars {
            kind: self,
            detail: None,
            errors: Vec::new(),
            reasons: Vec::new(),
            retry_after: None,
            challenge: None,
        }))
    }

    /// A problem of this kind, with what is particular about it, for people. Never holds a secret or a token.
    pub(crate) fn with(self, detail: impl Into<Cow<'static, str>>) -> Problem {
        self.problem().detail(detail)
    }

    /// The answer, with reasons where there are any to name.
    pub(crate) fn answer(self, reasons: &[String]) -> Response {
        let mut problem = self.problem();
        reasons.clone_into(&mut problem.0.reasons);
        problem.into_response()
    }
}

impl From<ProblemKind> for Problem {
    fn from(kind: ProblemKind) -> Self {
        kind.problem()
    }
}

impl Problem {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> ProblemKind {
        self.0.kind
    }

    /// Says what is particular about it.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Names a field that is at fault, by JSON pointer.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<Cow<'static, str>>, detail: impl Into<Cow<'static, str>>) -> Self {
        self.0.errors.push(FieldError { pointer: pointer.into(), detail: detail.into() });
        self
    }

    /// When to try again: `Retry-After`, in whole seconds, at least 1.
    #[must_use]
    pub const fn retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    /// What `WWW-Authenticate` says instead of the plain `Bearer` of every 401.
    pub(crate) fn challenge(mut self, challenge: impl Into<Box<str>>) -> Self {
        self.0.challenge = Some(challenge.into());
        self
    }

    /// The document, with the id of the request it answers.
    pub(crate) fn document(&self, instance: Option<&str>) -> Vec<u8> {
        let Particulars { kind, detail, errors, reasons, .. } = &*self.0;
        let document = Document {
            r#type: "about:blank",
            title: kind.title,
            status: kind.status,
            code: kind.code,
            detail: detail.as_deref(),
            instance,
            errors,
            reasons,
        };
        // Text and numbers alone: this cannot fail.
        serde_json::to_vec(&document).unwrap_or_default()
    }

    fn headers(&self, headers: &mut HeaderMap) {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(after) = self.0.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds_up(after).max(1)));
        }
        let challenge = match &self.0.challenge {
            Some(challenge) => HeaderValue::from_str(challenge).ok(),
            None if self.0.kind.status == 401 => Some(HeaderValue::from_static("Bearer realm=\"iceway\"")),
            None => None,
        };
        if let Some(challenge) = challenge {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
    }
}

/// Whole seconds, rounded up.
pub(super) fn seconds_up(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.kind.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, self.document(None)).into_response();
        self.headers(response.headers_mut());
        // Whoever knows the request's id writes it into the document.
        response.extensions_mut().insert(self);
        response
    }
}

impl fmt::Debug for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Problem");
        shown.field("code", &self.0.kind.code).field("detail", &self.0.detail);
        shown.field("errors", &self.0.errors).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_unique_and_written_alike() {
        let mut seen = HashSet::new();
        for kind in PROBLEMS {
            assert!(seen.insert(kind.code), "{} is there twice", kind.code);
            assert!(kind.code.chars().all(|c| c.is_ascii_lowercase() || c == '_'), "{}", kind.code);
            assert!(kind.title.ends_with('.'), "{}", kind.code);
            assert!(StatusCode::from_u16(kind.status).is_ok_and(|status| status.as_u16() >= 400));
        }
    }

    #[test]
    fn a_document_names_what_is_at_fault_and_when_to_try_again() {
        let problem = RATE_LIMITED.with("Too many.").at("/user", "is rate-limited");
        let response = problem.clone().retry_after(Duration::from_millis(1200)).into_response();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        let document: serde_json::Value = serde_json::from_slice(&problem.document(Some("r-1"))).unwrap();
        assert_eq!(
            document,
            serde_json::json!({
                "type": "about:blank", "title": "This was asked too often.", "status": 429, "code": "rate_limited",
                "detail": "Too many.", "instance": "r-1", "errors": [{"pointer": "/user", "detail": "is rate-limited"}],
            })
        );
    }

    #[test]
    fn every_401_says_how_to_authenticate() {
        for kind in PROBLEMS.iter().filter(|kind| kind.status == 401) {
            let response = kind.problem().into_response();
            assert!(response.headers().contains_key(header::WWW_AUTHENTICATE), "{}", kind.code);
        }
    }
}
