//! Requests that wait for somebody else to find a user's key.

use std::{collections::VecDeque, time::Duration};

use super::{
    DropReason, FiveTuple, Instant, LookUpId, Now, Output, Server, UserKey,
    response::{Head, Refused},
};
use crate::stun::Message;

/// The most requests that wait at a time.
const PENDING_MAX: usize = 256;
/// The most bytes of requests that wait at a time.
const PENDING_BYTES_MAX: usize = 262_144;
/// A client has given up by then (RFC 8489 §6.2.1: 39.5 s over UDP, but the fourth retransmission comes after 7.5 s).
const PATIENCE: Duration = Duration::from_secs(8);

struct Waiting {
    id: LookUpId,
    from: FiveTuple,
    request: Box<[u8]>,
    until: Instant,
}

/// Requests that wait, oldest first.
#[derive(Default)]
pub(super) struct LookUps {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    issued: u64,
}

impl LookUps {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.front().map(|waiting| waiting.until)
    }

    pub(super) fn forget_client(&mut self, client: &FiveTuple) {
        self.waiting.retain(|waiting| waiting.from != *client);
        self.recount();
    }

    pub(super) fn is_bounded(&self) -> bool {
        let bytes: usize = self.waiting.iter().map(|waiting| waiting.request.len()).sum();
        bytes == self.bytes && bytes <= PENDING_BYTES_MAX && self.waiting.len() <= PENDING_MAX
    }

    fn recount(&mut self) {
        self.bytes = self.waiting.iter().map(|waiting| waiting.request.len()).sum();
    }
}

impl Server {
    /// Asks for a user's key, and keeps the request until it is there.
    pub(super) fn look_up(
        &mut self,
        now: Now,
        head: &Head,
        message: &Message<'_>,
        username: &str,
    ) -> Refused {
        let look_ups = &mut self.look_ups;
        if let Some(waiting) = look_ups.waiting.iter().find(|waiting| waiting.from == head.from) {
            let same = *waiting.request == *message.bytes();
            return Refused::Drop(if same {
                DropReason::RetransmissionPending
            } else {
                DropReason::TooManyPending
            });
        }
        let bytes = message.bytes().len();
        if look_ups.waiting.len() >= PENDING_MAX || look_ups.bytes + bytes > PENDING_BYTES_MAX {
            return Refused::Drop(DropReason::TooManyPending);
        }
        let id = LookUpId(look_ups.issued);
        look_ups.issued += 1;
        look_ups.bytes += bytes;
        let until = now.monotonic.after(PATIENCE);
        look_ups.waiting.push_back(Waiting { id, from: head.from, request: message.bytes().into(), until });
        self.outputs.push_back(Output::LookUp { id, username: username.into() });
        Refused::Pending
    }

    /// The result of [`Output::LookUp`]: the user's key, or `None` if there is no such user. A result that comes too
    /// late is ignored.
    pub fn key_found(&mut self, now: Now, id: LookUpId, key: Option<UserKey>) {
        let Some(place) = self.look_ups.waiting.iter().position(|waiting| waiting.id == id) else { return };
        let Some(waiting) = self.look_ups.waiting.remove(place) else { return };
        self.look_ups.recount();
        let Ok(message) = Message::parse(&waiting.request) else { return };
        let Some(head) = Head::of(&message, waiting.from) else { return };
        match self.handle_request(now, &head, &message, Some(&key)) {
            Ok(bytes) => {
                let message = self.reply.get(..bytes).unwrap_or_default().into();
                self.outputs.push_back(Output::Send { to: waiting.from, message });
            }
            Err(Refused::Drop(reason)) => self.counters.drops.add(reason, 1),
            Err(Refused::Pending | Refused::Code(_) | Refused::Unknown(_)) => {}
        }
    }

    /// Gives up on look-ups that nobody answered.
    pub(super) fn expire_look_ups(&mut self, now: Now) {
        while self.look_ups.waiting.front().is_some_and(|waiting| waiting.until <= now.monotonic) {
            self.look_ups.waiting.pop_front();
            self.counters.drops.add(DropReason::LookUpUnanswered, 1);
        }
        self.look_ups.recount();
    }
}
