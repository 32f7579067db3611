//! Ports that wait for their RESERVATION-TOKEN (RFC 8656 §7.2).

use std::{
    collections::HashMap,
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::RelayAddress;

/// A port set aside for a second allocation of the same user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reservation {
    pub(super) address: RelayAddress,
    pub(super) port: u16,
    pub(super) username: Box<str>,
}

/// The reserved ports of the whole process: the second Allocate may come in at another shard than the first.
///
/// A lock, but one that is taken only for EVEN-PORT with the R bit and for RESERVATION-TOKEN. The port itself stays
/// taken in [`Ports`](super::Ports) until whoever removes the entry gives it back.
#[derive(Default)]
pub struct Reservations {
    by_token: Mutex<HashMap<[u8; 8], Reservation>>,
}

impl Reservations {
    /// Nothing reserved.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// How many ports are reserved.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Sets a port aside, unless the token is in use.
    pub(super) fn insert(&self, token: [u8; 8], reservation: Reservation) -> bool {
        let mut by_token = self.lock();
        let free = !by_token.contains_key(&token);
        if free {
            by_token.insert(token, reservation);
        }
        free
    }

    /// Takes the port that was set aside under this token for this user; it is the caller's from then on.
    pub(super) fn redeem(&self, token: [u8; 8], username: &str) -> Option<Reservation> {
        let mut by_token = self.lock();
        if *by_token.get(&token)?.username != *username {
            return None;
        }
        by_token.remove(&token)
    }

    /// Takes the port back, if nobody has come for it.
    pub(super) fn expire(&self, token: [u8; 8]) -> Option<Reservation> {
        self.lock().remove(&token)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 8], Reservation>> {
        // Each change is one call on the map: a panic in another shard leaves it whole.
        self.by_token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Reservations {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Reservations").field("count", &self.count()).finish_non_exhaustive()
    }
}
