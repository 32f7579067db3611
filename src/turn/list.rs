//! What there is, for people who ask.

use std::{net::SocketAddr, ops::Bound, sync::Arc};

use super::{AllocationId, FiveTuple, Identity, Instant, Now, Server, Traffic, allocation::Allocation};
use crate::credentials::KeyId;

/// The most allocations of one page.
pub const LIST_MAX: usize = 1000;
/// The most allocations that are looked at for one page, so that packets do not wait long.
const LOOKED_AT_MAX: usize = 8192;

/// Which allocations are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Only this user's.
    pub user: Option<Box<str>>,
    /// Only those with this label.
    pub label: Option<Box<str>>,
    /// Only those after this one; `None` begins with the oldest.
    pub after: Option<AllocationId>,
    /// At most so many; never more than [`LIST_MAX`].
    pub limit: usize,
}

/// Some allocations.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    /// In the order in which they were made. A page may be empty although more comes.
    pub allocations: Vec<Listed>,
    /// Where to go on; `None`: there are no more.
    pub next: Option<AllocationId>,
}

/// A live allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Names it.
    pub id: AllocationId,
    /// The username it was made with.
    pub username: Box<str>,
    /// Whose it is.
    pub identity: Identity,
    /// Its client.
    pub five_tuple: FiveTuple,
    /// What the client was told.
    pub relayed: Vec<SocketAddr>,
    /// When it was made.
    pub created: Instant,
    /// The same in seconds since the Unix epoch.
    pub created_unix: u64,
    /// In how many seconds it ends unless it is refreshed.
    pub expires_in: u64,
    /// From the client to its peers so far.
    pub to_peers: Traffic,
    /// From peers to the client so far.
    pub to_client: Traffic,
}

impl Server {
    /// Live allocations in the order in which they were made, page by page.
    #[must_use]
    pub fn list(&self, now: Now, query: &ListQuery) -> ListPage {
        let mut page = ListPage::default();
        let limit = query.limit.min(LIST_MAX);
        let start = query.after.map_or(Bound::Unbounded, Bound::Excluded);
        for (looked_at, (&id, &slot)) in self.ids.range((start, Bound::Unbounded)).enumerate() {
            if page.allocations.len() >= limit || looked_at >= LOOKED_AT_MAX {
                break;
            }
            page.next = Some(id);
            let Some(allocation) = self.allocations.get(slot) else { continue };
            if is_wanted(allocation, query) {
                page.allocations.push(self.listed(now, allocation));
            }
        }
        // Nothing is left after the youngest.
        let youngest = self.ids.last_key_value().map(|(&id, _)| id);
        page.next =
            page.next.or(query.after).filter(|&next| youngest.is_some_and(|youngest| next < youngest));
        page
    }

    /// The secrets that credentials of live allocations were made with, and how many allocations each has.
    #[must_use]
    pub fn key_ids_in_use(&self) -> Vec<(KeyId, usize)> {
        self.keys_in_use.clone()
    }

    fn listed(&self, now: Now, allocation: &Allocation) -> Listed {
        let relays = allocation.legs.iter().flatten().filter_map(|leg| self.relays.get(leg.id()));
        Listed {
            id: allocation.id,
            username: allocation.username.clone(),
            identity: allocation.identity(),
            five_tuple: allocation.five_tuple,
            relayed: relays.map(|relay| relay.relayed()).collect(),
            created: allocation.created,
            created_unix: allocation.created_unix,
            expires_in: allocation.last_expiry().since(now.monotonic).as_secs(),
            to_peers: allocation.to_peers,
            to_client: allocation.to_client,
        }
    }

    /// Counts one more live allocation under a secret.
    pub(super) fn count_key(&mut self, key_id: Option<KeyId>) {
        let Some(key_id) = key_id else { return };
        match self.keys_in_use.iter_mut().find(|(known, _)| *known == key_id) {
            Some((_, count)) => *count += 1,
            None => self.keys_in_use.push((key_id, 1)),
        }
    }

    /// Counts one less. What has none left is forgotten, so that there are never more than live allocations.
    pub(super) fn uncount_key(&mut self, key_id: Option<&KeyId>) {
        let place = key_id.and_then(|id| self.keys_in_use.iter().position(|(known, _)| known == id));
        let Some((place, (_, count))) = place.and_then(|at| Some((at, self.keys_in_use.get_mut(at)?))) else {
            debug_assert!(key_id.is_none(), "{key_id:?} was never counted");
            return;
        };
        *count -= 1;
        if *count == 0 {
            self.keys_in_use.swap_remove(place);
        }
    }
}

impl Allocation {
    /// Whose it is, to be told to others.
    pub(super) fn identity(&self) -> Identity {
        let claims = self.user_part.claims(&self.username);
        Identity {
            user: Arc::clone(self.grant.shared_user()),
            label: claims.label.map(Box::from),
            key_id: self.key_id.clone(),
        }
    }
}

fn is_wanted(allocation: &Allocation, query: &ListQuery) -> bool {
    let has_user = query.user.as_deref().is_none_or(|user| allocation.grant.user() == user);
    has_user
        && (query.label.is_none()
            || allocation.user_part.claims(&allocation.username).label == query.label.as_deref())
}
