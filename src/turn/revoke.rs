//! Ending what is no longer wanted: revoked credentials, and allocations by their id.

use std::sync::Arc;

use super::{AllocationId, CloseReason, Now, Server, allocation::Allocation};
use crate::credentials::{KeyId, Revocations};

/// The most allocations that are judged in one call, so that packets do not wait long.
const JUDGED_MAX: u32 = 2048;

/// What [`Server::set_revocations`] has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "more allocations may be left to be judged"]
pub struct Cut {
    /// How many live allocations this call ended.
    pub ended: usize,
    /// Whether all have been judged; else [`Server::go_on_revoking`] judges more.
    pub is_done: bool,
}

impl Server {
    /// Takes over all revocations there are. From now on what they hit neither allocates nor refreshes, and live
    /// allocations that one hits with [`cut`](crate::credentials::Revocation::cut) end: some of them in this call, the
    /// others in calls of [`Server::go_on_revoking`], which the driver makes, with packets in between, until all
    /// allocations have been judged.
    ///
    /// Those set before are let go: whoever holds them longest frees them, which should not be this thread.
    pub fn set_revocations(&mut self, now: Now, revocations: Arc<Revocations>) -> Cut {
        self.revoking = (!revocations.is_empty()).then_some(0);
        self.revocations = revocations;
        self.go_on_revoking(now)
    }

    /// Judges some more allocations by the revocations that were set last.
    pub fn go_on_revoking(&mut self, now: Now) -> Cut {
        let Some(first) = self.revoking else { return Cut { ended: 0, is_done: true } };
        let slots = self.allocations.slots();
        let end = slots.min(first.saturating_add(JUDGED_MAX));
        let mut ended = 0;
        for slot in first..end {
            ended += usize::from(self.judge_revoked(now, slot));
        }
        let is_done = end == slots;
        self.revoking = (!is_done).then_some(end);
        Cut { ended, is_done }
    }

    /// Ends an allocation by its id; false if there is none, or no longer.
    pub fn close_allocation(&mut self, now: Now, id: AllocationId) -> bool {
        let slot = id.slot();
        let is_there = self.allocations.get(slot).is_some_and(|found| found.is_live() && found.id == id);
        if is_there {
            self.close(now, slot, CloseReason::Closed);
        }
        is_there
    }

    /// Ends the allocation in this slot if its credential is revoked; true if it was live.
    fn judge_revoked(&mut self, now: Now, slot: u32) -> bool {
        let Some(allocation) = self.allocations.get_mut(slot) else { return false };
        let is_live = allocation.is_live();
        let key_id = self.keys.get(allocation.key_ref);
        let Some(cuts) = cuts(allocation, key_id, &self.revocations, now) else { return false };
        allocation.is_revoked = true;
        // One that is being made has not been told to anybody: it goes as if it had never been.
        let is_over = cuts || !is_live;
        if is_over {
            self.close(now, slot, CloseReason::Revoked);
        }
        is_over && is_live
    }
}

/// Whether a revocation hits an allocation, and if so, whether at once.
fn cuts(
    allocation: &Allocation,
    key_id: Option<&KeyId>,
    revocations: &Revocations,
    now: Now,
) -> Option<bool> {
    let expires = allocation.credential_expires()?;
    let username = &*allocation.username;
    let claims = allocation.user_part.claims(username);
    let hit = revocations.hit(username, &claims, key_id, expires, now.unix);
    hit.map(|revocation| revocation.cut)
}
