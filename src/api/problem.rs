//! Errors over HTTP: problem documents of RFC 9457 with a stable `code`.

use std::{borrow::Cow, fmt, time::Duration};

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

use super::exchange::LimitNote;

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
    FORWARDED_AMBIGUOUS: 400 "forwarded_ambiguous", "It cannot be told where the request comes from.";
    BODY_TOO_LARGE: 413 "body_too_large", "The body of the request is too large.";
    BODY_TOO_SLOW: 408 "body_too_slow", "The body of the request did not arrive in time.";
    BODY_BROKEN: 400 "body_broken", "The body of the request broke off.";
    MEDIA_TYPE_UNSUPPORTED: 415 "media_type_unsupported", "The body is not of a type that is read here.";
    JSON_MALFORMED: 400 "json_malformed", "The body is not valid JSON.";
    FORM_MALFORMED: 400 "form_malformed", "The form cannot be read.";
    FIELD_UNKNOWN: 422 "field_unknown", "The request has a field that is not known.";
    FIELD_MISSING: 422 "field_missing", "The request lacks a field.";
    FIELD_INVALID: 422 "field_invalid", "A field of the request is of the wrong type.";
    PARAMETER_UNKNOWN: 400 "parameter_unknown", "The query has a parameter that is not known.";
    PARAMETER_INVALID: 400 "parameter_invalid", "A parameter of the query cannot be used.";

    USER_INVALID: 422 "user_invalid", "The user cannot be used.";
    LABEL_INVALID: 422 "label_invalid", "The label cannot be used.";
    TTL_OUT_OF_RANGE: 422 "ttl_out_of_range", "The time to live is outside what this server allows.";
    REGION_INVALID: 422 "region_invalid", "The region cannot be used.";
    CLIENT_IP_INVALID: 422 "client_ip_invalid", "The address of the client cannot be used.";
    TRANSPORTS_INVALID: 422 "transports_invalid", "The list of transports cannot be used.";
    FAMILIES_INVALID: 422 "families_invalid", "The list of address families cannot be used.";
    COUNT_OUT_OF_RANGE: 422 "count_out_of_range", "The number of nodes is outside what this server allows.";
    QUOTA_INVALID: 422 "quota_invalid", "The quota class cannot be used.";
    EXPIRY_INVALID: 422 "expiry_invalid", "The expiry policy cannot be used.";
    SERVICE_UNKNOWN: 400 "service_unknown", "Only the service turn is offered.";
    TURN_KEY_UNKNOWN: 404 "turn_key_unknown", "There is no such TURN key, or it is not the caller's.";
    NO_SECRET: 503 "no_secret", "There is no secret to make credentials with.";
    NO_CAPACITY: 503 "no_capacity", "No node that fits takes new clients at present.";
    NO_URI: 409 "no_uri", "No node is reached the way that was asked for.";

    REVOCATION_EMPTY: 422 "revocation_empty", "The revocation does not say whom it hits.";
    REVOCATION_INVALID: 422 "revocation_invalid", "The revocation cannot be used.";
    REVOCATIONS_FULL: 503 "revocations_full", "No more revocations can be kept.";
    SECRET_INVALID: 422 "secret_invalid", "The secret cannot be used.";
    SECRET_EXISTS: 409 "secret_exists", "There is a secret of this id already.";
    SECRET_UNKNOWN: 404 "secret_unknown", "There is no secret of this id.";
    SECRET_IN_USE: 409 "secret_in_use", "The secret is the one credentials are made with, or the last one.";
    SECRET_CONFIGURED: 409 "secret_configured", "The secret is in the configuration and can only be removed there.";
    SECRETS_FULL: 409 "secrets_full", "No more secrets can be valid at once.";
    API_KEY_INVALID: 422 "api_key_invalid", "The API key cannot be made like this.";
    API_KEY_UNKNOWN: 404 "api_key_unknown", "There is no API key of this id.";
    API_KEY_CONFIGURED: 409 "api_key_configured", "The API key is in a file and can only be removed there.";
    API_KEYS_FULL: 409 "api_keys_full", "No more API keys can be kept.";
    ALLOCATION_UNKNOWN: 404 "allocation_unknown", "There is no such allocation.";
    NODE_UNKNOWN: 404 "node_unknown", "There is no node of this name.";
    NODE_SILENT: 503 "node_silent", "The node did not answer what it was asked.";
    NODE_ENDING: 409 "node_ending", "The node drains because its process ends.";
    CURSOR_INVALID: 400 "cursor_invalid", "The cursor does not come from an earlier answer.";
    CALL_UNKNOWN: 404 "call_unknown", "There is no such call, or it is no longer remembered.";
    CONFIGURATION_INVALID: 409 "configuration_invalid", "The configuration has errors, so nothing was changed.";
    STORE_FAILED: 503 "store_failed", "What was asked for could not be kept, so it was not done.";

    UPGRADE_REQUIRED: 426 "upgrade_required", "This path is for WebSockets.";
    SUBPROTOCOL_UNKNOWN: 400 "subprotocol_unknown", "The subprotocol is not one that is spoken here.";
    SIGNAL_OFF: 404 "signal_off", "This server does no signaling.";
    BACKEND_SILENT: 503 "backend_silent", "The backend did not answer, so it is not allowed.";
    TICKET_INVALID: 401 "ticket_invalid", "The ticket is not good, or no longer.";
    GRANTS_INVALID: 422 "grants_invalid", "The grants cannot be used.";
    DEVICE_INVALID: 422 "device_invalid", "The device cannot be used.";
    SESSION_UNKNOWN: 404 "session_unknown", "There is no such session.";
    ROOM_UNKNOWN: 404 "room_unknown", "There is no such room.";
    ROOM_INVALID: 422 "room_invalid", "The room cannot be used.";
    MESSAGE_INVALID: 422 "message_invalid", "The message cannot be sent.";

    IDEMPOTENCY_KEY_INVALID: 400 "idempotency_key_invalid", "The idempotency key cannot be used.";
    IDEMPOTENCY_KEY_REUSED: 422 "idempotency_key_reused", "The idempotency key was used for another request.";
    IDEMPOTENCY_KEY_IN_FLIGHT: 409 "idempotency_key_in_flight", "The request with this idempotency key still runs.";

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
    limit: Option<LimitNote>,
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
            limit: None,
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

    /// Names reasons, where there may be several.
    #[must_use]
    pub(crate) fn because(mut self, reasons: Vec<String>) -> Self {
        self.0.reasons = reasons;
        self
    }

    /// When to try again: `Retry-After`, in whole seconds, at least 1.
    #[must_use]
    pub const fn retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    /// Names the limit that was reached, for the header fields of the answer.
    pub(super) fn limited(mut self, limit: LimitNote) -> Self {
        self.0.limit = Some(limit);
        self
    }

    /// The limit that was reached.
    pub(super) fn limit(&self) -> Option<LimitNote> {
        self.0.limit
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
