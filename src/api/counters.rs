//! What happened on the HTTP listener.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::telemetry::{Sheet, metric};

use super::problem::{
    ALGORITHM_REFUSED, AUDIENCE_WRONG, CERTIFICATE_REQUIRED, CERTIFICATE_UNKNOWN, ISSUER_WRONG, KEY_EXPIRED,
    KEY_UNKNOWN, NETWORK_REFUSED, ProblemKind, THROTTLED, TOKEN_EXPIRED, TOKEN_INVALID, TOKEN_KEY_UNKNOWN,
    TOKEN_KEYS_UNAVAILABLE, TOKEN_NOT_YET_VALID, TOKENS_NOT_TAKEN, UNAUTHENTICATED,
};

macro_rules! labels {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $member:ident => $label:expr,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$doc])* $member,)+ }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$member),+];

            /// Its name in metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$member => $label,)+ }
            }
        }
    };
}

labels! {
    /// What a request was about.
    RouteGroup {
        /// Issue of credentials, in whichever dialect.
        Credentials => "credentials",
        /// Revocations.
        Revocations => "revocations",
        /// Secrets.
        Secrets => "secrets",
        /// API keys.
        ApiKeys => "api_keys",
        /// Allocations.
        Allocations => "allocations",
        /// Nodes.
        Nodes => "nodes",
        /// Usage.
        Usage => "usage",
        /// Calls and webhooks.
        Calls => "calls",
        /// Signaling: sockets, tickets, sessions and rooms.
        Signaling => "signaling",
        /// Health and readiness.
        Health => "health",
        /// Metrics.
        Metrics => "metrics",
        /// The index, the description of the API, and what does not exist.
        Other => "other",
    }
}

labels! {
    /// The class of a status.
    StatusClass {
        /// 1xx and 2xx.
        Success => "2xx",
        /// 3xx.
        Redirect => "3xx",
        /// 4xx.
        Client => "4xx",
        /// 5xx.
        Server => "5xx",
    }
}

labels! {
    /// How an attempt to get the issuer's keys ended.
    JwksRefresh {
        /// The keys are new.
        Success => "success",
        /// The server could not be reached, or not in time.
        Unreachable => "unreachable",
        /// It answered with another status than 200.
        Status => "status",
        /// The answer is too large.
        TooLarge => "too_large",
        /// The answer is no set of keys.
        Malformed => "malformed",
    }
}

labels! {
    /// What became of a question to the backend.
    DecisionResult {
        /// It said yes.
        Allowed => "allowed",
        /// It said no.
        Denied => "denied",
        /// What it said before was remembered.
        Remembered => "remembered",
        /// It did not answer, and what it last said was good enough for a user in a call.
        Stale => "stale",
        /// No answer in time.
        Late => "late",
        /// It could not be reached.
        Unreachable => "unreachable",
        /// It answered with another status than 200.
        Status => "status",
        /// What it answered was not understood.
        Malformed => "malformed",
        /// It failed too often of late and was not asked.
        Open => "open",
    }
}

macro_rules! failures {
    ($($member:ident => $kind:ident,)+) => {
        labels! {
            /// Why a caller was not authenticated. Each is the `code` of the answer.
            AuthenticationFailure { $(#[doc = concat!("`", stringify!($kind), "`.")] $member => $kind.code,)+ }
        }

        impl AuthenticationFailure {
            /// The problem it is answered with.
            #[must_use]
            pub const fn kind(self) -> ProblemKind {
                match self { $(Self::$member => $kind,)+ }
            }
        }
    };
}

failures! {
    Unauthenticated => UNAUTHENTICATED,
    KeyUnknown => KEY_UNKNOWN,
    KeyExpired => KEY_EXPIRED,
    NetworkRefused => NETWORK_REFUSED,
    CertificateRequired => CERTIFICATE_REQUIRED,
    CertificateUnknown => CERTIFICATE_UNKNOWN,
    TokenInvalid => TOKEN_INVALID,
    TokenExpired => TOKEN_EXPIRED,
    TokenNotYetValid => TOKEN_NOT_YET_VALID,
    TokenKeyUnknown => TOKEN_KEY_UNKNOWN,
    TokensNotTaken => TOKENS_NOT_TAKEN,
    AlgorithmRefused => ALGORITHM_REFUSED,
    AudienceWrong => AUDIENCE_WRONG,
    IssuerWrong => ISSUER_WRONG,
    TokenKeysUnavailable => TOKEN_KEYS_UNAVAILABLE,
    Throttled => THROTTLED,
}

impl RouteGroup {
    /// The group of a path.
    #[must_use]
    pub fn of(path: &str) -> Self {
        match path {
            "/metrics" => return Self::Metrics,
            "/healthz" | "/readyz" | "/livez" => return Self::Health,
            _ => {}
        }
        let mut parts = path.split('/').skip(1);
        match (parts.next(), parts.next(), parts.next()) {
            (Some("turn"), _, _) => Self::Credentials,
            (Some("v1"), Some("ice-servers"), _) => Self::Credentials,
            (Some("v1"), Some("turn"), Some("credentials" | "keys")) => Self::Credentials,
            (Some("v1"), Some("turn"), Some("revocations")) => Self::Revocations,
            (Some("v1"), Some("turn"), Some("secrets")) => Self::Secrets,
            (Some("v1"), Some("signal" | "revocations" | "sessions" | "rooms"), _) => Self::Signaling,
            (Some("v1"), Some("api-keys"), _) => Self::ApiKeys,
            (Some("v1"), Some("allocations"), _) => Self::Allocations,
            (Some("v1"), Some("nodes" | "drain" | "reload" | "doctor"), _) => Self::Nodes,
            (Some("v1"), Some("usage"), _) => Self::Usage,
            (Some("v1"), Some("calls" | "webhooks"), _) => Self::Calls,
            (_, _, _) => Self::Other,
        }
    }
}

impl StatusClass {
    const fn of(status: u16) -> Self {
        match status {
            0..300 => Self::Success,
            300..400 => Self::Redirect,
            400..500 => Self::Client,
            500.. => Self::Server,
        }
    }
}

/// What was counted at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApiCounts {
    /// Requests answered.
    pub requests: [[u64; StatusClass::ALL.len()]; RouteGroup::ALL.len()],
    /// Callers that were not authenticated, by [`AuthenticationFailure`].
    pub failures: [u64; AuthenticationFailure::ALL.len()],
    /// Attempts to fetch the issuer's keys, by [`JwksRefresh`].
    pub jwks_refreshes: [u64; JwksRefresh::ALL.len()],
}

/// Counters of the HTTP listener, for all its threads.
#[derive(Debug, Default)]
pub struct ApiCounters {
    requests: [[AtomicU64; StatusClass::ALL.len()]; RouteGroup::ALL.len()],
    failures: [AtomicU64; AuthenticationFailure::ALL.len()],
    jwks: [AtomicU64; JwksRefresh::ALL.len()],
}

impl ApiCounters {
    pub(super) fn request(&self, group: RouteGroup, status: u16) {
        add(self.requests.get(group as usize).and_then(|row| row.get(StatusClass::of(status) as usize)));
    }

    pub(super) fn failure(&self, failure: AuthenticationFailure) {
        add(self.failures.get(failure as usize));
    }

    pub(super) fn jwks(&self, refresh: JwksRefresh) {
        add(self.jwks.get(refresh as usize));
    }

    /// All of them.
    #[must_use]
    pub fn counts(&self) -> ApiCounts {
        ApiCounts {
            requests: self.requests.each_ref().map(|row| row.each_ref().map(load)),
            failures: self.failures.each_ref().map(load),
            jwks_refreshes: self.jwks.each_ref().map(load),
        }
    }
}

impl ApiCounts {
    /// Fills in the metrics.
    pub(super) fn fill(&self, sheet: &mut Sheet) {
        for (group, row) in RouteGroup::ALL.iter().zip(&self.requests) {
            for (class, count) in StatusClass::ALL.iter().zip(row) {
                sheet.count(&metric::API_REQUESTS, &[group.as_str(), class.as_str()], *count);
            }
        }
        for (failure, count) in AuthenticationFailure::ALL.iter().zip(&self.failures) {
            sheet.count(&metric::API_AUTHENTICATION_FAILURES, &[failure.as_str()], *count);
        }
        for (result, count) in JwksRefresh::ALL.iter().zip(&self.jwks_refreshes) {
            sheet.count(&metric::JWKS_REFRESHES, &[result.as_str()], *count);
        }
    }
}

fn add(counter: Option<&AtomicU64>) {
    if let Some(counter) = counter {
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_a_group() {
        for (path, group) in [
            ("/v1/turn/credentials", RouteGroup::Credentials),
            ("/v1/turn/keys/k/credentials/generate", RouteGroup::Credentials),
            ("/turn", RouteGroup::Credentials),
            ("/v1/ice-servers", RouteGroup::Credentials),
            ("/v1/turn/revocations", RouteGroup::Revocations),
            ("/v1/turn/secrets/rotate", RouteGroup::Secrets),
            ("/v1/api-keys/x", RouteGroup::ApiKeys),
            ("/v1/allocations", RouteGroup::Allocations),
            ("/v1/nodes/n/drain", RouteGroup::Nodes),
            ("/v1/reload", RouteGroup::Nodes),
            ("/v1/doctor", RouteGroup::Nodes),
            ("/v1/usage", RouteGroup::Usage),
            ("/v1/calls/c_1/timeline", RouteGroup::Calls),
            ("/v1/webhooks/replay", RouteGroup::Calls),
            ("/metrics", RouteGroup::Metrics),
            ("/readyz", RouteGroup::Health),
            ("/", RouteGroup::Other),
            ("", RouteGroup::Other),
            ("/v1", RouteGroup::Other),
        ] {
            assert_eq!(RouteGroup::of(path), group, "{path}");
        }
    }

    #[test]
    fn counts_are_kept_apart() {
        let counters = ApiCounters::default();
        counters.request(RouteGroup::Usage, 404);
        counters.failure(AuthenticationFailure::TokenExpired);
        counters.jwks(JwksRefresh::Status);
        let counts = counters.counts();
        assert_eq!(counts.requests[RouteGroup::Usage as usize][StatusClass::Client as usize], 1);
        assert_eq!(counts.requests.as_flattened().iter().sum::<u64>(), 1);
        assert_eq!(counts.failures[AuthenticationFailure::TokenExpired as usize], 1);
        assert_eq!(counts.jwks_refreshes, [0, 0, 1, 0, 0]);
    }
}
