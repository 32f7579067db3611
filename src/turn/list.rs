//! What there is, for people who ask.

use std::{net::SocketAddr, sync::Arc};

use super::{
    AllocationId, Cause, Drops, FiveTuple, Heard, Identity, Instant, Now, Server, Traffic,
    allocation::Allocation, history::troubles,
};
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
    /// Only those after this one; `None` begins with the first.
    pub after: Option<AllocationId>,
    /// At most so many; never more than [`LIST_MAX`].
    pub limit: usize,
}

/// Some allocations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ListPage {
    /// In the order of their ids, which is not that of their making. A page may be empty although more comes.
    pub allocations: Vec<Listed>,
    /// Where to go on; `None`: there are no more.
    pub next: Option<AllocationId>,
}

/// A live allocation.
#[derive(Clone, Debug, PartialEq)]
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
    /// What of it was not relayed; `None` is nothing.
    pub drops: Option<Box<Drops>>,
    /// How good its streams are, by [`Direction`](super::Direction); `None` if it is not measured.
    pub quality: Option<[Heard; 2]>,
    /// What is wrong with it, by what it has relayed and dropped.
    pub troubles: Vec<Cause>,
}

impl Server {
    /// Live allocations in the order of their ids, page by page.
    #[must_use]
    pub fn list(&self, now: Now, query: &ListQuery) -> ListPage {
        let mut page = ListPage::default();
        let limit = query.limit.min(LIST_MAX);
        // Ids are in the order of slots: it begins where the last page ended, with whoever is there now.
        let first = query.after.map_or(0, AllocationId::slot);
        let later = |id: AllocationId| query.after.is_none_or(|after| id > after);
        let live = self.allocations.iter_from(first).filter(|one| one.is_live() && later(one.id));
        for (looked_at, allocation) in live.enumerate() {
            if page.allocations.len() >= limit || looked_at >= LOOKED_AT_MAX {
                return page;
            }
            page.next = Some(allocation.id);
            if is_wanted(allocation, query) {
                page.allocations.push(self.listed(now, allocation));
            }
        }
        page.next = None;
        page
    }

    /// The secrets that credentials of allocations were made with, and how many allocations each has.
    #[must_use]
    pub fn key_ids_in_use(&self) -> Vec<(KeyId, usize)> {
        self.keys.in_use().cloned().collect()
    }

    /// Whose an allocation is, to be told to others.
    pub(super) fn identity(&self, allocation: &Allocation) -> Identity {
        let claims = allocation.user_part.claims(&allocation.username);
        Identity {
            user: Arc::clone(allocation.grant.shared_user()),
            label: claims.label.map(Box::from),
            key_id: self.keys.get(allocation.key_ref).cloned(),
        }
    }

    fn listed(&self, now: Now, allocation: &Allocation) -> Listed {
        let relays = allocation.legs.iter().flatten().filter_map(|leg| self.relays.get(leg.id()));
        Listed {
            id: allocation.id,
            username: allocation.username.clone(),
            identity: self.identity(allocation),
            five_tuple: allocation.five_tuple,
            relayed: relays.map(|relay| relay.relayed()).collect(),
            created: allocation.created,
            created_unix: allocation.created_unix.into(),
            expires_in: allocation.last_expiry().since(now.monotonic).as_secs(),
            to_peers: allocation.to_peers,
            to_client: allocation.to_client,
            drops: allocation.drops.clone(),
            quality: self.quality.as_ref().and_then(|it| it.of(allocation.id.slot(), allocation.id)),
            troubles: troubles(allocation),
        }
    }
}

fn is_wanted(allocation: &Allocation, query: &ListQuery) -> bool {
    let has_user = query.user.as_deref().is_none_or(|user| allocation.grant.user() == user);
    has_user
        && (query.label.is_none()
            || allocation.user_part.claims(&allocation.username).label == query.label.as_deref())
}
