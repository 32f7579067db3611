//! Tickets: what stands in a URL instead of a token, for half a minute and one socket.

use std::{fmt, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    digest::{SHA256, digest},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use super::{Guest, identity};
use crate::{
    api::{
        Service,
        caller::{Caller, Grants, TokenFacts, grants},
        problem::{Problem, TICKET_INVALID},
        service::unix_seconds,
    },
    cluster::{Cluster, Remembered, Scopes},
    signaling::Identity,
};

/// How long a ticket is good for.
pub(super) const LIFETIME: Duration = Duration::from_secs(30);
/// By how many seconds the clocks of nodes may differ.
const CLOCKS_APART_MAX: u64 = 5;
/// The longest ticket: a token of 8 KiB, sealed and written in base64.
const TICKET_BYTES_MAX: usize = 12 << 10;

/// Seals and opens tickets: those of one node are good at all.
pub(super) struct Tickets {
    key: Option<LessSafeKey>,
}

/// What a ticket stands for.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Grant {
    /// The token of whoever asked for it: judged again when the ticket is used.
    Token(String),
    /// A user that a service vouches for.
    User {
        /// Who.
        user: String,
        /// The claim that a token would have.
        grants: Value,
        /// When the session ends: seconds since the Unix epoch.
        expires: u64,
    },
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    /// Seconds since the Unix epoch.
    until: u64,
    grant: Grant,
}

/// Why there is no ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum TicketError {
    /// What it stands for is too much for a URL.
    #[error("the grants are too large for a ticket")]
    TooLarge,
    /// The system has no random bytes, or no cipher.
    #[error("a ticket cannot be sealed")]
    Sealing,
}

impl Tickets {
    pub(super) fn new(cluster: &Cluster) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, &cluster.derive_key("signal-tickets"));
        Self { key: key.ok().map(LessSafeKey::new) }
    }

    /// A ticket that stands for this until then.
    pub(super) fn seal(&self, grant: Grant, now: u64) -> Result<String, TicketError> {
        let key = self.key.as_ref().ok_or(TicketError::Sealing)?;
        let sealed = Sealed { until: now + LIFETIME.as_secs(), grant };
        let mut text = serde_json::to_vec(&sealed).map_err(|_| TicketError::Sealing)?;
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| TicketError::Sealing)?;
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut text)
            .map_err(|_| TicketError::Sealing)?;
        let mut whole = nonce.to_vec();
        whole.append(&mut text);
        let ticket = URL_SAFE_NO_PAD.encode(whole);
        if ticket.len() > TICKET_BYTES_MAX { Err(TicketError::TooLarge) } else { Ok(ticket) }
    }

    /// What it stands for, if it is one of ours and not over.
    fn open(&self, ticket: &str, now: u64) -> Option<Grant> {
        if ticket.len() > TICKET_BYTES_MAX {
            return None;
        }
        let mut whole = URL_SAFE_NO_PAD.decode(ticket).ok()?;
        let (nonce, sealed) = whole.split_first_chunk_mut::<NONCE_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let text = self.key.as_ref()?.open_in_place(nonce, Aad::empty(), sealed).ok()?;
        let sealed: Sealed = serde_json::from_slice(text).ok()?;
        (now <= sealed.until + CLOCKS_APART_MAX).then_some(sealed.grant)
    }
}

impl Service {
    /// A ticket for one socket.
    ///
    /// # Errors
    /// [`TicketError`].
    pub(crate) fn ticket(&self, grant: Grant) -> Result<(String, Duration), TicketError> {
        Ok((self.signal.tickets.seal(grant, unix_seconds())?, LIFETIME))
    }

    /// Whose ticket that is; it is good no more.
    pub(super) async fn redeem(&self, ticket: &str, guest: &Guest) -> Result<Identity, Problem> {
        let now = unix_seconds();
        let grant = self.signal.tickets.open(ticket, now);
        let grant = grant.ok_or_else(|| TICKET_INVALID.with("It has expired, or is none of this server."))?;
        let hash: String =
            digest(&SHA256, ticket.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let ttl = LIFETIME + 2 * Duration::from_secs(CLOCKS_APART_MAX);
        match self.cluster.remember(&format!("signal-ticket:{hash}"), Vec::new(), ttl).await {
            Remembered::New => {}
            Remembered::Earlier(_) => return Err(TICKET_INVALID.with("It was used before.")),
        }
        let identity = match grant {
            Grant::Token(token) => self.identity(&token, guest, Some("")).await,
            Grant::User { user, grants, expires } => {
                let caller = vouched_for(user, &grants, expires, now)
                    .map_err(|error| TICKET_INVALID.with(error.to_string()))?;
                self.identity_of(&caller, guest, "").await
            }
        };
        identity.map_err(|denial| identity::problem(&denial))
    }
}

fn vouched_for(
    user: String,
    claim: &Value,
    expires: u64,
    now: u64,
) -> Result<Caller, crate::credentials::jwt::TokenError> {
    let facts = TokenFacts {
        expires,
        issued: Some(now),
        id: None,
        scopes: Vec::new(),
        signal: Ok(grants::read_signal(Some(claim))?),
    };
    Ok(Caller {
        id: "ticket".into(),
        scopes: Scopes::default(),
        subject: Some(user.into()),
        grants: Grants { turn: grants::read(Some(claim))?.turn },
        token: Some(Arc::new(facts)),
    })
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tickets(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn tickets(key: u8) -> Tickets {
        Tickets { key: UnboundKey::new(&AES_256_GCM, &[key; 32]).ok().map(LessSafeKey::new) }
    }

    #[test]
    fn a_ticket_stands_for_what_was_sealed_for_half_a_minute() {
        let ticket = tickets(1).seal(Grant::Token("a.b.c".to_owned()), NOW).unwrap();
        assert!(!ticket.contains("a.b.c"));
        let opened = |key, now, ticket: &str| match tickets(key).open(ticket, now) {
            Some(Grant::Token(token)) => Some(token),
            Some(Grant::User { .. }) | None => None,
        };
        assert_eq!(opened(1, NOW + 30, &ticket).as_deref(), Some("a.b.c"));
        assert_eq!(opened(1, NOW + 36, &ticket), None);
        assert_eq!(opened(2, NOW, &ticket), None);
        let other = if ticket.ends_with('A') { "B" } else { "A" };
        let changed = format!("{}{other}", &ticket[..ticket.len() - 1]);
        for wrong in ["", "AAAA", "ä", &changed, &"A".repeat(TICKET_BYTES_MAX + 1)] {
            assert_eq!(opened(1, NOW, wrong), None, "{wrong}");
        }
    }
}
