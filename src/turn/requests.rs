//! What every request goes through (RFC 8489 §6.3.1, RFC 8656 §5).

use super::{
    Cause, Code, DropReason, Event, Now, Output, Refusal, Request, Server, UserKey,
    authentication::Proved,
    response::{self, Closing, Head, Refused, Signature},
};
use crate::stun::{BufferTooSmall, Message, Writer, attribute};

impl Server {
    /// Answers a request. `found` is what a look-up brought, when the request had to wait for one.
    ///
    /// Returns the length of the answer in `reply`; [`Refused::Pending`] and [`Refused::Drop`] are the only errors.
    pub(super) fn handle_request(
        &mut self,
        now: Now,
        head: &Head,
        message: &Message<'_>,
        found: Option<&Option<UserKey>>,
    ) -> Result<usize, Refused> {
        if head.request == Request::Binding {
            return self.handle_binding(now, head, message);
        }
        if let Some(slot) = self.allocations.find(&head.from) {
            self.settle(now, slot);
        }
        let proved = match self.authenticate(now, head, message, found) {
            Ok(proved) => proved,
            Err(answered) => return answered,
        };
        self.cause = None;
        let answer = self.handle_authenticated(now, head, message, &proved);
        match &answer {
            Ok(_) | Err(Refused::Pending | Refused::Drop(_)) => {}
            Err(Refused::Code(code)) => self.note_refused(now, head, &proved, *code),
            Err(Refused::Unknown(_)) => self.note_refused(now, head, &proved, Code::UnknownAttribute),
        }
        self.answer_refusal(head, answer, Some(&proved.signature))
    }

    fn handle_authenticated(
        &mut self,
        now: Now,
        head: &Head,
        message: &Message<'_>,
        proved: &Proved<'_>,
    ) -> Result<usize, Refused> {
        if let Some(allocation) = proved.slot.and_then(|slot| self.allocations.get_mut(slot)) {
            if *allocation.username != *proved.username {
                self.counters.refusals.add(Refusal::OtherUser, 1);
                self.cause = Some(Cause::OtherUser);
                self.outputs.push_back(Output::Event(Event::AuthenticationFailed {
                    five_tuple: head.from,
                    username: Some((&*proved.username).into()),
                    reason: Refusal::OtherUser,
                    is_reachable: true,
                }));
                return Err(Code::WrongCredentials.into());
            }
            // A new password, or another algorithm: the next request is checked against it first.
            allocation.key = proved.key;
            if self.keys.get(allocation.key_ref) != proved.key_id.as_ref() {
                let now = self.keys.count(proved.key_id.as_ref());
                self.keys.uncount(std::mem::replace(&mut allocation.key_ref, now));
            }
        }
        let unknown = message.unknown_required(|found| is_known(head.request, found));
        if !unknown.is_empty() {
            return Err(Refused::Unknown(unknown));
        }
        match head.request {
            Request::Binding | Request::Allocate => self.handle_allocate(now, head, message, proved),
            Request::Refresh => {
                let slot = self.live(proved)?;
                self.handle_refresh(now, head, message, proved, slot)
            }
            Request::CreatePermission => {
                let slot = self.live(proved)?;
                self.handle_create_permission(now, head, message, proved, slot)
            }
            Request::ChannelBind => {
                let slot = self.live(proved)?;
                self.handle_channel_bind(now, head, message, proved, slot)
            }
        }
    }

    /// The slot of the client's live allocation.
    fn live(&self, proved: &Proved<'_>) -> Result<u32, Refused> {
        let live = |slot: &u32| self.allocations.get(*slot).is_some_and(|allocation| allocation.is_live());
        proved.slot.filter(live).ok_or(Refused::Code(Code::AllocationMismatch))
    }

    /// Writes the error response that a refusal with a code calls for.
    pub(super) fn answer_refusal(
        &mut self,
        head: &Head,
        answer: Result<usize, Refused>,
        signature: Option<&Signature>,
    ) -> Result<usize, Refused> {
        match answer {
            Ok(bytes) => Ok(bytes),
            Err(Refused::Code(code)) => self.write_error(head, signature, code, |_| Ok(())),
            Err(Refused::Unknown(unknown)) => {
                self.write_error(head, signature, Code::UnknownAttribute, |writer| {
                    writer.unknown_attributes(unknown.as_slice())
                })
            }
            Err(refused @ (Refused::Drop(_) | Refused::Pending)) => Err(refused),
        }
    }

    /// Writes a success response into `reply` and counts it.
    pub(super) fn write_success(
        &mut self,
        head: &Head,
        signature: Option<&Signature>,
        attributes: impl FnOnce(&mut Writer<'_>) -> Result<(), BufferTooSmall>,
    ) -> Result<usize, Refused> {
        let closing = Closing { signature, software: self.options.software.as_deref() };
        let written = response::success(&mut *self.reply, head, closing, attributes);
        self.count(head, Code::Success, written)
    }

    /// Writes an error response into `reply` and counts it.
    pub(super) fn write_error(
        &mut self,
        head: &Head,
        signature: Option<&Signature>,
        code: Code,
        attributes: impl FnOnce(&mut Writer<'_>) -> Result<(), BufferTooSmall>,
    ) -> Result<usize, Refused> {
        let closing = Closing { signature, software: self.options.software.as_deref() };
        let written = response::error(&mut *self.reply, head, closing, code, attributes);
        self.count(head, code, written)
    }

    fn count(
        &mut self,
        head: &Head,
        code: Code,
        written: Result<usize, BufferTooSmall>,
    ) -> Result<usize, Refused> {
        match written {
            Ok(bytes) => {
                self.counters.responses.add(head.request, code);
                Ok(bytes)
            }
            // Only with a realm or a SOFTWARE longer than the RFC allows.
            Err(BufferTooSmall { .. }) => Err(Refused::Drop(DropReason::Oversized)),
        }
    }
}

/// Whether a comprehension-required attribute is understood in this request. One that is understood, but not expected
/// there, is ignored (RFC 8489 §6.3).
pub(super) fn is_known(request: Request, found: u16) -> bool {
    let turn = request != Request::Binding;
    match found {
        attribute::USERNAME
        | attribute::USERHASH
        | attribute::REALM
        | attribute::NONCE
        | attribute::PASSWORD_ALGORITHM
        | attribute::MESSAGE_INTEGRITY
        | attribute::MESSAGE_INTEGRITY_SHA256
        | attribute::MAPPED_ADDRESS
        | attribute::XOR_MAPPED_ADDRESS
        | attribute::ERROR_CODE
        | attribute::UNKNOWN_ATTRIBUTES => true,
        // Connectivity checks of ICE that are sent to a server by mistake are still Binding requests.
        attribute::PRIORITY | attribute::USE_CANDIDATE => !turn,
        attribute::CHANNEL_NUMBER
        | attribute::LIFETIME
        | attribute::XOR_PEER_ADDRESS
        | attribute::DATA
        | attribute::XOR_RELAYED_ADDRESS
        | attribute::REQUESTED_ADDRESS_FAMILY
        | attribute::EVEN_PORT
        | attribute::REQUESTED_TRANSPORT
        | attribute::DONT_FRAGMENT
        | attribute::RESERVATION_TOKEN => turn,
        _ => false,
    }
}
