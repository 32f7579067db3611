//! Fields that several requests have, each with what is wrong with it.

use std::{borrow::Cow, net::IpAddr, time::Duration};

use super::{
    super::{
        choice::NODES_MAX,
        problem::{
            CLIENT_IP_INVALID, COUNT_OUT_OF_RANGE, EXPIRY_INVALID, FAMILIES_INVALID, LABEL_INVALID,
            PARAMETER_INVALID, Problem, ProblemKind, QUOTA_INVALID, REGION_INVALID, TRANSPORTS_INVALID,
            TTL_OUT_OF_RANGE, USER_INVALID,
        },
    },
    issue::Routes,
};
use crate::{
    config::Credentials,
    credentials::{CLASS_CHARS_MAX, Expiry, LABEL_CHARS_MAX, USER_BYTES_MAX, is_class, is_label},
};

/// The longest name of a region.
pub(crate) const REGION_CHARS_MAX: usize = 64;
/// How many things a page has unless the caller says otherwise.
const PAGE_DEFAULT: u32 = 100;
/// The most things of a page.
const PAGE_MAX: u32 = 1000;
/// The most words of a list of transports or families; each may be named twice.
const WORDS_MAX: usize = 8;

/// Collects what is wrong, so that a caller learns all of it at once.
#[derive(Default)]
pub(crate) struct Faults(Option<Problem>);

impl Faults {
    /// Notes a fault; the first one names the problem.
    pub(crate) fn note(
        &mut self,
        kind: ProblemKind,
        pointer: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) {
        let problem = self.0.take().unwrap_or_else(|| kind.problem());
        self.0 = Some(problem.at(pointer, detail));
    }

    /// Whether there was one.
    pub(crate) fn result(self) -> Result<(), Problem> {
        self.0.map_or(Ok(()), Err)
    }

    /// 1 to 256 bytes without control characters.
    pub(crate) fn user(&mut self, pointer: &'static str, user: &str) {
        if user.is_empty() || user.len() > USER_BYTES_MAX {
            let detail = format!("has 1 to {USER_BYTES_MAX} bytes, not {}", user.len());
            self.note(USER_INVALID, pointer, detail);
        } else if user.chars().any(char::is_control) {
            self.note(USER_INVALID, pointer, "has no control characters");
        }
    }

    /// See [`is_label`].
    pub(crate) fn label(&mut self, pointer: &'static str, label: Option<&str>) {
        if label.is_some_and(|label| !is_label(label)) {
            let detail = format!("has 1 to {LABEL_CHARS_MAX} characters of A-Z a-z 0-9 . _ : @ / + = -");
            self.note(LABEL_INVALID, pointer, detail);
        }
    }

    /// See [`is_class`]; known ones only, if any are configured.
    pub(crate) fn quota(&mut self, pointer: &'static str, class: Option<&str>) {
        if class.is_some_and(|class| !is_class(class)) {
            self.note(
                QUOTA_INVALID,
                pointer,
                format!("has 1 to {CLASS_CHARS_MAX} characters of a-z 0-9 _ -"),
            );
        }
    }

    /// The name of a region.
    pub(crate) fn region(&mut self, pointer: &'static str, region: Option<&str>) {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if region.is_some_and(|region| {
            !(1..=REGION_CHARS_MAX).contains(&region.len()) || !region.bytes().all(allowed)
        }) {
            let detail = format!("has 1 to {REGION_CHARS_MAX} characters of A-Z a-z 0-9 . _ -");
            self.note(REGION_INVALID, pointer, detail);
        }
    }

    /// Seconds; the configured default if there are none.
    pub(crate) fn ttl(&mut self, pointer: &'static str, ttl: Option<i64>, bounds: &Credentials) -> Duration {
        let Some(ttl) = ttl else { return bounds.ttl_default };
        let given = u64::try_from(ttl).ok().map(Duration::from_secs);
        match given.filter(|ttl| (bounds.ttl_min..=bounds.ttl_max).contains(ttl)) {
            Some(ttl) => ttl,
            None => {
                let (min, max) = (bounds.ttl_min.as_secs(), bounds.ttl_max.as_secs());
                self.note(TTL_OUT_OF_RANGE, pointer, format!("must be {min} to {max} seconds"));
                bounds.ttl_default
            }
        }
    }

    /// How many nodes.
    pub(crate) fn count(&mut self, pointer: &'static str, count: Option<i64>) -> usize {
        let Some(count) = count else { return 1 };
        match usize::try_from(count).ok().filter(|count| (1..=NODES_MAX).contains(count)) {
            Some(count) => count,
            None => {
                self.note(COUNT_OUT_OF_RANGE, pointer, format!("must be 1 to {NODES_MAX}"));
                1
            }
        }
    }

    /// An IPv4 or IPv6 address.
    pub(crate) fn client_ip(&mut self, pointer: &'static str, text: Option<&str>) -> Option<IpAddr> {
        let text = text?;
        let ip: Option<IpAddr> = text.parse().ok();
        if ip.is_none() {
            self.note(CLIENT_IP_INVALID, pointer, "must be an IPv4 or IPv6 address without a port");
        }
        ip.map(|ip| ip.to_canonical())
    }

    /// `allocate`, `refresh` or `strict`.
    pub(crate) fn expiry(&mut self, pointer: &'static str, word: Option<&str>) -> Option<Expiry> {
        let word = word?;
        let known = [Expiry::Allocate, Expiry::Refresh, Expiry::Strict];
        let expiry = known.into_iter().find(|expiry| expiry.as_str() == word);
        if expiry.is_none() {
            self.note(EXPIRY_INVALID, pointer, "must be allocate, refresh or strict");
        }
        expiry
    }

    /// Restricts `routes` to the transports and families of these lists.
    pub(crate) fn routes(
        &mut self,
        transports: Option<&[String]>,
        families: Option<&[String]>,
        routes: &mut Routes,
    ) {
        if let Some(words) = transports {
            let taken = [&mut routes.udp, &mut routes.tcp, &mut routes.tls];
            if !take(words, ["udp", "tcp", "tls"], taken) {
                self.note(TRANSPORTS_INVALID, "/transports", "must name at least one of udp, tcp and tls");
            }
        }
        if let Some(words) = families
            && !take(words, ["ipv4", "ipv6"], [&mut routes.ipv4, &mut routes.ipv6])
        {
            self.note(FAMILIES_INVALID, "/families", "must name at least one of ipv4 and ipv6");
        }
    }
}

/// How many things a page has: 100 unless given.
///
/// # Errors
/// 400 `parameter_invalid` unless it is 1 to 1000.
pub(crate) fn page_limit(limit: Option<u32>) -> Result<usize, Problem> {
    match limit.unwrap_or(PAGE_DEFAULT) {
        limit @ 1..=PAGE_MAX => Ok(limit as usize),
        _ => Err(PARAMETER_INVALID.problem().at("/limit", format!("must be 1 to {PAGE_MAX}"))),
    }
}

/// Switches on what is named and off what is not. False if nothing is named, or something unknown.
fn take<const N: usize>(words: &[String], known: [&str; N], taken: [&mut bool; N]) -> bool {
    for (name, taken) in known.into_iter().zip(taken) {
        *taken = words.iter().any(|word| word == name);
    }
    (1..=WORDS_MAX).contains(&words.len()) && words.iter().all(|word| known.contains(&word.as_str()))
}
