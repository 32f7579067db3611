//! Long-term credentials, checked in the order of RFC 8489 §9.2.4.

use std::borrow::Cow;

use super::{
    Code, DropReason, Event, Expiry, FiveTuple, Now, Output, Refusal, Request, Server, UserKey,
    allocation::LongTermKey,
    identity::UserPart,
    nonce::{Features, NonceError},
    response::{Head, Refused, Signature},
};
use crate::{
    credentials::{Candidate, CandidateKey, Claims, KeyId, USERNAME_BYTES_MAX, Validity},
    stun::{self, Integrity, IntegrityKey, Message, attribute, long_term_key_md5, long_term_key_sha256},
};

/// Numbers of IANA's "STUN Password Algorithms".
const MD5: u16 = 1;
const SHA256: u16 = 2;
/// PASSWORD-ALGORITHMS as it is offered, the preferred one first.
pub(super) const OFFERED: [u16; 2] = [SHA256, MD5];
/// Its value on the wire.
const OFFERED_VALUE: [u8; 8] = [0, SHA256 as u8, 0, 0, 0, MD5 as u8, 0, 0];

/// A password algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Md5,
    Sha256,
}

/// Who sent an authenticated request.
#[derive(Debug)]
pub(super) struct Proved<'m> {
    pub(super) username: Cow<'m, str>,
    pub(super) user_part: UserPart,
    /// The secret the credential was made with; `None` if it does not end.
    pub(super) key_id: Option<KeyId>,
    pub(super) key: LongTermKey,
    pub(super) signature: Signature,
    /// The last second at which the credential is valid; `None` if it does not end.
    pub(super) expires: Option<u64>,
    /// The slot of the client's allocation, live or being made.
    pub(super) slot: Option<u32>,
}

impl Proved<'_> {
    /// What the username says.
    pub(super) fn claims(&self) -> Claims<'_> {
        self.user_part.claims(&self.username)
    }
}

/// What a message was found to be signed with.
pub(super) struct Proof {
    key: LongTermKey,
    /// The same, ready for use.
    integrity_key: IntegrityKey,
    pub(super) expires: Option<u64>,
    pub(super) key_id: Option<KeyId>,
    pub(super) user_part: UserPart,
}

/// Why a request's credentials are not accepted.
pub(super) enum Rejection<'m> {
    /// No integrity: the client asks to be challenged.
    Challenge,
    Refused(Refusal, Option<Cow<'m, str>>),
    LookUp(Cow<'m, str>),
}

/// A request's attributes that say who sends it.
pub(super) struct Claim<'m> {
    username: Cow<'m, str>,
    nonce: &'m [u8],
    algorithm: Algorithm,
    /// PASSWORD-ALGORITHM was sent: the answer is signed with SHA-256 (RFC 8489 §9.2.4).
    explicit: bool,
}

impl Server {
    /// Finds out who sent a request. `found` is the answer of a look-up, when there was one.
    ///
    /// What is refused here has been answered, or counted, by the time this returns.
    pub(super) fn authenticate<'m>(
        &mut self,
        now: Now,
        head: &Head,
        message: &Message<'m>,
        found: Option<&Option<UserKey>>,
    ) -> Result<Proved<'m>, Result<usize, Refused>> {
        match self.identify(now, head, message, found) {
            Ok(proved) => Ok(proved),
            Err(Rejection::Challenge) => Err(self.challenge(now, head, Code::Unauthenticated)),
            Err(Rejection::LookUp(username)) => Err(Err(self.look_up(now, head, message, &username))),
            Err(Rejection::Refused(refusal, username)) => {
                let is_reachable = self.is_reachable(now, head, message);
                self.note_failure(now, head, message, refusal, is_reachable);
                Err(self.refuse(now, head, refusal, username, is_reachable))
            }
        }
    }

    fn identify<'m>(
        &self,
        now: Now,
        head: &Head,
        message: &Message<'m>,
        found: Option<&Option<UserKey>>,
    ) -> Result<Proved<'m>, Rejection<'m>> {
        let integrity = message.integrity();
        if integrity == Integrity::None {
            return Err(Rejection::Challenge);
        }
        let claim = self.claim(message)?;
        let slot = self.allocations.find(&head.from);
        let proof = self.prove(now, message, &claim, slot, found);
        let proof = proof.and_then(|proof| self.unless_over(now, head, &claim, slot, proof).map_err(Some));
        let Proof { key, integrity_key, expires, key_id, user_part } = match proof {
            Ok(proof) => proof,
            Err(None) => {
                // A look-up is kept for the client, so that a nonce of ours must come first.
                self.check_nonce(now, head.from, &claim)?;
                return Err(Rejection::LookUp(claim.username));
            }
            Err(Some(refusal)) => return Err(Rejection::Refused(refusal, Some(claim.username))),
        };
        self.check_nonce(now, head.from, &claim)?;
        let signature = Signature { key: integrity_key, sha256: claim.explicit };
        Ok(Proved { username: claim.username, user_part, key_id, key, signature, expires, slot })
    }

    /// The attributes that must be there, and whether the password algorithm was bid down.
    pub(super) fn claim<'m>(&self, message: &Message<'m>) -> Result<Claim<'m>, Rejection<'m>> {
        let incomplete = || Rejection::Refused(Refusal::Incomplete, None);
        let (named, hashed) = (message.find(attribute::USERNAME), message.find(attribute::USERHASH));
        if named.is_none() && hashed.is_none() {
            return Err(incomplete());
        }
        let realm = message.find(attribute::REALM).ok_or_else(incomplete)?;
        let nonce = message.find(attribute::NONCE).ok_or_else(incomplete)?;
        let (algorithm, explicit) = algorithm(message, nonce)
            .map_err(|AlgorithmMismatch| Rejection::Refused(Refusal::AlgorithmMismatch, None))?;
        if realm != self.options.realm.as_bytes() {
            return Err(Rejection::Refused(Refusal::WrongRealm, None));
        }
        let unknown = || Rejection::Refused(Refusal::UnknownUser, None);
        let username = self.username(named, hashed).ok_or_else(unknown)?;
        Ok(Claim { username, nonce, algorithm, explicit })
    }

    /// The name that USERNAME or USERHASH gives, if it can be one.
    pub(super) fn username<'m>(
        &self,
        named: Option<&'m [u8]>,
        hashed: Option<&[u8]>,
    ) -> Option<Cow<'m, str>> {
        let username = match (named, hashed) {
            (Some(name), _) => stun::text(name, USERNAME_BYTES_MAX).ok().map(Cow::Borrowed),
            (None, Some(hash)) => self.name_of(hash).map(Cow::Owned),
            (None, None) => None,
        };
        username.filter(|name| !name.is_empty())
    }

    fn name_of(&self, hash: &[u8]) -> Option<String> {
        self.directory.find_by_userhash(hash.try_into().ok()?).map(str::to_owned)
    }

    /// Finds the key that the message was signed with. An error of `None` asks for a look-up.
    pub(super) fn prove(
        &self,
        now: Now,
        message: &Message<'_>,
        claim: &Claim<'_>,
        slot: Option<u32>,
        found: Option<&Option<UserKey>>,
    ) -> Result<Proof, Option<Refusal>> {
        if let Some(proof) = self.prove_by_kept_key(message, claim, slot) {
            return Ok(proof);
        }
        let candidates = self.directory.candidates(&claim.username, now.unix);
        for candidate in candidates.iter() {
            if let Some(key) = self.long_term_key(claim, &candidate)
                && let Some(integrity_key) = proves(&key, message)
            {
                let (expires, key_id) = (candidate.expires, candidate.key_id.cloned());
                let user_part = match (expires, candidates.validity()) {
                    (Some(_), Validity::Valid(name)) => UserPart::of(&claim.username, name.user),
                    (Some(_) | None, _) => UserPart::WHOLE,
                };
                return Ok(Proof { key, integrity_key, expires, key_id, user_part });
            }
        }
        match (found, candidates.validity()) {
            (Some(Some(user)), _) => {
                let key = self.found_key(claim, user).ok_or(Some(Refusal::WrongPassword))?;
                let integrity_key = proves(&key, message).ok_or(Some(Refusal::WrongPassword))?;
                Ok(Proof { key, integrity_key, expires: None, key_id: None, user_part: UserPart::WHOLE })
            }
            (None, Validity::NotTimeLimited) if candidates.is_unknown() && self.options.external_users => {
                Err(None)
            }
            (_, Validity::Expired(_)) => Err(Some(Refusal::Expired)),
            _ if candidates.is_unknown() => Err(Some(Refusal::UnknownUser)),
            _ => Err(Some(Refusal::WrongPassword)),
        }
    }

    /// Whether a credential that was proved may still be used for this request.
    fn unless_over(
        &self,
        now: Now,
        head: &Head,
        claim: &Claim<'_>,
        slot: Option<u32>,
        proof: Proof,
    ) -> Result<Proof, Refusal> {
        let Some(expires) = proof.expires else { return Ok(proof) };
        let claims = proof.user_part.claims(&claim.username);
        let expiry = claims.expiry.unwrap_or(self.options.expiry);
        if expires < now.unix && expiry != Expiry::Allocate && head.request == Request::Refresh {
            return Err(Refusal::Expired);
        }
        let hit = self.revocations.hit(&claim.username, &claims, proof.key_id.as_ref(), expires, now.unix);
        let kept = slot.and_then(|slot| self.allocations.get(slot));
        let was_hit = kept.is_some_and(|kept| kept.is_revoked && *kept.username == *claim.username);
        if hit.is_some() || was_hit { Err(Refusal::Revoked) } else { Ok(proof) }
    }

    /// Tries the key of the client's allocation, if it is this user's and made with this algorithm.
    fn prove_by_kept_key(
        &self,
        message: &Message<'_>,
        claim: &Claim<'_>,
        slot: Option<u32>,
    ) -> Option<Proof> {
        let allocation = self.allocations.get(slot?)?;
        let same_algorithm = match allocation.key {
            LongTermKey::Md5(_) => claim.algorithm == Algorithm::Md5,
            LongTermKey::Sha256(_) => claim.algorithm == Algorithm::Sha256,
        };
        if !same_algorithm || *allocation.username != *claim.username {
            return None;
        }
        Some(Proof {
            key: allocation.key,
            integrity_key: proves(&allocation.key, message)?,
            expires: allocation.credential_expires(),
            key_id: self.keys.get(allocation.key_ref).cloned(),
            user_part: allocation.user_part,
        })
    }

    fn long_term_key(&self, claim: &Claim<'_>, candidate: &Candidate<'_, '_>) -> Option<LongTermKey> {
        let (username, realm) = (&*claim.username, &*self.options.realm);
        match (claim.algorithm, &candidate.key) {
            (Algorithm::Md5, CandidateKey::Md5(key)) => Some(LongTermKey::Md5(**key)),
            (Algorithm::Sha256, CandidateKey::Md5(_)) => None,
            (algorithm, key) => Some(algorithm.key(username, realm, key.password()?)),
        }
    }

    fn found_key(&self, claim: &Claim<'_>, found: &UserKey) -> Option<LongTermKey> {
        match (claim.algorithm, found) {
            (algorithm, UserKey::Password(password)) => {
                Some(algorithm.key(&claim.username, &self.options.realm, password))
            }
            (Algorithm::Md5, UserKey::Md5(key)) => Some(LongTermKey::Md5(*key)),
            (Algorithm::Sha256, UserKey::Md5(_)) => None,
        }
    }

    fn check_nonce<'m>(&self, now: Now, from: FiveTuple, claim: &Claim<'m>) -> Result<(), Rejection<'m>> {
        let lifetime = self.options.lifetimes.nonce;
        self.nonce_key.check(claim.nonce, from.client, now.unix, lifetime).map_err(|error| {
            let refusal = match error {
                NonceError::Stale => Refusal::StaleNonce,
                NonceError::Malformed | NonceError::Forged => Refusal::ForeignNonce,
            };
            Rejection::Refused(refusal, None)
        })
    }

    /// Whether something tells that the client is where it says it is: a nonce that was sent there, or a connection.
    fn is_reachable(&self, now: Now, head: &Head, message: &Message<'_>) -> bool {
        let lifetime = self.options.lifetimes.nonce;
        head.from.is_stream()
            || message.find(attribute::NONCE).is_some_and(|nonce| {
                match self.nonce_key.check(nonce, head.from.client, now.unix, lifetime) {
                    Ok(()) | Err(NonceError::Stale) => true,
                    Err(NonceError::Malformed | NonceError::Forged) => false,
                }
            })
    }

    /// Answers a request whose credentials are refused, unless its address has been answered often enough.
    fn refuse(
        &mut self,
        now: Now,
        head: &Head,
        refusal: Refusal,
        username: Option<Cow<'_, str>>,
        is_reachable: bool,
    ) -> Result<usize, Refused> {
        self.counters.refusals.add(refusal, 1);
        let code = match refusal {
            Refusal::Incomplete | Refusal::AlgorithmMismatch => Code::BadRequest,
            Refusal::StaleNonce | Refusal::ForeignNonce => Code::StaleNonce,
            Refusal::WrongRealm
            | Refusal::UnknownUser
            | Refusal::Expired
            | Refusal::Revoked
            | Refusal::WrongPassword => Code::Unauthenticated,
            Refusal::OtherUser => Code::WrongCredentials,
        };
        let answer = self.challenge(now, head, code);
        // Stale nonces are part of ordinary use, and what is not answered is not worth telling either.
        if answer.is_ok() && code != Code::StaleNonce {
            let username = username.map(|name| name.into_owned().into_boxed_str());
            self.outputs.push_back(Output::Event(Event::AuthenticationFailed {
                five_tuple: head.from,
                username,
                reason: refusal,
                is_reachable,
            }));
        }
        answer
    }

    /// Answers a request that is not authenticated: 400, or 401 and 438 with all that is needed to try again.
    fn challenge(&mut self, now: Now, head: &Head, code: Code) -> Result<usize, Refused> {
        if !self.may_answer_stranger(now, head.from) {
            return Err(Refused::Drop(DropReason::UnauthenticatedRate));
        }
        if code == Code::BadRequest {
            return self.write_error(head, None, code, |_| Ok(()));
        }
        let features = self.features();
        let nonce = self.nonce_key.issue(now.unix, head.from.client, features);
        let options = std::sync::Arc::clone(&self.options);
        self.write_error(head, None, code, |writer| {
            writer.attribute(attribute::NONCE, nonce.as_ref())?;
            writer.attribute(attribute::REALM, options.realm.as_bytes())?;
            if features.password_algorithms {
                writer.password_algorithms(attribute::PASSWORD_ALGORITHMS, &OFFERED)?;
            }
            Ok(())
        })
    }

    /// What the nonces tell of this server (RFC 8489 §18.1).
    ///
    /// SHA-256 is offered if every user can use it: a client must take the first algorithm it knows. Hashed usernames
    /// are asked for if every name can be found by its hash, which the names of time-limited credentials can't.
    fn features(&self) -> Features {
        Features {
            password_algorithms: !self.options.external_users && self.directory.supports_sha256(),
            username_anonymity: !self.options.external_users && self.directory.secrets().is_empty(),
        }
    }

    /// Whether a request that proves nothing may be answered. On a stream the address is not forged.
    pub(super) fn may_answer_stranger(&mut self, now: Now, from: FiveTuple) -> bool {
        let per_second = self.options.limits.unauthenticated_answers_per_second;
        from.is_stream() || self.answer_rate.admit(now.monotonic, from.client.ip(), per_second)
    }
}

impl Algorithm {
    fn key(self, username: &str, realm: &str, password: &str) -> LongTermKey {
        match self {
            Self::Md5 => LongTermKey::Md5(long_term_key_md5(username, realm, password)),
            Self::Sha256 => LongTermKey::Sha256(long_term_key_sha256(username, realm, password)),
        }
    }
}

struct AlgorithmMismatch;

/// The password algorithm of a request and whether it was named, checked against what its nonce says was offered.
fn algorithm(message: &Message<'_>, nonce: &[u8]) -> Result<(Algorithm, bool), AlgorithmMismatch> {
    if !Features::of(nonce).is_some_and(|features| features.password_algorithms) {
        return Ok((Algorithm::Md5, false));
    }
    let offered = message.find(attribute::PASSWORD_ALGORITHMS);
    let chosen = message.find(attribute::PASSWORD_ALGORITHM);
    let (offered, chosen) = match (offered, chosen) {
        (None, None) => return Ok((Algorithm::Md5, false)),
        (Some(offered), Some(chosen)) => (offered, chosen),
        (Some(_), None) | (None, Some(_)) => return Err(AlgorithmMismatch),
    };
    if offered != OFFERED_VALUE {
        return Err(AlgorithmMismatch);
    }
    match stun::password_algorithms(chosen).next() {
        Some((MD5, [])) => Ok((Algorithm::Md5, true)),
        Some((SHA256, [])) => Ok((Algorithm::Sha256, true)),
        Some(_) | None => Err(AlgorithmMismatch),
    }
}

/// The key, ready for use, if the message is signed with it. SHA-256 counts where both are there.
fn proves(key: &LongTermKey, message: &Message<'_>) -> Option<IntegrityKey> {
    let key = IntegrityKey::new(key.bytes());
    let checked = match message.integrity() {
        Integrity::None => return None,
        Integrity::Sha1 => message.check_sha1(&key),
        Integrity::Sha256 | Integrity::Both => message.check_sha256(&key),
    };
    checked.is_ok().then_some(key)
}
