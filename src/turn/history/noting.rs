//! Where the relay notes what goes wrong.

use std::borrow::Cow;

use super::{Cause, Incident};
use crate::{
    credentials::{Claims, Validity},
    stun::{Message, attribute},
    turn::{
        CloseReason, Code, DropReason, FiveTuple, Now, Refusal, Request, Server,
        allocation::Allocation,
        authentication::{Proof, Proved},
        drops::Drops,
        response::Head,
    },
};

/// Fewer datagrams than this that nobody answered are no reason to say so: connectivity checks often go unanswered.
pub(super) const UNANSWERED_MIN: u64 = 5;
/// How many wrong names one address (IPv6: /64) may leave behind in a second; the others are only counted.
const NOTED_PER_ADDRESS: u32 = 1;

impl Server {
    /// Remembers that an authenticated request was refused. What the refusing code left as the cause says more than the
    /// error code.
    pub(in crate::turn) fn note_refused(&mut self, now: Now, head: &Head, proved: &Proved<'_>, code: Code) {
        let cause = self.cause.take().unwrap_or(Cause::Refused(code));
        self.note(now, head.from, Some(head.request), proved.claims().user, cause);
    }

    /// Remembers that an allocation could not be made in the end.
    pub(in crate::turn) fn note_unmade(&mut self, now: Now, slot: u32) {
        let cause = self.cause.take().unwrap_or(Cause::NoPort);
        let Some(allocation) = self.allocations.get(slot) else { return };
        let incident = Incident::new(now.unix, allocation.five_tuple, Some(Request::Allocate), true, cause);
        self.shared.history.note(allocation.grant.user(), incident);
    }

    /// Remembers what there is to say of an allocation that ends.
    pub(in crate::turn) fn note_ended(&mut self, now: Now, allocation: &Allocation, reason: CloseReason) {
        let is_forced = match reason {
            CloseReason::CredentialExpired | CloseReason::Revoked | CloseReason::Closed => true,
            CloseReason::Expired | CloseReason::Refreshed | CloseReason::ClientClosed => false,
            // Everybody's end is nobody's failure.
            CloseReason::Shutdown => return,
        };
        if !self.shared.history.is_on() {
            return;
        }
        let mut causes = troubles(allocation);
        if is_forced {
            causes.push(Cause::Ended { reason, by: self.revoked_by(now, allocation).map(|(by, _)| by) });
        }
        for cause in causes {
            self.note(now, allocation.five_tuple, None, allocation.grant.user(), cause);
        }
    }

    /// Remembers that a request was refused for its credentials, unless nothing tells that the client is where it says
    /// it is.
    pub(in crate::turn) fn note_failure(
        &mut self,
        now: Now,
        head: &Head,
        message: &Message<'_>,
        refusal: Refusal,
        is_reachable: bool,
    ) {
        if !self.shared.history.is_on() {
            return;
        }
        let Some(username) = self.username_of(message) else { return };
        let (user, since) = self.user_in(&username, now);
        let proof = match refusal {
            Refusal::Expired | Refusal::Revoked | Refusal::StaleNonce | Refusal::ForeignNonce => {
                self.proof_at(now, head, message, since)
            }
            Refusal::Incomplete
            | Refusal::AlgorithmMismatch
            | Refusal::WrongRealm
            | Refusal::UnknownUser
            | Refusal::WrongPassword
            | Refusal::OtherUser => None,
        };
        let Some(cause) = self.cause_of(now, head, refusal, &username, since, proof.as_ref()) else { return };
        // Of nonces that are not good only whoever knows the credential can tell anything.
        if if cause.is_nonce() { proof.is_none() } else { !is_reachable } {
            return;
        }
        let address = head.from.client.ip();
        if proof.is_none() && !self.stranger_rate.admit(now.monotonic, address, NOTED_PER_ADDRESS) {
            return self.shared.history.pass_over();
        }
        let incident = Incident::new(now.unix, head.from, Some(head.request), proof.is_some(), cause);
        self.shared.history.note(user, incident);
    }

    fn cause_of(
        &self,
        now: Now,
        head: &Head,
        refusal: Refusal,
        username: &str,
        since: Option<u64>,
        proof: Option<&Proof>,
    ) -> Option<Cause> {
        Some(match refusal {
            Refusal::Incomplete => return None,
            Refusal::AlgorithmMismatch => Cause::AlgorithmMismatch,
            Refusal::StaleNonce => Cause::StaleNonce,
            Refusal::ForeignNonce => Cause::ForeignNonce,
            Refusal::WrongRealm => Cause::WrongRealm,
            Refusal::UnknownUser => Cause::UnknownUser,
            Refusal::OtherUser => Cause::OtherUser,
            Refusal::Expired => {
                Cause::Expired { since: since?, key_id: proof.and_then(|proof| proof.key_id.clone()) }
            }
            Refusal::WrongPassword => {
                let candidates = self.directory.candidates(username, now.unix);
                let claimed = match candidates.validity() {
                    Validity::Valid(name) | Validity::Expired(name) => Claims::read(name.user).key_id,
                    Validity::NotTimeLimited => None,
                };
                Cause::WrongPassword { key_id: claimed.map(Box::from), is_static: candidates.is_static() }
            }
            Refusal::Revoked => {
                let proof = proof?;
                let claims = proof.user_part.claims(username);
                let expires = proof.expires?;
                let hit = self.revocations.hit(username, &claims, proof.key_id.as_ref(), expires, now.unix);
                let kept = self.allocations.find(&head.from).and_then(|slot| self.allocations.get(slot));
                let began = kept.map_or(0, |kept| u64::from(kept.created_unix));
                let (by, issued_before) =
                    hit.map_or((Box::default(), began), |row| (row.id.clone(), row.issued_before));
                Cause::Revoked { by, issued_before }
            }
        })
    }

    /// What a message proves by the time its username was valid.
    fn proof_at(&self, now: Now, head: &Head, message: &Message<'_>, since: Option<u64>) -> Option<Proof> {
        let claim = self.claim(message).ok()?;
        let at = Now { unix: since.map_or(now.unix, |since| since.min(now.unix)), ..now };
        self.prove(at, message, &claim, self.allocations.find(&head.from), Some(&None)).ok()
    }

    /// Who a username stands for, and when it ends.
    fn user_in<'u>(&self, username: &'u str, now: Now) -> (&'u str, Option<u64>) {
        match self.directory.candidates(username, now.unix).validity() {
            Validity::NotTimeLimited => (username, None),
            Validity::Valid(name) | Validity::Expired(name) => {
                let user = Claims::read(name.user).user;
                (if user.is_empty() { username } else { user }, Some(name.expires))
            }
        }
    }

    /// The revocation that hits an allocation, and up to when.
    fn revoked_by(&self, now: Now, allocation: &Allocation) -> Option<(Box<str>, u64)> {
        let expires = allocation.credential_expires()?;
        let claims = allocation.user_part.claims(&allocation.username);
        let key_id = self.keys.get(allocation.key_ref);
        let hit = self.revocations.hit(&allocation.username, &claims, key_id, expires, now.unix)?;
        Some((hit.id.clone(), hit.issued_before))
    }

    fn note(&self, now: Now, from: FiveTuple, request: Option<Request>, user: &str, cause: Cause) {
        if self.shared.history.is_on() {
            self.shared.history.note(user, Incident::new(now.unix, from, request, true, cause));
        }
    }

    /// The username as sent, or as its hash names it.
    fn username_of<'m>(&self, message: &Message<'m>) -> Option<Cow<'m, str>> {
        self.username(message.find(attribute::USERNAME), message.find(attribute::USERHASH))
    }
}

/// What is wrong with an allocation, by what it has relayed and dropped.
pub(in crate::turn) fn troubles(allocation: &Allocation) -> Vec<Cause> {
    let none = Drops::default();
    let drops = allocation.drops.as_deref().unwrap_or(&none);
    let mut causes = Vec::new();
    if let Some(peer) = drops.unpermitted {
        let datagrams = drops.to_client.get(DropReason::NoPermission);
        causes.push(Cause::NotPermitted { peer, datagrams });
    }
    let (sent, received) = (allocation.to_peers.datagrams, allocation.to_client.datagrams);
    if received == 0 && sent >= UNANSWERED_MIN {
        causes.push(Cause::NothingFromPeers { sent });
    }
    let notable = [
        DropReason::NoPermission,
        DropReason::NoChannel,
        DropReason::PeerFamily,
        DropReason::OwnAddress,
        DropReason::AllocationBandwidth,
        DropReason::TotalBandwidth,
        DropReason::Oversized,
    ];
    for reason in notable {
        let from_peers = if reason == DropReason::NoPermission { 0 } else { drops.to_client.get(reason) };
        let datagrams = drops.to_peers.get(reason) + from_peers;
        if datagrams > 0 {
            causes.push(Cause::Dropped { reason, datagrams });
        }
    }
    causes
}
