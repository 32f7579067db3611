//! Binding: what is my address? (RFC 8489 §3)

use std::net::SocketAddr;

use super::{
    DropReason, Now, Request, Server,
    requests::is_known,
    response::{Head, Refused},
};
use crate::stun::{Message, attribute};

impl Server {
    /// Answers with the client's address; credentials are neither asked for nor looked at.
    ///
    /// A success is 12 bytes larger than the shortest request (24 over IPv6), too little to forge addresses for, and a
    /// network of thousands behind one address asks often: only refusals count against the rate of answers.
    pub(super) fn handle_binding(
        &mut self,
        now: Now,
        head: &Head,
        message: &Message<'_>,
    ) -> Result<usize, Refused> {
        let unknown = message.unknown_required(|found| is_known(Request::Binding, found));
        if !unknown.is_empty() {
            if !self.may_answer_stranger(now, head.from) {
                return Err(Refused::Drop(DropReason::UnauthenticatedRate));
            }
            return self.answer_refusal(head, Err(Refused::Unknown(unknown)), None);
        }
        let client = plain(head.from.client);
        self.write_success(head, None, |writer| writer.xor_address(attribute::XOR_MAPPED_ADDRESS, client))
    }
}

/// The address as a client knows it, also where a socket for both families received from it.
pub(super) fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
