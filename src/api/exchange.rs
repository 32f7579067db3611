//! One request and its answer: what is known of it beside its text.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, request::Parts},
};

use super::problem::seconds_up;

/// The most limits that one request is counted against.
const NOTES_MAX: usize = 4;
/// Longer ids, and other characters than those of words, are not taken over.
const REQUEST_ID_BYTES_MAX: usize = 64;

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// One request and its answer. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Exchange(Arc<Known>);

#[derive(Debug)]
pub(super) struct Known {
    /// Names the request in answers and logs.
    pub(super) id: HeaderValue,
    /// The client's address: that of the connection, or what a trusted proxy says.
    pub(super) client: IpAddr,
    /// Whether nobody on the way could read along.
    pub(super) is_secure: bool,
    /// Whether it came over the control socket, which only the administrator can open.
    pub(super) is_control: bool,
    /// Whether its connection took one of the last descriptors.
    pub(super) is_last: bool,
    /// Whether a proxy that is not trusted says that it forwarded the request.
    pub(super) is_forwarded: bool,
    /// The names in the client's certificate, which was verified.
    pub(super) certificate: Option<Arc<[Box<str>]>>,
    /// Limits the request was counted against.
    pub(super) limits: Mutex<Vec<LimitNote>>,
}

/// A limit that a request was counted against, for the header fields of the answer (draft-ietf-httpapi-ratelimit-headers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LimitNote {
    /// Names it: `caller` or `user`.
    pub(super) name: &'static str,
    /// How many.
    pub(super) quota: u32,
    /// In how long.
    pub(super) window: Duration,
    /// How many are left.
    pub(super) remaining: u32,
    /// Until there are more.
    pub(super) reset: Duration,
}

impl Exchange {
    pub(super) fn new(known: Known) -> Self {
        Self(Arc::new(known))
    }

    /// Of a request that did not come through the listener: from nowhere, in clear text.
    fn unknown() -> Self {
        Self::new(Known {
            id: HeaderValue::from_static("unknown"),
            client: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            is_secure: false,
            is_control: false,
            is_last: false,
            is_forwarded: false,
            certificate: None,
            limits: Mutex::default(),
        })
    }

    /// Of a frame on a socket of this client.
    pub(super) fn of_socket(client: IpAddr, certificate: Option<Arc<[Box<str>]>>) -> Self {
        Self::new(Known {
            id: HeaderValue::from_static("signal"),
            client,
            is_secure: true,
            is_control: false,
            is_last: false,
            is_forwarded: false,
            certificate,
            limits: Mutex::default(),
        })
    }

    /// The exchange these parts belong to.
    pub(super) fn of(parts: &Parts) -> Self {
        parts.extensions.get::<Self>().cloned().unwrap_or_else(Self::unknown)
    }

    pub(super) fn known(&self) -> &Known {
        &self.0
    }

    /// The client's address: that of the connection, or what a trusted proxy says.
    pub(crate) fn client(&self) -> IpAddr {
        self.0.client
    }

    /// Names the request in answers and logs.
    pub(crate) fn id(&self) -> &str {
        self.0.id.to_str().unwrap_or_default()
    }

    /// Has the answer say how much is left of a limit.
    pub(super) fn note(&self, note: LimitNote) {
        let mut limits = self.0.limits.lock().unwrap_or_else(PoisonError::into_inner);
        if limits.len() < NOTES_MAX {
            limits.push(note);
        }
    }

    /// Writes what the answer says about the request.
    pub(super) fn finish(&self, headers: &mut HeaderMap) {
        headers.insert(X_REQUEST_ID, self.0.id.clone());
        let limits = self.0.limits.lock().unwrap_or_else(PoisonError::into_inner);
        if limits.is_empty() {
            return;
        }
        let (mut policies, mut states) = (String::new(), String::new());
        for LimitNote { name, quota, window, remaining, reset } in limits.iter() {
            let gap = if policies.is_empty() { "" } else { ", " };
            let (window, reset) = (seconds_up(*window), seconds_up(*reset));
            policies.push_str(&format!("{gap}\"{name}\";q={quota};w={window}"));
            states.push_str(&format!("{gap}\"{name}\";r={remaining};t={reset}"));
        }
        for (name, text) in [(RATE_LIMIT_POLICY, policies), (RATE_LIMIT, states)] {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(name, value);
            }
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Exchange {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts))
    }
}

/// The id of a request: the caller's own if it is a short word, else a new one.
pub(super) fn request_id(headers: &HeaderMap, ids: &RequestIds) -> HeaderValue {
    let is_word = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=REQUEST_ID_BYTES_MAX).contains(&bytes.len())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte))
    };
    headers.get(X_REQUEST_ID).filter(is_word).cloned().unwrap_or_else(|| ids.next())
}

/// Ids that differ between requests and between starts.
#[derive(Debug)]
pub(super) struct RequestIds {
    start: u32,
    next: AtomicU64,
}

impl RequestIds {
    /// `start` is drawn at each start.
    pub(super) const fn new(start: u32) -> Self {
        Self { start, next: AtomicU64::new(1) }
    }

    fn next(&self) -> HeaderValue {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        HeaderValue::try_from(format!("{:08x}-{number:x}", self.start))
            .unwrap_or_else(|_| HeaderValue::from_static("unknown"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_keeps_its_id_if_it_is_a_word() {
        let ids = RequestIds::new(0xab);
        let id = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(X_REQUEST_ID, text.parse().unwrap());
            request_id(&headers, &ids).to_str().unwrap().to_owned()
        };
        assert_eq!(id("trace-1.2:3_4"), "trace-1.2:3_4");
        assert_eq!(id("a b"), "000000ab-1");
        assert_eq!(id(&"x".repeat(65)), "000000ab-2");
        assert_eq!(request_id(&HeaderMap::new(), &ids), "000000ab-3");
    }

    #[test]
    fn the_answer_says_how_much_is_left() {
        let exchange = Exchange::unknown();
        let window = Duration::from_secs(1);
        exchange.note(LimitNote {
            name: "caller",
            quota: 500,
            window,
            remaining: 499,
            reset: Duration::ZERO,
        });
        let window = Duration::from_secs(60);
        let reset = Duration::from_millis(1500);
        exchange.note(LimitNote { name: "user", quota: 30, window, remaining: 0, reset });
        let mut headers = HeaderMap::new();
        exchange.finish(&mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"caller\";q=500;w=1, \"user\";q=30;w=60");
        assert_eq!(headers["ratelimit"], "\"caller\";r=499;t=0, \"user\";r=0;t=2");
    }
}
