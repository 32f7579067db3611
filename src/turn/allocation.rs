//! What the server keeps for a client that has proved who it is.

use std::{
    collections::HashMap,
    num::{NonZeroU32, NonZeroU64},
};

use super::{
    AllocationId, BindError, Code, DropReason, Expiry, FiveTuple, Instant, RelayId, Traffic,
    bandwidth::TokenBucket,
    drops::{self, Drops, Way},
    five_tuple::ClientKey,
    identity::{KeyRef, UserPart},
    peers::{Channels, Family, Permissions},
    quota::Grant,
    response::Signature,
};
use crate::stun::TransactionId;

/// A long-term key (RFC 8489 §18.5.1), kept raw: an allocation's requests are minutes apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum LongTermKey {
    Md5([u8; 16]),
    Sha256([u8; 32]),
}

impl LongTermKey {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Md5(key) => key,
            Self::Sha256(key) => key,
        }
    }
}

impl std::fmt::Debug for LongTermKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Md5(_) => "Md5(..)",
            Self::Sha256(_) => "Sha256(..)",
        })
    }
}

/// A relay of an allocation.
#[derive(Clone, Copy, Debug)]
pub(super) struct Leg {
    /// One more than the id: an allocation has room for two, and mostly one.
    id: NonZeroU32,
    /// When the client has to have refreshed it. Meaningless while the allocation is being made.
    pub(super) expires: Instant,
}

impl Leg {
    pub(super) fn new(id: RelayId, expires: Instant) -> Self {
        Self { id: NonZeroU32::MIN.saturating_add(id.0), expires }
    }

    #[inline]
    pub(super) fn id(&self) -> RelayId {
        RelayId(self.id.get() - 1)
    }
}

/// The bandwidth of an allocation, where it is limited.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buckets {
    pub(super) to_peers: TokenBucket,
    pub(super) to_client: TokenBucket,
}

impl Buckets {
    pub(super) fn new(rate: Option<u64>, now: Instant) -> Option<Box<Self>> {
        let bucket = TokenBucket::new(Some(rate?), now);
        Some(Box::new(Self { to_peers: bucket, to_client: bucket }))
    }
}

/// An allocation (RFC 8656 §2), live or being made.
///
/// What a packet needs comes first, so that it lies in as few cache lines as can be.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Allocation {
    /// By [`Family`].
    pub(super) legs: [Option<Leg>; 2],
    pub(super) permissions: Permissions,
    pub(super) channels: Channels,
    /// `None` is unlimited.
    pub(super) buckets: Option<Box<Buckets>>,
    /// Work that is left until it is live.
    pub(super) making: Option<Box<Making>>,
    pub(super) to_peers: Traffic,
    pub(super) to_client: Traffic,
    pub(super) five_tuple: FiveTuple,
    /// How its Allocate was answered, to answer a retransmission alike.
    pub(super) answer: Answer,
    /// Zero while it is being made.
    pub(super) id: AllocationId,
    pub(super) username: Box<str>,
    /// What it counts against the quotas; given back when this is dropped.
    pub(super) grant: Grant,
    pub(super) created: Instant,
    /// The last second, since the Unix epoch, at which the credential is valid.
    pub(super) credential_expires: Option<NonZeroU64>,
    /// Until when the port of `answer.token` waits; [`Instant::NEVER`] if none does.
    pub(super) reserved_until: Instant,
    /// What of it was not relayed; `None` is nothing.
    pub(super) drops: Option<Box<Drops>>,
    /// When it was asked for, in seconds since the Unix epoch.
    pub(super) created_unix: u32,
    pub(super) key: LongTermKey,
    /// The secret its credential was made with.
    pub(super) key_ref: KeyRef,
    pub(super) user_part: UserPart,
    /// A revocation that does not cut has hit it: it is not refreshed any more, even when that one is forgotten.
    pub(super) is_revoked: bool,
}

/// With ten thousand of them, what each takes decides what a packet costs: it is found in the caches or it is not.
/// 360 bytes are no more to an allocator that rounds 8 bytes of its own up to 16.
const _: () = assert!(size_of::<Allocation>() <= 360);

/// What an Allocate success response says beside the addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answer {
    pub(super) transaction_id: TransactionId,
    /// LIFETIME, in seconds.
    pub(super) lifetime: u32,
    /// RESERVATION-TOKEN.
    pub(super) token: Option<[u8; 8]>,
    /// ADDRESS-ERROR-CODE.
    pub(super) address_error: Option<(Family, Code)>,
}

/// An allocation whose relay sockets are still to be bound.
#[derive(Debug)]
pub(super) struct Making {
    pub(super) fingerprint: bool,
    /// Of the answer.
    pub(super) signature: Signature,
    pub(super) ports: PortWish,
    /// Binds not answered yet.
    pub(super) outstanding: u8,
    /// Ports that may still be tried.
    pub(super) tries: u8,
}

/// Which ports will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PortWish {
    Any,
    /// EVEN-PORT.
    Even,
    /// EVEN-PORT with the R bit: the next higher port is reserved as well.
    Pair,
    /// The one that was reserved, and no other.
    Reserved,
}

impl Allocation {
    pub(super) fn is_live(&self) -> bool {
        self.making.is_none()
    }

    #[inline]
    pub(super) fn leg(&self, family: Family) -> Option<&Leg> {
        self.legs[family as usize].as_ref()
    }

    /// Whether a relay socket is one of its own whose time is not over.
    #[inline]
    pub(super) fn is_served(&self, id: RelayId, now: Instant) -> bool {
        self.legs.iter().flatten().any(|leg| leg.id() == id && now < leg.expires)
    }

    /// Counts datagrams of it that are not relayed.
    #[cold]
    pub(super) fn drop(&mut self, way: Way, reason: DropReason, datagrams: usize) -> DropReason {
        drops::count(&mut self.drops, way, reason, datagrams)
    }

    /// The leg that uses a relay socket.
    pub(super) fn family_of(&self, id: RelayId) -> Option<Family> {
        Family::BOTH.into_iter().find(|&family| self.leg(family).is_some_and(|leg| leg.id() == id))
    }

    /// The last second, since the Unix epoch, at which the credential is valid.
    pub(super) fn credential_expires(&self) -> Option<u64> {
        self.credential_expires.map(NonZeroU64::get)
    }

    /// What the end of its credential means, where the server's general policy is `general`.
    pub(super) fn expiry(&self, general: Expiry) -> Expiry {
        self.user_part.claims(&self.username).expiry.unwrap_or(general)
    }

    /// When the last of its relays runs out.
    pub(super) fn last_expiry(&self) -> Instant {
        self.legs.iter().flatten().map(|leg| leg.expires).max().unwrap_or_default()
    }

    /// When the first of its relays runs out.
    pub(super) fn first_expiry(&self) -> Instant {
        self.legs.iter().flatten().map(|leg| leg.expires).min().unwrap_or_default()
    }
}

/// Whether a bind that failed may succeed at another port.
pub(super) const fn is_worth_another_port(error: BindError) -> bool {
    match error {
        BindError::PortInUse => true,
        BindError::OutOfResources | BindError::Refused => false,
    }
}

/// All allocations of a server, found by five-tuple or slot.
#[derive(Debug)]
pub(super) struct Allocations {
    slots: Vec<Option<Box<Allocation>>>,
    free: Vec<u32>,
    by_client: HashMap<ClientKey, u32, ahash::RandomState>,
}

impl Allocations {
    /// `seeds` key the hash: which clients share a bucket is nobody's to choose.
    pub(super) fn new(seeds: [u64; 4]) -> Self {
        let [a, b, c, d] = seeds;
        let by_client = HashMap::with_hasher(ahash::RandomState::with_seeds(a, b, c, d));
        Self { slots: Vec::new(), free: Vec::new(), by_client }
    }

    /// The slot of a client's allocation.
    #[inline]
    pub(super) fn find(&self, five_tuple: &FiveTuple) -> Option<u32> {
        self.by_client.get(&ClientKey::from(five_tuple)).copied()
    }

    #[inline]
    pub(super) fn get(&self, slot: u32) -> Option<&Allocation> {
        self.slots.get(slot as usize)?.as_deref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Allocation> {
        self.slots.get_mut(slot as usize)?.as_deref_mut()
    }

    /// Adds an allocation, whose five-tuple has none yet.
    pub(super) fn insert(&mut self, allocation: Allocation) -> u32 {
        let key = ClientKey::from(&allocation.five_tuple);
        let slot = self.free.pop().unwrap_or(self.slots.len() as u32);
        match self.slots.get_mut(slot as usize) {
            Some(place) => *place = Some(Box::new(allocation)),
            None => self.slots.push(Some(Box::new(allocation))),
        }
        let before = self.by_client.insert(key, slot);
        debug_assert_eq!(before, None, "a five-tuple has one allocation");
        slot
    }

    pub(super) fn remove(&mut self, slot: u32) -> Option<Box<Allocation>> {
        let allocation = self.slots.get_mut(slot as usize)?.take()?;
        self.by_client.remove(&ClientKey::from(&allocation.five_tuple));
        self.free.push(slot);
        Some(allocation)
    }

    pub(super) fn len(&self) -> usize {
        self.by_client.len()
    }

    /// Slots run from zero to this.
    pub(super) fn slots(&self) -> u32 {
        self.slots.len() as u32
    }

    /// Those in this slot and after it.
    pub(super) fn iter_from(&self, slot: u32) -> impl Iterator<Item = &Allocation> {
        self.slots.get(slot as usize..).unwrap_or_default().iter().filter_map(Option::as_deref)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Allocation)> {
        (0_u32..).zip(&self.slots).filter_map(|(slot, allocation)| Some((slot, allocation.as_deref()?)))
    }

    /// Whether slots, free list and index tell the same story.
    pub(super) fn is_consistent(&self) -> bool {
        let used = self.iter().count();
        used == self.by_client.len()
            && used + self.free.len() == self.slots.len()
            && self.iter().all(|(slot, allocation)| self.find(&allocation.five_tuple) == Some(slot))
    }
}
